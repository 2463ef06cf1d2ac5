"""Measures on hosts that are namespaces of this machine; runs sealed, see `bench.sealed`.

The first line says what; every other one names a subject, which is measured once.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.measure import Missing, PeerMissing, Setting, Subject
from tests.harness.hosts import BenchLacks


class GivenPeers:
    """Environments that were made outside."""

    def __init__(self, found: Mapping[str, Mapping[str, str]]) -> None:
        self._found = found

    def allow(self) -> None:
        """See `Peers.allow`."""
        self.environment("")

    def environment(self, name: str, *requirements: str) -> Path:
        """See `Peers.environment`."""
        found = self._found[name]
        if "missing" in found:
            raise PeerMissing(found["missing"])
        return Path(found["at"])


def shown(one: "Subject | Missing") -> dict[str, str]:
    """A member of the lineup, for the other side."""
    if isinstance(one, Missing):
        return {"name": one.name, "why": one.why}
    return {"name": one.name, "role": one.role.value, "against": one.against}


def measured(subject: Subject) -> dict[str, Any]:
    """One sample, or what is wrong with it."""
    try:
        sample = subject.measure()
    except AssertionError as error:
        return {"undone": str(error)}
    work = sample.work
    proof = {"what": work.what, "asked": work.asked, "done": work.done}
    return {"values": sample.values, "notes": dict(sample.notes), **proof}


def main() -> None:
    """Answer until nothing more is asked."""

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    # What others print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # For this program alone.
    del os.environ["PYTHONPATH"]
    how = json.loads(sys.stdin.readline())
    module, _, name = how["lineup"].partition(":")
    lineup = getattr(importlib.import_module(module), name)
    setting = Setting(how["size"], Path(how["scratch"]), GivenPeers(how["peers"]))
    try:
        with lineup(setting) as members:
            answer({"lineup": [shown(one) for one in members]})
            subjects = {one.name: one for one in members if isinstance(one, Subject)}
            for line in sys.stdin:
                answer(measured(subjects[json.loads(line)]))
    except BenchLacks as lack:
        answer({"lacks": str(lack)})


if __name__ == "__main__":
    main()
