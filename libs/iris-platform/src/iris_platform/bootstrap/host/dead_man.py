"""Undoes a start that nobody sees through: armed before anything else is done.

A process of its own, forked without a file, since a full disk must not keep it
from being there. It is disarmed when the program is well: from then on the agent
itself leaves when nobody needs it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from iris_platform import processes
from iris_platform.bootstrap.host.calls import call
from iris_platform.bootstrap.host.layout import Layout, read_json, write_json
from iris_platform.bootstrap.host.outcome import Failure

ATTEMPTS = 10
CALL_S = 120.0
PAUSE_S = 30.0
# A clock is looked at this often: a suspended machine wakes up late.
_LOOK_S = 30.0


def arm(settings: Mapping[str, Any], act: Callable[[], None]) -> tuple[int, int] | None:
    """Fork a process that acts after `after_s` seconds of boot time.

    It runs the settings' `argv` until that succeeds, at most `ATTEMPTS` times,
    or `act` where there is none.

    Returns:
        Its pid and start time; None where `after_s` is 0: there is none.
    """
    after_s = float(settings.get("after_s", 0.0))
    if after_s <= 0:
        return None
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _be_dead_man(after_s, list(settings.get("argv", ())), act)
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


def _be_dead_man(after_s: float, argv: Sequence[str], act: Callable[[], None]) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    # Whoever waits for the end of our streams waits for the script, not for us.
    for number in range(3):
        os.dup2(null, number)
    os.chdir("/")
    until_s = time.clock_gettime(time.CLOCK_BOOTTIME) + after_s
    while (left_s := until_s - time.clock_gettime(time.CLOCK_BOOTTIME)) > 0:
        select.select([], [], [], min(left_s, _LOOK_S))
    for _ in range(ATTEMPTS):
        try:
            if argv:
                call("dead man", argv, CALL_S)
            else:
                act()
            return
        except (Failure, OSError, processes.StillAlive):
            select.select([], [], [], PAUSE_S)
