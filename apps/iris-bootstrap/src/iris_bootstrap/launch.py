"""From the command line to a keeper: checks, the host's mark, and the way into the background.

Knows nothing of what a keeper does. The mark has to be in a process's
environment when it is executed, so a keeper is always a fresh program.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from pathlib import Path

from iris_bootstrap.keeper.boot import READY
from iris_bootstrap.keeper.link import python_command
from iris_platform import env_probe
from iris_platform.files import read_tail
from iris_platform.processes import HOST_MARK

# Longer than the keeper waits for a cleaner's lock and for processes to die.
START_TIMEOUT_S = 120.0

_TAIL_BYTES = 4096


class LaunchError(Exception):
    """The agent was not started; `status` is the exit status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def launch(host_dir: Path, orphan_timeout_s: float, detach: bool) -> int:
    """Become the keeper of `host_dir`, or with `detach` start it and return 0.

    Raises:
        LaunchError: with the reason, in one or a few lines.
    """
    if not host_dir.is_dir():
        raise LaunchError(2, f"{host_dir}: no such directory")
    try:
        place = env_probe.probe(host_dir)
    except env_probe.ProbeError as error:
        raise LaunchError(2, str(error)) from error
    command = [
        *python_command(),
        "keeper",
        "--host-dir",
        str(host_dir),
        "--orphan-timeout",
        str(orphan_timeout_s),
        # Only where the machine itself is there to be deleted.
        *(["--deletes-slice"] if place.tpu is not None else []),
    ]
    environ = _keeper_environment(host_dir)
    try:
        if detach:
            return _start_detached(host_dir, command, environ)
        os.chdir("/")
        os.execve(command[0], command, environ)
    except OSError as error:
        raise LaunchError(1, f"the agent could not be started: {error}") from error


def _keeper_environment(host_dir: Path) -> dict[str, str]:
    environ = {**os.environ, HOST_MARK: str(host_dir)}
    if path := environ.get("PYTHONPATH"):
        # The keeper runs in the root directory.
        environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return environ


def _start_detached(host_dir: Path, command: list[str], environ: dict[str, str]) -> int:
    log = host_dir / "agent.log"
    begin = log.stat().st_size if log.exists() else 0
    ready, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    os.chdir("/")
    # In a session of its own and, once we have returned, nobody's child: what
    # forking twice is for.
    pid = os.posix_spawn(
        command[0],
        [*command, "--ready-fd", str(theirs)],
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
    )
    os.close(theirs)
    if _await_ready(ready, START_TIMEOUT_S):
        return 0
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    said = read_tail(log, _TAIL_BYTES, begin).strip() or "it said nothing"
    raise LaunchError(1, f"the agent did not start; the end of {log}:\n{said}")


def _await_ready(ready: int, timeout_s: float) -> bool:
    """Whether the keeper said that it has started, before it ended or the time was over."""
    deadline = time.monotonic() + timeout_s
    said = b""
    with selectors.DefaultSelector() as selector, open(ready, "rb", buffering=0) as pipe:
        selector.register(pipe, selectors.EVENT_READ)
        while (left_s := deadline - time.monotonic()) > 0:
            if not selector.select(left_s):
                continue
            part = pipe.read(64)
            said += part
            if not part or said == READY:
                break
    return said == READY
