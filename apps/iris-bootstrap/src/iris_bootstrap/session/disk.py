"""The session's files: the highest epoch, and what attempts leave behind.

Knows when nothing: its callers know when.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from enum import Enum
from pathlib import Path

from iris_bootstrap.attempt import AttemptKey
from iris_platform.files import write_atomic
from iris_platform.holes import data_begin, punch_hole

SESSION_FILE = "session.json"


def read_epoch(host_dir: Path) -> tuple[int, int]:
    """The highest epoch and commit that were saved; zeros at first.

    Raises:
        ValueError: the file is not what `save_epoch` wrote: whose word to take is not known.
    """
    path = host_dir / SESSION_FILE
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return 0, 0
    epoch, commit = value.get("epoch"), value.get("commit")
    if not isinstance(epoch, int) or not isinstance(commit, int):
        raise ValueError(f"{path}: expected numbers `epoch` and `commit`")
    return epoch, commit


def save_epoch(host_dir: Path, epoch: int, commit: int) -> None:
    """Have `read_epoch` return these from now on, whatever happens to us or the machine.

    Raises:
        OSError: they could not be written.
    """
    write_atomic(host_dir / SESSION_FILE, json.dumps({"epoch": epoch, "commit": commit}).encode() + b"\n")


class Retired(Enum):
    """What became of an attempt's directory."""

    GONE = "gone"
    SPARE = "spare"
    NOT_YET = "not_yet"


class TaskFiles:
    """The directories below `tasks/`."""

    def __init__(self, host_dir: Path) -> None:
        self._root = host_dir / "tasks"
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._fd = os.open(self._root, flags)
        self._spare_fd = os.open(host_dir / "spare", flags)

    def log_size(self, key: AttemptKey) -> int | None:
        """The present length of an attempt's log; None when there is none that can be read."""
        try:
            return os.stat(f"{key.directory}/log", dir_fd=self._fd).st_size
        except OSError:
            return None

    def read_log(self, key: AttemptKey, offset: int, length: int) -> bytes | None:
        """Up to `length` bytes of an attempt's log; None when there is none that can be read."""
        try:
            fd = self._open_log(key, os.O_RDONLY)
        except OSError:
            return None
        try:
            return os.pread(fd, length, offset)
        except OSError:
            return None
        finally:
            os.close(fd)

    def log_begin(self, key: AttemptKey) -> int:
        """Where an attempt's log begins of which `drop_log` may have had some; 0 when there is none."""
        try:
            fd = self._open_log(key, os.O_RDONLY)
        except OSError:
            return 0
        try:
            return data_begin(fd)
        finally:
            os.close(fd)

    def drop_log(self, key: AttemptKey, end: int) -> bool:
        """Give the beginning of a log back to the disk, up to `end`; False where that cannot be done.

        From 0 on, so that what an interrupted call left undone is done.
        """
        try:
            fd = self._open_log(key, os.O_WRONLY)
        except OSError:
            return False
        try:
            return stat.S_ISREG(os.fstat(fd).st_mode) and punch_hole(fd, 0, end)
        except OSError:
            return False
        finally:
            os.close(fd)

    def _open_log(self, key: AttemptKey, mode: int) -> int:
        # A task may have put anything there: a link elsewhere, a pipe that blocks whoever opens it.
        flags = mode | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(f"{key.directory}/log", flags, dir_fd=self._fd)

    def retire(self, key: AttemptKey, spare: bool) -> Retired:
        """Take an attempt's directory out of `tasks/`, if that is done in a moment.

        That is so if its task left nothing there; with `spare` it is then kept
        for another attempt.
        """
        name = key.directory
        try:
            if not _is_plain(self._root / name):
                return Retired.NOT_YET
            if not (spare and self._is_fresh(f"{name}/log")):
                os.unlink(f"{name}/log", dir_fd=self._fd)
            if spare:
                os.rename(name, name, src_dir_fd=self._fd, dst_dir_fd=self._spare_fd)
                return Retired.SPARE
            os.rmdir(f"{name}/work", dir_fd=self._fd)
            os.rmdir(name, dir_fd=self._fd)
            return Retired.GONE
        except FileNotFoundError:
            # Such as that of an attempt that was stopped before it had one.
            return Retired.NOT_YET if (self._root / name).exists() else Retired.GONE
        except OSError:
            return Retired.NOT_YET

    def _is_fresh(self, log: str) -> bool:
        """Whether a log is as it was made, so that it does for another attempt too."""
        status = os.stat(log, dir_fd=self._fd, follow_symlinks=False)
        return status.st_mode == stat.S_IFREG | 0o600 and status.st_size == 0 and status.st_nlink == 1

    def remove_tree(self, key: AttemptKey) -> None:
        """Remove an attempt's directory with all that its task left there.

        Raises:
            OSError: something could not be removed.
        """
        shutil.rmtree(self._root / key.directory)


def _is_plain(directory: Path) -> bool:
    """Whether there is nothing but a log and an empty `work`, in directories as we made them."""
    with os.scandir(directory) as entries:
        kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    if kinds != {"log": False, "work": True}:
        return False
    work = directory / "work"
    modes = {path.stat().st_mode & 0o7777 for path in (directory, work)}
    return modes == {0o700} and not os.listdir(work)
