"""Has `on_host` run on a host, over SSH."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from iris_cli.doctor.on_host import MOST_DIALS
from iris_platform.ssh import SshConnection

# Of one connection that a host tries, and then of hearing something.
DIAL_S = 5
# For Python to start, and for the way there and back.
ASK_S = 20.0


@cache
def _text() -> str:
    return resources.files("iris_cli.doctor").joinpath("on_host.py").read_text(encoding="utf-8")


def argv_of(python: str, command: str, most_s: float, *words: str) -> list[str]:
    """The command line for one of `on_host`'s commands: constant text, and words behind it."""
    return [python, "-I", "-S", "-B", "-c", _text(), command, str(math.ceil(most_s)), *words]


def ask(
    connection: SshConnection, python: str, command: str, *words: str, given: object = None, work_s: float = 0
) -> dict[str, Any] | None:
    """What it answers, after `work_s` at most; None where it said nothing of use.

    Raises:
        PlatformError: the host does not answer.
    """
    most_s, data = ASK_S + work_s, json.dumps(given).encode("ascii")
    done = connection.run(argv_of(python, command, most_s, *words), timeout_s=most_s, input=data)
    try:
        found = json.loads(done.out.decode("utf-8", "replace").splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return found if isinstance(found, dict) else None


def dial(
    connection: SshConnection, python: str, to: Mapping[str, tuple[str, int]], *, hears: bool
) -> dict[str, str] | None:
    """What a host's tries came to, by the same keys; None where it did not say.

    Raises:
        PlatformError: the host does not answer.
    """
    given = {"wait_s": DIAL_S, "hears": hears, "to": to}
    rounds = -(-len(to) // MOST_DIALS)
    found = ask(connection, python, "dial", given=given, work_s=2 * DIAL_S * rounds)
    if found is None or found.keys() != to.keys():
        return None
    return {key: str(answer) for key, answer in found.items()}
