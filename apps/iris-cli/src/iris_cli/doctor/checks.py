"""What one check found, and what to do about it. Knows no host and no terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

CONFIGURATION = "configuration"
THIS_MACHINE = "this machine"


class Result(str, Enum):
    """How a check ended: a warning is about something that works, or may work."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One finding about `subject`, a host or this machine; `fix` says what to do unless it is ok."""

    subject: str
    check: str
    result: Result
    message: str
    fix: str = ""

    def line(self) -> str:
        """It on one line."""
        words = [f"{self.subject}: {self.check}: {self.result.value}", self.message]
        return ": ".join(filter(None, words)) + (f"; {self.fix}" if self.fix else "")


# Hears of each check when it is done; called by many threads.
Report = Callable[[Check], None]
