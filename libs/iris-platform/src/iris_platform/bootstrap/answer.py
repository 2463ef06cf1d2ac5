"""Reads what the startup script said, on the side that ran it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iris_platform.base import LOG_FOLLOWS, BeingDeleted, PlatformError, Refused, StartFailed, Unreachable
from iris_platform.bootstrap.host import outcome


@dataclass(frozen=True)
class Outcome:
    """A script's answer.

    `status` is running, installed, stopped, absent, removed, found or failed; `step` and
    `reason` say where and why it failed; `facts` is the whole object.
    """

    status: str
    exit_status: int
    step: str = ""
    reason: str = ""
    log_tail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def check(self, host: str) -> Outcome:
        """Itself, if the script did what it was asked to.

        Raises:
            BeingDeleted: what was started was not let in, since its slice is being deleted.
            Refused: the operator has to change something first.
            StartFailed: the host is at fault, or what was started is not well.
            Unreachable: the script's answer, or what it waited for, did not come.
        """
        if self.status != "failed":
            return self
        words = f"{host}: {self.step}: {self.reason}"
        if self.log_tail.strip():
            words += f"{LOG_FOLLOWS}\n{self.log_tail.strip()}"
        raise _ERRORS.get(self.exit_status, Unreachable)(words)


_ERRORS: Mapping[int, type[PlatformError]] = {
    outcome.UNHEALTHY: StartFailed,
    outcome.REFUSED: Refused,
    outcome.HOST_TROUBLE: StartFailed,
    outcome.UNREACHABLE: Unreachable,
    outcome.UNWANTED: BeingDeleted,
}


def parse_outcome(stdout: str, exit_status: int) -> Outcome:
    """What the script said; a script that said nothing has failed.

    Login files of the host may print lines before it: the last object counts.
    """
    for line in reversed(stdout.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("status"), str):
            words = {name: str(found.get(name, "")) for name in ("status", "step", "reason", "log_tail")}
            return Outcome(exit_status=exit_status, facts=found, **words)
    reason = f"the startup script ended with status {exit_status} and said nothing of use"
    return Outcome("failed", exit_status, "script", reason, stdout[-outcome.TAIL_BYTES :])
