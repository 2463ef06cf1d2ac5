"""What the keeper knows of one attempt, and how its end is put into words.

Pure: knows no processes but their pids, no clock, no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.frames import Report


class JobPlan(NamedTuple):
    """What every attempt of a job runs. The environment is complete but for what is the attempt's own."""

    document: str
    argv: list[bytes]
    env: Mapping[bytes, bytes]
    grace_s: float


@dataclass(frozen=True)
class Exited:
    """The program ended by itself with a code."""

    code: int


@dataclass(frozen=True)
class Signalled:
    """A signal ended the program."""

    number: int


Exit = Exited | Signalled


@dataclass(frozen=True)
class Stop:
    """Somebody wants the attempt to end. `reason` comes back in its report."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Queued:
    """Its id is on record; its process is next."""

    env: Mapping[str, str]


@dataclass(frozen=True)
class Running:
    """Its main process was started and has not been reaped."""

    pid: int


@dataclass(frozen=True)
class Stopping:
    """SIGTERM has gone out; SIGKILL follows at `kill_at_s`.

    `exit` once the main process is reaped (`pid` then only names its process
    group) while others of the attempt still use what is left of the grace.
    `told` are those of them that have had a SIGTERM of their own.
    """

    pid: int
    stop: Stop
    kill_at_s: float
    exit: Exit | None = None
    told: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Lingering:
    """The main process ended by itself; what it left has until `kill_at_s` to follow.

    A moment only, for the likes of `> >(tee …)` to write their last line.
    """

    exit: Exit
    kill_at_s: float


@dataclass(frozen=True)
class Killing:
    """SIGKILL goes to all that two scans in a row still find. `stop` unless it ended by itself."""

    stop: Stop | None
    exit: Exit | None
    clean_scans: int = 0


@dataclass(frozen=True)
class Ended:
    """Nothing of it lives; its report is the last."""


Phase = Queued | Running | Stopping | Lingering | Killing | Ended


@dataclass
class Attempt:
    """One attempt that is not forgotten."""

    key: AttemptKey
    document: str
    phase: Phase
    # None until its process was started, or could not be.
    report: Report | None = None
    # Between SIGTERM and SIGKILL, once it has a process.
    grace_s: float = 0.0
    # Its line in the keeper's file; None if its process had ended before there was time to write it.
    process: Mapping[str, object] | None = None


def exit_of(wait_status: int) -> Exit:
    """What a status from `waitpid` says."""
    number = wait_status & 0x7F
    return Signalled(number) if number else Exited(wait_status >> 8)


def new_report(key: AttemptKey, state: str, now_ms: int) -> Report:
    """A report of something that begins now."""
    return Report(str(key), state, "", "", now_ms, 0, None, None, 0)


def final_report(report: Report, stop: Stop | None, ended: Exit, now_ms: int, log_bytes: int) -> Report:
    """How an attempt ended whose process had been started.

    An attempt that was told to stop is KILLED, whatever its program made of
    SIGTERM; the code or signal says what that was.
    """
    code = ended.code if isinstance(ended, Exited) else None
    number = ended.number if isinstance(ended, Signalled) else None
    report = report._replace(finished_at_ms=now_ms, exit_code=code, signal=number, log_bytes=log_bytes)
    if stop is not None:
        return report._replace(state="KILLED", reason=stop.reason, message=stop.message)
    if number is not None:
        return report._replace(state="FAILED", reason="signal")
    return report._replace(state="FAILED" if code else "SUCCEEDED", reason="exit")


def stopped_report(key: AttemptKey, stop: Stop, now_ms: int) -> Report:
    """How an attempt ended whose process was never started."""
    report = new_report(key, "KILLED", 0)
    return report._replace(reason=stop.reason, message=stop.message, finished_at_ms=now_ms)


def lost_report(key: AttemptKey, started_at_ms: int, now_ms: int, log_bytes: int) -> Report:
    """What a keeper says of an attempt that an earlier keeper never saw the end of."""
    message = "the agent that ran it died, and its processes were killed"
    report = new_report(key, "KILLED", started_at_ms)
    return report._replace(reason="keeper_lost", message=message, finished_at_ms=now_ms, log_bytes=log_bytes)
