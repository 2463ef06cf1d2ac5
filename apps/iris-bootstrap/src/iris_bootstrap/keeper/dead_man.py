"""What an orphan of a cloud's machine does: has its slice deleted, by a process of its own.

Knows no cloud; the process is a command, and another one once that has ended
without success. Until the machine is gone the keeper goes on, since a controller
that comes back is better than a slice that nobody may delete.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from iris_bootstrap.log import Log

# Between the end of a process that did not succeed and the next one.
AGAIN_S = 60.0


class DeadMan:
    """At most one process at a time. Times are of the boot-time clock, in seconds."""

    def __init__(self, command: list[str], log: Log) -> None:
        self._command = command
        self._log = log
        self._pid = 0
        self._not_before_s = 0.0
        self._called_off = False
        self.has_succeeded = False

    def begin(self, now_s: float) -> int:
        """Start the process, unless it is there or one has just failed; returns its pid, or 0."""
        if self._pid or now_s < self._not_before_s:
            return 0
        self._not_before_s = now_s + AGAIN_S
        try:
            self._pid = os.posix_spawn(self._command[0], self._command, os.environ, setsid=True)
        except OSError as error:
            self._log("slice_not_deleted", error=error.strerror)
            return 0
        self._called_off = False
        self._log("deleting_slice", pid=self._pid)
        return self._pid

    def on_exit(self, pid: int, status: int, now_s: float) -> None:
        """A child has ended; whether it is this one is found here."""
        if pid != self._pid:
            return
        self._pid = 0
        self._not_before_s = now_s + AGAIN_S
        code = os.waitstatus_to_exitcode(status)
        self.has_succeeded = code == 0
        self._log("slice_deletion_ended", status=code)

    def call_off(self) -> None:
        """There is a controller after all, or we go: a deletion that was asked for is not taken back."""
        if self._pid and not self._called_off:
            self._called_off = True
            self._log("deletion_called_off")
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
