"""A lock on a name, between threads and processes of this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iris_platform import processes


@contextmanager
def hold(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock file `path`, made if there is none; it goes with the process.

    The holder may unlink it: who waited then finds another file and starts
    again.

    Raises:
        TimeoutError: somebody else held it for `timeout_s`.
        OSError: the file cannot be made.
    """
    taken: list[int] = []

    def take() -> bool:
        fd = _try(path)
        if fd is not None:
            taken.append(fd)
        return fd is not None

    if not processes.wait_until(take, timeout_s):
        raise TimeoutError(f"{path}: held by another for {timeout_s:g} s")
    try:
        yield
    finally:
        os.close(taken[0])


def _try(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), path.stat()):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None
