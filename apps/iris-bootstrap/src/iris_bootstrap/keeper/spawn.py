"""Makes an attempt's directory and its process.

Knows nothing of leases, reports or sessions. Every task is a session of its
own (setsid), its stdin is /dev/null, and stdout and stderr are one descriptor
of its log, opened for appending, so that the order of arrival is kept.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from iris_bootstrap.attempt import AttemptKey
from iris_platform.processes import HOST_MARK

ATTEMPT_MARK = "IRIS_ATTEMPT_ID"

# The agent's own: its release's import path, its service manager's sockets, where it was started.
_PRIVATE_NAMES = {
    b"PYTHONPATH",
    b"PYTHONHOME",
    b"PYTHONSAFEPATH",
    b"LISTEN_FDS",
    b"LISTEN_FDNAMES",
    b"LISTEN_PID",
    b"NOTIFY_SOCKET",
    b"WATCHDOG_PID",
    b"WATCHDOG_USEC",
    b"INVOCATION_ID",
    b"JOURNAL_STREAM",
    b"PWD",
    b"OLDPWD",
    b"SHLVL",
    b"_",
}
_PRIVATE_PREFIXES = (b"IRIS_", b"GRPC_")

# Python ignores SIGPIPE and SIGXFSZ, and would leave its tasks deaf to them.
_DEFAULT_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

# What says something about the host at this moment, not about the program.
_HOST_ERRORS = {
    errno.EAGAIN,
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EROFS,
}


# Empty directories kept for attempts to come.
_MOST_SPARES = 256
# In an attempt's directory, once its machine is to go.
NOTICE_FILE = "notice.json"


class CannotStart(Exception):
    """There is no process. `reason` and `exit_code` as in a report; `state` FAILED or KILLED.

    FAILED: the program is at fault. KILLED: the host is.
    """

    def __init__(self, state: str, reason: str, exit_code: int | None, message: str) -> None:
        super().__init__(message)
        self.state = state
        self.reason = reason
        self.exit_code = exit_code


def base_environment(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """What tasks inherit from the agent: everything but what is the agent's own."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _PRIVATE_NAMES and not name.startswith(_PRIVATE_PREFIXES)
    }


def to_bytes(env: Mapping[str, str]) -> dict[bytes, bytes]:
    """An environment as it travels: UTF-8, whatever the agent's locale."""
    return {name.encode(): value.encode() for name, value in env.items()}


