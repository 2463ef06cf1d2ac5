"""One agent to a host directory: the lock on `keeper.lock`.

A keeper holds it for life. A session whose keeper died holds it while it
cleans up, so that a new keeper waits for it instead of being taken for what is
to be cleaned. Knows nothing of what is done under the lock.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from iris_platform.processes import wait_until

LOCK_FILE = "keeper.lock"
_CLEANER = b"cleaner"
_KEEPER = b"keeper"


class AlreadyRunning(Exception):
    """Another agent has this host directory."""


def lock_as_keeper(host_dir: Path, timeout_s: float = 60.0) -> int:
    """Take the lock, once nobody cleans under it, and return its descriptor.

    Raises:
        AlreadyRunning: another keeper has it, or a cleaner for longer than `timeout_s`.
    """
    fd = _open(host_dir)
    taken = False

    def settled() -> bool:
        nonlocal taken
        taken = _try_lock(fd)
        return taken or os.pread(fd, 64, 0) != _CLEANER

    if not wait_until(settled, timeout_s) or not taken:
        os.close(fd)
        raise AlreadyRunning(f"{host_dir}: another agent has this directory")
    _write_holder(fd, _KEEPER)
    return fd


def lock_as_cleaner(host_dir: Path) -> int | None:
    """Take the lock and return its descriptor; None if a new keeper was quicker."""
    fd = _open(host_dir)
    if not _try_lock(fd):
        os.close(fd)
        return None
    _write_holder(fd, _CLEANER)
    return fd


def _open(host_dir: Path) -> int:
    return os.open(host_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_holder(fd: int, holder: bytes) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, holder, 0)
