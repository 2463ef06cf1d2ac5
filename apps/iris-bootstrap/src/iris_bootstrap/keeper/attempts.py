"""What the keeper knows of one attempt, and how its end is put into words.

Pure: knows no processes but their pids, no clock, no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.frames import Report
from iris_bootstrap.keeper.ports import ReservedPort


class JobPlan(NamedTuple):
    """What every attempt of a job runs. The environment is complete but for what is the attempt's own."""

    document: str
    argv: list[bytes]
    env: Mapping[bytes, bytes]
    grace_s: float
    is_gang: bool = False
    # From the start of its process; 0 for as long as it likes.
    timeout_s: float = 0.0


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
    """Somebody wants the attempt to end. `reason` and `state` come back in its report."""

    reason: str
    message: str = ""
    # FAILED where it is the program that brought it about.
    state: str = "KILLED"


@dataclass(frozen=True)
class Noticed:
    """It was told that its machine goes; until `until_s` (boot time) a failure is that `stop`'s doing."""

    stop: Stop
    kind: str
    until_s: float


@dataclass(frozen=True)
class Queued:
    """Its id is on record; its process is next, or for a member of a gang its port.

    `released`: a member that has its port and was told to go on.
    """

    env: Mapping[str, str]
    released: bool = False


@dataclass(frozen=True)
class Preparing:
    """A member of a gang that has its port and waits for the others to have theirs."""

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


Phase = Queued | Preparing | Running | Stopping | Lingering | Killing | Ended


@dataclass
class Attempt:
    """One attempt that is not forgotten."""

    key: AttemptKey
    document: str
    phase: Phase
    # None until its process or its port is there, or cannot be.
    report: Report | None = None
    # Between SIGTERM and SIGKILL, once it has a process.
    grace_s: float = 0.0
    # Its line in the keeper's file; None if its process had ended before there was time to write it.
    process: Mapping[str, object] | None = None
    # Of a member of a gang, until its end.
    port: ReservedPort | None = None
    noticed: Noticed | None = None


def exit_of(wait_status: int) -> Exit:
    """What a status from `waitpid` says."""
    number = wait_status & 0x7F
    return Signalled(number) if number else Exited(wait_status >> 8)


def new_report(key: AttemptKey, state: str, now_ms: int) -> Report:
    """A report of something that begins now."""
    return Report(str(key), state, "", "", now_ms, 0, None, None, 0)


def final_report(report: Report, stop: Stop | None, ended: Exit, now_ms: int, log_bytes: int) -> Report:
    """How an attempt ended whose process had been started.

    An attempt that was told to stop is what that says, mostly KILLED, whatever
    its program made of SIGTERM; the code or signal says what that was.
    """
    code = ended.code if isinstance(ended, Exited) else None
    number = ended.number if isinstance(ended, Signalled) else None
    report = report._replace(finished_at_ms=now_ms, exit_code=code, signal=number, log_bytes=log_bytes)
    if stop is not None:
        return report._replace(state=stop.state, reason=stop.reason, message=stop.message)
    if number is not None:
        return report._replace(state="FAILED", reason="signal")
    return report._replace(state="FAILED" if code else "SUCCEEDED", reason="exit")


def stop_by_notice(noticed: Noticed | None, ended: Exit, now_s: float) -> Stop | None:
    """What ended an attempt that ended by itself: its machine's end, unless the program is done (0)."""
    if noticed is None or ended == Exited(0) or now_s >= noticed.until_s:
        return None
    return noticed.stop


def stopped_report(key: AttemptKey, stop: Stop, now_ms: int, port: int = 0) -> Report:
    """How an attempt ended whose process was never started."""
    report = new_report(key, "KILLED", 0)
    return report._replace(reason=stop.reason, message=stop.message, finished_at_ms=now_ms, port=port)


def timed_out(timeout_s: float) -> Stop:
    """Why an attempt has to end that has run for so long."""
    return Stop("timeout", f"ran longer than its timeout of {_in_words(timeout_s)}", "FAILED")


def _in_words(seconds: float) -> str:
    """A duration as it is written in a job: `1h30m`, `0.5s`."""
    words = ""
    for unit, length_s in (("h", 3600), ("m", 60)):
        count, seconds = divmod(seconds, length_s)
        words += f"{count:.0f}{unit}" if count else ""
    return f"{words}{round(seconds, 3):g}s" if seconds or not words else words


def lost_report(key: AttemptKey, started_at_ms: int, now_ms: int, log_bytes: int, port: int = 0) -> Report:
    """What a keeper says of an attempt that an earlier keeper never saw the end of."""
    message = "the agent that ran it died, and its processes were killed"
    report = new_report(key, "KILLED", started_at_ms)
    report = report._replace(reason="keeper_lost", message=message, finished_at_ms=now_ms)
    return report._replace(log_bytes=log_bytes, port=port)
