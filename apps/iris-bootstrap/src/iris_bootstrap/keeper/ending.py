"""Sees to it that an attempt is over only when nothing of its tree is left.

Knows phases, pids and the time; no orders, no leases, no sockets. Then the log
has its final length, and the attempt's report is its last.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.attempts import (
    Attempt,
    Ended,
    Exit,
    Killing,
    Lingering,
    Preparing,
    Queued,
    Running,
    Stop,
    Stopping,
    exit_of,
    final_report,
    stop_by_notice,
)
from iris_bootstrap.keeper.memory import Memory
from iris_bootstrap.keeper.timers import Timers
from iris_bootstrap.keeper.tree import Trees
from iris_bootstrap.log import Log
from iris_platform import processes

# What a program left behind has this long to end by itself: enough for its last line on a busy host.
LINGER_S = 0.5
# Between two rounds of SIGKILL; doubles up to the second while something does not die.
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.5


class Clock(NamedTuple):
    """Seconds of the boot-time clock, milliseconds of the wall clock."""

    boot_s: Callable[[], float]
    wall_ms: Callable[[], int]


class Endings:
    """The attempts that have a process: from `begin` to the end of their last one."""

    def __init__(
        self,
        trees: Trees,
        memory: Memory,
        log_bytes: Callable[[AttemptKey], int],
        timers: Timers,
        clock: Clock,
        log: Log,
    ) -> None:
        self._trees = trees
        self._memory = memory
        self._log_bytes = log_bytes
        self._timers = timers
        self._clock = clock
        self._log = log
        self.live: dict[AttemptKey, Attempt] = {}
        # Those whose main process was reaped, and those that SIGKILL is after.
        self._orphaned: dict[AttemptKey, Attempt] = {}
        self._killing: dict[AttemptKey, Attempt] = {}
        self._pause_s = FIRST_PAUSE_S
        self._immortals: list[int] = []

    def begin(self, attempt: Attempt, pid: int) -> None:
        """An attempt's main process was started."""
        self._trees.admit(pid, attempt.key)
        attempt.phase = Running(pid)
        self.live[attempt.key] = attempt

    def terminate(self, attempt: Attempt, pid: int, stop: Stop, kill_at_s: float) -> None:
        """SIGTERM to a running attempt, SIGKILL to all that is left of it at `kill_at_s`."""
        # A program that has just ended by itself has not been stopped by us.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        # Another user's: SIGKILL will fail too, and scans go on finding it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGTERM)
            # One that was stopped hears nothing until it goes on.
            os.killpg(pid, signal.SIGCONT)
        attempt.phase = Stopping(pid, stop, kill_at_s)
        self._timers.set(attempt.key, kill_at_s, partial(self.kill, attempt))

    def kill(self, attempt: Attempt) -> None:
        """SIGKILL to all that is left of an attempt that was told to stop, or ended by itself."""
        match attempt.phase:
            case Stopping(stop=stop, exit=ended):
                attempt.phase = Killing(stop, ended)
            case Lingering(ended):
                attempt.phase = Killing(None, ended)
            case Queued() | Preparing() | Running() | Killing() | Ended():
                return
        self._killing[attempt.key] = attempt
        self._pause_s = FIRST_PAUSE_S
        self._timers.set("kill", self._clock.boot_s(), self._kill_round)

    def on_exit(self, pid: int, wait_status: int) -> None:
        """A child was reaped. `judge` follows when all that are due have been."""
        key = self._trees.on_reaped(pid)
        if key is None:
            return
        attempt = self.live[key]
        ended = exit_of(wait_status)
        match attempt.phase:
            case Running():
                attempt.phase = Lingering(ended, self._clock.boot_s() + LINGER_S)
            case Stopping() | Killing():
                attempt.phase = replace(attempt.phase, exit=ended)
            case Queued() | Preparing() | Lingering() | Ended():
                raise AssertionError(f"attempt {key} has no process to reap in {attempt.phase}")
        self._orphaned[key] = attempt

    def judge(self) -> None:
        """End those attempts of which nothing is left. To be called after a round of reaping."""
        for pid in self._trees.look():
            # A child of ours that no attempt can answer for: its pid is its own until it is reaped.
            with suppress(PermissionError):
                os.kill(pid, signal.SIGKILL)
        for key, attempt in list(self._orphaned.items()):
            left = self._trees.leftovers(key)
            match attempt.phase:
                case Lingering(ended, kill_at_s):
                    if left:
                        self._timers.set(key, kill_at_s, partial(self.kill, attempt))
                    else:
                        self._finish(attempt, None, ended)
                case Stopping(stop=stop, exit=ended) if ended is not None:
                    if left:
                        self._tell(attempt, attempt.phase, left)
                    else:
                        self._finish(attempt, stop, ended)

    def _tell(self, attempt: Attempt, phase: Stopping, left: frozenset[int]) -> None:
        """SIGTERM to what outlived its main process and is of another group, so that it had none yet."""
        for pid in left - phase.told:
            with suppress(ProcessLookupError, PermissionError):
                if os.getpgid(pid) != phase.pid:
                    os.kill(pid, signal.SIGTERM)
        attempt.phase = replace(phase, told=phase.told | left)

    def _kill_round(self) -> None:
        found: dict[int, AttemptKey] = {}

        def find() -> dict[int, AttemptKey]:
            members = self._trees.members(self._killing)
            found.update(members)
            return members

        processes.kill_round(find)
        hit = set(found.values())
        for key, attempt in list(self._killing.items()):
            if isinstance(attempt.phase, Killing):
                self._judge_killed(attempt, attempt.phase, key in hit)
        if self._killing:
            self._timers.set("kill", self._clock.boot_s() + self._pause_s, self._kill_round)
            self._note_immortals(found)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _note_immortals(self, found: dict[int, AttemptKey]) -> None:
        """Say what SIGKILL does not end: a device that hangs, or another user's process."""
        immortals = sorted(found) if self._pause_s == LONGEST_PAUSE_S else []
        if immortals and immortals != self._immortals:
            self._log("still_alive", pids=immortals, attempts=sorted({str(key) for key in found.values()}))
        self._immortals = immortals

    def _judge_killed(self, attempt: Attempt, phase: Killing, found: bool) -> None:
        if found or phase.exit is None or self._trees.leftovers(attempt.key):
            attempt.phase = replace(phase, clean_scans=0)
        elif phase.clean_scans == 0:
            attempt.phase = replace(phase, clean_scans=1)
        else:
            self._finish(attempt, phase.stop, phase.exit)

    def _finish(self, attempt: Attempt, stop: Stop | None, ended: Exit) -> None:
        assert attempt.report is not None
        stop = stop or stop_by_notice(attempt.noticed, ended, self._clock.boot_s())
        key = attempt.key
        for table in (self.live, self._orphaned, self._killing):
            table.pop(key, None)
        self._timers.cancel(key)
        self._trees.release(key)
        report = final_report(attempt.report, stop, ended, self._clock.wall_ms(), self._log_bytes(key))
        self._memory.end(attempt, report)
