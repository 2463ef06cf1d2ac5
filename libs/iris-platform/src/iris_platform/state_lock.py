"""One owner for a state directory, on a file system that can keep the promise.

Held by the controller as long as it runs, and by `cluster stop` when there is
none, so that nothing starts meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from iris_platform import processes
from iris_platform.files import make_private_dir

LOCK_FILE = "lock"
CONTROLLER = "controller"

# SQLite's write-ahead log needs memory shared through the file system
# (https://www.sqlite.org/wal.html, "all processes must be on the same host"),
# and flock on these is advisory at best.
_NETWORK_TYPES = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "ocfs2",
        "smb3",
        "smbfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
    ]
)


class StateDirError(ValueError):
    """A state directory cannot be used; the message says why."""


class StateLocked(StateDirError):
    """Another process owns the directory. `pid` is None where it does not say."""

    def __init__(self, state_dir: Path, holder: Holder | None) -> None:
        self.pid = holder.pid if holder else None
        who = f"process {holder.pid} ({holder.role})" if holder else "another process"
        super().__init__(f"{state_dir}: in use by {who}")


class Holder(NamedTuple):
    """Who owns a state directory, and what as; see `processes.is_alive`."""

    pid: int
    start_time: int
    role: str


class StateLock:
    """The lock on a state directory; a context manager that releases it.

    It goes with the process, however that ends.
    """

    def __init__(self, state_dir: Path, role: str = CONTROLLER) -> None:
        """Take the lock; does not wait. `role` says who we are, for others to read.

        Raises:
            StateLocked: another process has it.
            StateDirError: the directory is on a network file system, or cannot
                be made or written.
        """
        try:
            make_private_dir(state_dir)
            refuse_network_file_system(state_dir)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._path = state_dir / LOCK_FILE
            self._fd = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise StateDirError(f"{state_dir}: cannot use it: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise StateLocked(state_dir, read_holder(state_dir)) from error
        pid = os.getpid()
        holder = {"pid": pid, "start_time": processes.start_time(pid), "role": role}
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(holder).encode("ascii"), 0)

    def is_intact(self) -> bool:
        """Whether the file that we hold is still the directory's lock.

        It is not after the directory was removed or replaced: then another
        owner can take the new one, and neither would know of the other.
        """
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._fd))

    def release(self) -> None:
        """Let another process have it; again: nothing."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> StateLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def read_holder(state_dir: Path) -> Holder | None:
    """The live process that says it owns the directory, if one does.

    Does not try the lock: even a moment's try would refuse it to a starter.
    """
    try:
        value = json.loads((state_dir / LOCK_FILE).read_bytes())
        holder = Holder(int(value["pid"]), int(value["start_time"]), str(value["role"]))
    except (OSError, ValueError, KeyError, TypeError):
        # No file, an empty one after a release, or one half written.
        return None
    return holder if processes.is_alive(holder.pid, holder.start_time) else None


def refuse_network_file_system(path: Path, mounts: str | None = None, real: Path | None = None) -> None:
    """Check that a directory is on a file system of this machine.

    `mounts` stands in for the text of `/proc/mounts`, and `real` for what `path`
    leads to: those of another machine.

    Raises:
        StateDirError: it is not; the message names the file system.
    """
    kind = file_system_type(real or path.resolve(), read_mounts() if mounts is None else mounts)
    if kind.startswith("nfs") or kind in _NETWORK_TYPES:
        raise StateDirError(
            f"{path}: is on a network file system ({kind}), where the controller's"
            " database would not be safe; choose a directory on a local disk"
        )


def read_mounts() -> str:
    """The text of `/proc/mounts`."""
    # Other bytes than UTF-8 are possible in mount points.
    return Path("/proc/mounts").read_text("utf-8", errors="surrogateescape")


def file_system_type(path: Path, mounts: str) -> str:
    """The type of the file system that holds an absolute path; empty if unknown.

    `mounts` is the text of `/proc/mounts` (fstab(5)).
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescape(fields[1]))
        # Of two on one point the later covers the earlier.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
