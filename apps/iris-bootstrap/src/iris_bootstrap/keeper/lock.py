"""One agent to a host directory: the lock on `keeper.lock`.

A keeper holds it for life. A session whose keeper died holds it while it
cleans up, so that a new keeper waits for it instead of being taken for what is
to be cleaned. The file says who holds it: a process that was killed can hold a
lock for a moment longer than its other descriptors. Knows nothing of what is
done under the lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from iris_platform import processes

LOCK_FILE = "keeper.lock"
# Every holder's line has this length, so that it is written over in one go.
_LINE_BYTES = 64
# A process that was killed may still show as alive for so long.
_DYING_S = 0.5


class AlreadyRunning(Exception):
    """Another agent has this host directory."""


def lock_as_keeper(host_dir: Path, timeout_s: float = 60.0) -> int:
    """Take the lock, once nobody cleans under it, and return its descriptor.

    Raises:
        AlreadyRunning: a live keeper has it, or somebody for longer than `timeout_s`.
    """
    fd = _take(host_dir, "keeper", timeout_s, patience_s=_DYING_S)
    if fd is None:
        raise AlreadyRunning(f"{host_dir}: another agent has this directory")
    return fd


def lock_as_cleaner(host_dir: Path, dead_keeper: int | None, timeout_s: float = 60.0) -> int | None:
    """Take the lock and return its descriptor; None if a new keeper was quicker.

    `dead_keeper` is the pid of the one that is to be cleaned up after, if that is known.
    """
    return _take(host_dir, "cleaner", timeout_s, dead_keeper=dead_keeper)


def _take(
    host_dir: Path, role: str, timeout_s: float, *, patience_s: float = 0.0, dead_keeper: int | None = None
) -> int | None:
    fd = os.open(host_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    begin_s = time.monotonic()
    taken = False

    def settled() -> bool:
        nonlocal taken
        taken = _try_lock(fd)
        if taken or time.monotonic() - begin_s < patience_s:
            return taken
        return _live_keeper(os.pread(fd, _LINE_BYTES, 0)) not in (None, dead_keeper)

    processes.wait_until(settled, timeout_s)
    if not taken:
        os.close(fd)
        return None
    pid = os.getpid()
    os.pwrite(fd, f"{role} {pid} {processes.start_time(pid)}".ljust(_LINE_BYTES).encode("ascii"), 0)
    return fd


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _live_keeper(line: bytes) -> int | None:
    """The pid of the keeper that a holder's line names, if it lives."""
    match line.split():
        case [b"keeper", pid, start_time] if processes.is_alive(int(pid), int(start_time)):
            return int(pid)
    return None