class Spawner:
    """Starts attempts below `host_dir/tasks`.

    To make two directories and a file and to remove them costs as much as to
    make a process, on ext4 at least; so those of earlier attempts that have
    nothing in them are used again.
    """

    def __init__(self, host_dir: Path) -> None:
        self._tasks = str(host_dir / "tasks")
        # Names relative to a descriptor save the kernel the walk, several times for each task.
        self._fd = _open_directory(host_dir / "tasks")
        self._spare_fd = _open_directory(host_dir / "spare")
        self._spares = deque(os.listdir(self._spare_fd))
        self._host_mark = {HOST_MARK.encode(): os.fsencode(host_dir)}

    def start(
        self, key: AttemptKey, argv: list[bytes], env: Mapping[bytes, bytes], own_env: Mapping[str, str]
    ) -> int:
        """Make the process of an attempt and return its pid.

        `env` is the job's, `own_env` the attempt's. `os.posix_spawn` cannot set
        the child's working directory, so it is lent ours, which a single thread
        may do; `step_out` follows when no more are to be started at once.

        Raises:
            CannotStart: with a line in the log that says so, where there is a log.
        """
        work = f"{self._tasks}/{key.directory}/work"
        environ = {**env, **to_bytes(own_env), **self._own(key, work)}
        try:
            log = self._make_directory(key)
            os.chdir(work)
        except OSError as error:
            raise CannotStart(
                "KILLED", "start_failed", None, f"cannot make {work}: {error.strerror}"
            ) from error
        try:
            return _spawn(argv, environ, log)
        except CannotStart as problem:
            # A full disk is no reason to fail in another way.
            with suppress(OSError):
                os.write(log, f"iris: {problem}\n".encode("utf-8", "backslashreplace"))
            raise
        finally:
            os.close(log)

    def write_notice(self, key: AttemptKey, data: bytes) -> None:
        """Put an attempt's notice where it looks for it, whole.

        Raises:
            OSError: it could not be written.
        """
        name = f"{key.directory}/{NOTICE_FILE}"
        # A task may have put anything there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(f"{name}.new", flags, 0o600, dir_fd=self._fd)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(f"{name}.new", name, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def step_out(self) -> None:
        """Leave the working directory of the last attempt, which is none of ours."""
        os.chdir("/")

    def add_spares(self, names: Iterable[str]) -> None:
        """Directories in `spare/` that are free; more than a few hundred are not kept."""
        for name in names:
            if len(self._spares) < _MOST_SPARES:
                self._spares.append(name)
            else:
                with suppress(OSError):
                    os.rmdir(f"{name}/work", dir_fd=self._spare_fd)
                    with suppress(FileNotFoundError):
                        os.unlink(f"{name}/log", dir_fd=self._spare_fd)
                    os.rmdir(name, dir_fd=self._spare_fd)

    def log_bytes(self, key: AttemptKey) -> int:
        """The length of an attempt's log; 0 when it has none that can be read."""
        try:
            return os.stat(f"{key.directory}/log", dir_fd=self._fd).st_size
        except OSError:
            return 0

    def _own(self, key: AttemptKey, work: str) -> dict[bytes, bytes]:
        return {
            b"IRIS_TASK_INDEX": b"%d" % key.task_index,
            b"IRIS_ATTEMPT": b"%d" % key.number,
            b"IRIS_WORKDIR": os.fsencode(work),
            b"IRIS_PREEMPTION_FILE": os.fsencode(f"{self._tasks}/{key.directory}/{NOTICE_FILE}"),
            ATTEMPT_MARK.encode(): str(key).encode(),
            **self._host_mark,
        }

    def _make_directory(self, key: AttemptKey) -> int:
        """Make the attempt's directory and return its log, open for appending."""
        name = key.directory
        if not self._take_spare(name):
            os.mkdir(name, 0o700, dir_fd=self._fd)
            os.mkdir(f"{name}/work", 0o700, dir_fd=self._fd)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(f"{name}/log", flags, 0o600, dir_fd=self._fd)

    def _take_spare(self, name: str) -> bool:
        while self._spares:
            with suppress(OSError):
                os.rename(self._spares.pop(), name, src_dir_fd=self._spare_fd, dst_dir_fd=self._fd)
                return True
        return False


def _open_directory(path: Path) -> int:
    path.mkdir(mode=0o700, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _spawn(argv: list[bytes], environ: Mapping[bytes, bytes], log: int) -> int:
    program = _find(argv, environ)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    try:
        return os.posix_spawn(
            program,
            argv,
            environ,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    except ValueError as error:
        # A NUL in an argument, or '=' in a variable's name.
        raise CannotStart("FAILED", "start_failed", None, f"{_show(argv[0])}: {error}") from error
    except OSError as error:
        raise _cannot_run(argv[0], error) from error


def _find(argv: list[bytes], environ: Mapping[bytes, bytes]) -> bytes:
    """The file that a shell would run for this command in this environment."""
    if not argv or not argv[0]:
        raise CannotStart("FAILED", "not_found", 127, "no command was given")
    name = argv[0]
    if b"/" in name:
        candidates = [name]
    else:
        # An empty entry is the working directory.
        places = environ.get(b"PATH", os.defpath.encode()).split(b":")
        candidates = [os.path.join(place or b".", name) for place in places]
    for candidate in candidates:
        if b"\0" not in candidate and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    # As in a shell, something that is there and cannot be run is worth another word.
    if any(b"\0" not in candidate and os.path.lexists(candidate) for candidate in candidates):
        raise CannotStart("FAILED", "not_executable", 126, f"{_show(name)}: not executable")
    raise CannotStart("FAILED", "not_found", 127, f"{_show(name)}: command not found")


def _cannot_run(name: bytes, error: OSError) -> CannotStart:
    what = f"{_show(name)}: {error.strerror}"
    if error.errno in _HOST_ERRORS:
        return CannotStart("KILLED", "start_failed", None, what)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        # The file was there a moment ago: it is what its first line names that is not.
        return CannotStart("FAILED", "not_executable", 126, f"{_show(name)}: its interpreter was not found")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELOOP, errno.ETXTBSY):
        return CannotStart("FAILED", "not_executable", 126, what)
    return CannotStart("FAILED", "start_failed", None, what)


def _show(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace")
