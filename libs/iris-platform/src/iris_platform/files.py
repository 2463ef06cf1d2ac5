"""Small private files that are whole or not there, whatever dies when."""

from __future__ import annotations

import os
from pathlib import Path


def make_private_dir(path: Path) -> None:
    """Make a directory (0700) and its parents; one that exists keeps its mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync_dir(path: Path) -> None:
    """Make renames and removals inside a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_new(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """Write a file durably unless there is one; never leaves it half written.

    Returns:
        Whether this call made it.
    """
    temporary = _write_temporary(path, data, mode)
    try:
        # Unlike rename, link fails where the name is taken: of two writers
        # one wins and the other finds a complete file.
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
        sync_dir(path.parent)


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file durably in place of what was there."""
    temporary = _write_temporary(path, data, mode)
    try:
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    sync_dir(path.parent)


def read_tail(path: Path, at_most: int, start: int = 0) -> str:
    """The last `at_most` bytes of a file from offset `start` on; empty if absent."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - at_most))
            return file.read(at_most).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def last_lines(text: str, at_most: int) -> str:
    """The last whole lines of a text in at most so many bytes; of a longer line its end."""
    data = text.encode("utf-8", "replace")
    if len(data) <= at_most:
        return text
    # One byte more: a line may begin just there.
    before, found, rest = data[-at_most - 1 :].partition(b"\n")
    kept = rest if rest else (before + found)[-at_most:]
    return kept.decode("utf-8", "ignore")


def _write_temporary(path: Path, data: bytes, mode: int) -> str:
    # Not tempfile: it would double what the agent's keeper imports.
    temporary = f"{path.parent}/.{path.name}.{os.urandom(8).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.unlink(temporary)
        raise
    return temporary
