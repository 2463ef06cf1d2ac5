"""Undoes a start that nobody sees through: armed before anything else is done.

A process of its own, forked without a file, since a full disk must not keep it
from being there. It is disarmed when the program is well: from then on the agent
itself leaves when nobody needs it. On a cloud's machine it stays, in case that the
agent is gone one day and nobody starts it again.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from iris_platform import processes
from iris_platform.bootstrap.host.layout import Layout, read_json, write_json
from iris_platform.bootstrap.host.outcome import Failure

ATTEMPTS = 10
PAUSE_S = 30.0
# A clock is looked at this often: a suspended machine wakes up late.
_LOOK_S = 30.0


def arm(
    after_s: float, act: Callable[[], None], is_well: Callable[[], bool] | None = None
) -> tuple[int, int] | None:
    """Fork a process that acts after `after_s` seconds of boot time.

    It tries `act` until that raises nothing, at most `ATTEMPTS` times. With `is_well`
    the seconds count from the last time that it held.

    Returns:
        Its pid and start time; None where `after_s` is 0: there is none.
    """
    if after_s <= 0:
        return None
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _be_dead_man(after_s, act, is_well)
            status = 0
        finally:
            # Never back into the program that was forked.
            os._exit(status)
    return pid, processes.start_time(pid) or 0


def note(layout: Layout, process: tuple[int, int] | None) -> None:
    """Write down who it is, in place of an earlier one, which is disarmed."""
    disarm(layout)
    if process is not None:
        facts = {"pid": process[0], "start_time": process[1], "boot_id": processes.boot_id()}
        write_json(layout.dead_man_file, facts)


def disarm(layout: Layout) -> None:
    """End the one that is written down, unless it is us."""
    found = read_json(layout.dead_man_file)
    if found.get("boot_id") == processes.boot_id() and found.get("pid") != os.getpid():
        end((int(found["pid"]), int(found["start_time"])))
    layout.dead_man_file.unlink(missing_ok=True)


def end(process: tuple[int, int] | None) -> None:
    """End an armed process."""
    if process is not None:
        processes.send_signal(*process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(process[0], 0)


def pause(seconds: float) -> None:
    """Wait by a clock that counts what a suspended machine slept through."""
    until_s = boot_s() + seconds
    while (left_s := until_s - boot_s()) > 0:
        select.select([], [], [], min(left_s, _LOOK_S))


def boot_s() -> float:
    """Seconds since the machine's boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _be_dead_man(after_s: float, act: Callable[[], None], is_well: Callable[[], bool] | None) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    # Whoever waits for the end of our streams waits for the script, not for us.
    for number in range(3):
        os.dup2(null, number)
    os.chdir("/")
    until_s = boot_s() + after_s
    while (left_s := until_s - boot_s()) > 0:
        pause(min(left_s, _LOOK_S))
        if is_well is not None and is_well():
            until_s = boot_s() + after_s
    for _ in range(ATTEMPTS):
        try:
            act()
            return
        except (Failure, OSError, processes.StillAlive):
            pause(PAUSE_S)
