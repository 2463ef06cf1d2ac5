"""Starting and ending programs on this machine: argv only, with deadlines.

Knows nothing of slices or of what the programs do.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from iris_platform import processes

# One bare interpreter; generous, for a machine that swaps.
_LAUNCH_S = 30.0
# What is left of a process after SIGKILL, if the kernel is not stuck.
_KILL_S = 10.0

# Forks where there is a single thread, and ends at once, so that the program
# belongs to init: whoever started it may stay without collecting a zombie, or
# go. Its session has no terminal.
_LAUNCHER = """
import os, sys
pid = os.fork()
if pid:
    print(pid, flush=True)
    os._exit(0)
log = int(sys.argv[1])
os.dup2(log, 1)
os.dup2(log, 2)
os.close(log)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ProcessId(NamedTuple):
    """A process, and no later one of the same pid; see `processes.is_alive`."""

    pid: int
    start_time: int

    def is_alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        return processes.is_alive(self.pid, self.start_time)


def find_executable(name: str) -> str | None:
    """A program of ours: beside the running Python, else on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)


def start_detached(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> ProcessId | None:
    """Start a program that outlives this one; its output is appended to `log`.

    Returns:
        The process; None when it has ended already (its log says why).

    Raises:
        OSError: the log cannot be written, or no process can be made.
        subprocess.SubprocessError: the launcher failed or took too long.
    """
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # -I -S: nothing of the user's is imported on the way.
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(fd), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=fd,
            pass_fds=[fd],
            start_new_session=True,
            # So that it holds no directory that somebody wants to unmount.
            cwd="/",
            env=dict(env),
            timeout=_LAUNCH_S,
            check=True,
        )
    finally:
        os.close(fd)
    pid = int(done.stdout)
    started = processes.start_time(pid)
    return None if started is None else ProcessId(pid, started)


def end_processes(found: Collection[ProcessId], grace_s: float) -> None:
    """SIGTERM to all at once, SIGKILL to what is left after `grace_s`; all are gone then.

    Raises:
        processes.StillAlive: something outlived SIGKILL.
    """
    for process in found:
        processes.send_signal(*process, signal.SIGTERM)
    if _all_gone(found, grace_s):
        return
    for process in found:
        processes.send_signal(*process, signal.SIGKILL)
    if not _all_gone(found, _KILL_S):
        raise processes.StillAlive([p.pid for p in found if p.is_alive()], _KILL_S)


def _all_gone(found: Collection[ProcessId], timeout_s: float) -> bool:
    return processes.wait_until(lambda: not any(p.is_alive() for p in found), timeout_s)
