"""The session's guard over its keeper: notices that it is gone or silent, and does its last duty.

Knows nothing of attempts: what a keeper leaves is killed by the host's file,
cgroup and mark.
"""

from __future__ import annotations

import os
import signal
import time
from asyncio import sleep
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.lock import lock_as_cleaner
from iris_bootstrap.keeper.silence import SPEAK_S, Silence
from iris_bootstrap.log import Log
from iris_bootstrap.session.pipe import KeeperPipe
from iris_platform import processes

# What is nobody else's to answer: the ledger's own pings count from 1.
_PING = frames.Ping(0)
# For the keeper's descendants to die; whatever is left is found again by file, cgroup and mark.
_TREE_S = 10.0


class KeeperGone(Exception):
    """Nobody looks after the tasks any more: the keeper is dead, or as good as dead."""


class KeeperProcess(NamedTuple):
    """The keeper's process, and no later one of the same pid."""

    pid: int
    start_time: int


def find_keeper(pipe: KeeperPipe) -> KeeperProcess | None:
    """Who is at the other end; None if it is dead already.

    Our parent is, if it made the pipe: otherwise somebody else has taken us in
    after the keeper's death, who is not to be touched.
    """
    pid = pipe.peer_pid
    started = processes.start_time(pid)
    # Still our parent after that: so it was alive, and the time is its own.
    if started is None or os.getppid() != pid:
        return None
    return KeeperProcess(pid, started)


async def watch_keeper(pipe: KeeperPipe, suspect_after_s: Callable[[], float]) -> None:
    """Ask the keeper whether it is there, time and again; so it knows that we are.

    Raises:
        KeeperGone: it has said nothing for so long that it will not.
    """
    silence = Silence(time.monotonic())
    while True:
        heard = pipe.frames_read
        pipe.send([_PING])
        await sleep(SPEAK_S)
        if silence.look(time.monotonic(), suspect_after_s(), pipe.frames_read != heard):
            raise KeeperGone(f"it has been silent for {suspect_after_s():g} s")


def clean_up_after(host_dir: Path, keeper: KeeperProcess | None, log: Log) -> None:
    """Kill the keeper and all that it left, unless a new one is there to do so.

    Returns when nothing is left: as long as something is, nothing new may run here.
    """
    if keeper is not None:
        _end(keeper)
    if lock_as_cleaner(host_dir, keeper.pid if keeper is not None else None) is None:
        return
    while True:
        try:
            processes.clean_host(host_dir)
        except processes.StillAlive as error:
            log("not_clean", error=str(error))
        else:
            log("cleaned")
            return


def _end(keeper: KeeperProcess) -> None:
    """End a keeper that lives, after its descendants: once it is dead, not all of them can be told.

    It is halted first, lest it take what we do for the tasks' own ends and put
    them on record.
    """
    own = os.getpid()

    def find() -> set[int]:
        return set(processes.descendants(keeper.pid)) - {own}

    if processes.send_signal(*keeper, signal.SIGSTOP):
        with suppress(processes.StillAlive):
            processes.kill_all(find, _TREE_S)
        processes.send_signal(*keeper, signal.SIGKILL)
