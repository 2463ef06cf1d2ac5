"""Benchmarks whose hosts are namespaces of this machine: set up and measured in a process that is sealed.

The rounds, their order and the peers' environments stay out here, where there is a network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bench.companion import Companion
from bench.measure import (
    CannotMeasure,
    Lineup,
    Missing,
    PeerMissing,
    Role,
    Sample,
    Setting,
    Subject,
    Work,
    WorkNotDone,
)
from iris_platform.bundle.shelf import AGENT
from tests.harness.hosts.needs import programs_missing
from tests.harness.hosts.wheels import why_not

ROOT = Path(__file__).parent.parent
SEALED = (sys.executable, "-m", "tests.harness.hosts.sealed", "--no-bases")


def on_hosts(
    lineup: str, requirements: Mapping[str, str] | None = None, programs: tuple[str, ...] = AGENT
) -> Callable[[Setting], AbstractContextManager[Lineup]]:
    """A lineup that `module:function` sets up in the sealed process; `requirements` by peer,
    `programs` what is packed for hosts.

    Its subjects prove their work by values that JSON can carry.
    """

    @contextmanager
    def opened(setting: Setting) -> Iterator[Lineup]:
        if why := programs_missing() or why_not(programs=programs):
            raise CannotMeasure(why)
        how = {
            "lineup": lineup,
            "size": setting.size,
            "scratch": str(setting.scratch),
            "peers": _peers(setting, requirements or {}),
        }
        environ = {"PYTHONPATH": str(ROOT)}
        with Companion("on_hosts", home=setting.scratch, environ=environ, inside=SEALED) as companion:
            answer = companion.ask(how)
            if "lacks" in answer:
                raise CannotMeasure(answer["lacks"])
            yield [_member(one, companion) for one in answer["lineup"]]

    return opened


def _peers(setting: Setting, requirements: Mapping[str, str]) -> dict[str, Any]:
    """Where each peer's executables are, or why there are none; an empty name is of those that need none."""
    found: dict[str, Any] = {}
    try:
        setting.peers.allow()
        found[""] = {"at": ""}
    except PeerMissing as error:
        found[""] = {"missing": str(error)}
    for name, requirement in requirements.items():
        try:
            found[name] = {"at": str(setting.peers.environment(name, requirement))}
        except PeerMissing as error:
            found[name] = {"missing": str(error)}
    return found


def _member(one: Mapping[str, Any], companion: Companion) -> Subject | Missing:
    if "why" in one:
        return Missing(one["name"], one["why"])

    def measure() -> Sample:
        answer = companion.ask(one["name"])
        if "undone" in answer:
            raise WorkNotDone(f"{one['name']}: {answer['undone']}")
        work = Work(answer["what"], answer["asked"], answer["done"])
        return Sample(tuple(answer["values"]), work, answer["notes"])

    return Subject(one["name"], Role(one["role"]), measure, one["against"])
