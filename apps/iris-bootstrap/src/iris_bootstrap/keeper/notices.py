"""The end of the machine is near: tells every task that wants to hear of it, and harms none that does not.

SIGTERM is what training frameworks take for a preemption, and what ends a program
that is not prepared for it. So it goes only to processes that catch it; the others run
for as long as there is a machine. What it says is in the file that
`IRIS_PREEMPTION_FILE` names, which is there before the signal.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Collection

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.attempts import Attempt, Noticed, Running, Stop
from iris_bootstrap.keeper.ending import Clock
from iris_bootstrap.keeper.tree import Trees
from iris_bootstrap.log import Log
from iris_platform import processes

# A machine that is to go does not always go in time.
MARGIN_S = 60.0


class Notices:
    """What this host's tasks were told of its end."""

    def __init__(
        self, trees: Trees, write: Callable[[AttemptKey, bytes], None], clock: Clock, log: Log
    ) -> None:
        """`write` puts what is known where an attempt looks for it."""
        self._trees = trees
        self._write = write
        self._clock = clock
        self._log = log

    def tell(self, notice: frames.Notice, live: Collection[Attempt]) -> None:
        """Tell the attempts that run; those that were told of the same kind are not told again."""
        now_s = self._clock.boot_s()
        left_s = max(notice.deadline_s - now_s, 0.0)
        noticed = Noticed(Stop(notice.kind, notice.message), notice.kind, notice.deadline_s + MARGIN_S)
        told = {
            attempt.key: attempt
            for attempt in live
            if isinstance(attempt.phase, Running) and not _knows(attempt, notice.kind, now_s)
        }
        if not told:
            return
        facts = {
            "kind": notice.kind,
            "message": notice.message,
            "deadline_ms": self._clock.wall_ms() + round(left_s * 1000),
        }
        for attempt in told.values():
            attempt.noticed = noticed
            try:
                self._write(attempt.key, json.dumps(facts).encode("ascii") + b"\n")
            except OSError as error:
                # The signal says the better half of it.
                self._log("notice_not_written", attempt=str(attempt.key), error=error.strerror)
        signalled = sum(_signal_if_caught(pid) for pid in self._trees.members(told.keys()))
        words = {"kind": notice.kind, "left_s": round(left_s, 1), "why": notice.message}
        self._log("notice", **words, attempts=len(told), processes=signalled)


def _knows(attempt: Attempt, kind: str, now_s: float) -> bool:
    noticed = attempt.noticed
    return noticed is not None and noticed.kind == kind and now_s < noticed.until_s


def _signal_if_caught(pid: int) -> bool:
    """SIGTERM to a process that has a handler for it; whether it has."""
    started = processes.start_time(pid)
    if started is None or not processes.catches(pid, signal.SIGTERM):
        return False
    return processes.send_signal(pid, started, signal.SIGTERM)
