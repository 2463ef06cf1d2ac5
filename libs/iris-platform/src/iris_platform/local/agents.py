"""The agents of local hosts, as processes: start, see, end.

An agent's keeper writes a line `{"kind":"boot","boot_id","pid","start_time"}`
to `keeper.jsonl` in its host's directory, and it and all its tasks carry the
directory in their environment (`processes.HOST_MARK`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from iris_platform import processes
from iris_platform.base import HOST_LOG_BYTES, StartFailed, Unreachable, VmState
from iris_platform.files import last_lines, read_tail
from iris_platform.launch import ProcessId, end_processes

# Carried by the process that starts an agent. Not HOST_MARK: an agent begins by
# killing whatever carries that.
START_MARK = "IRIS_STARTING_HOST"
START_LOG = "start.log"
# The agent's own, with --detach.
AGENT_LOG = "agent.log"
LOG_TAIL_BYTES = 2048
# From the note that a host is started until its first process: one fork.
NOT_YET_MS = 5_000


@dataclass(frozen=True)
class Keeper:
    """The last keeper that a host's file names."""

    boot_id: str
    process: ProcessId


def read_keeper(host_dir: Path) -> Keeper | None:
    """The host's last keeper, dead or alive; None when none ever began.

    Raises:
        Unreachable: the file is there but cannot be read.
    """
    path = host_dir / processes.KEEPER_FILE
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreachable(f"{path}: cannot read: {error.strerror}") from error
    for line in reversed(lines):
        if b'"boot"' not in line:
            continue
        try:
            entry = json.loads(line)
            if entry["kind"] == "boot":
                process = ProcessId(int(entry["pid"]), int(entry["start_time"]))
                return Keeper(str(entry["boot_id"]), process)
        except (ValueError, KeyError, TypeError):
            # Half a line: its writer was killed before it could start anything.
            continue
    return None


class Look:
    """One look at the machine, for the states of many hosts.

    A scan of /proc is never one moment; what is called gone was absent from
    two scans.
    """

    def __init__(self) -> None:
        self._boot_id = processes.boot_id()
        self._scans = [_marked_hosts(processes.HOST_MARK)]
        self._starting: frozenset[str] | None = None

    def marked(self) -> set[Path]:
        """The directories of all hosts of which something ran."""
        return {Path(value) for value in self._scans[0]}

    def marked_now(self) -> set[Path]:
        """The same, after a new look."""
        return {Path(value) for value in _marked_hosts(processes.HOST_MARK)}

    def host_state(self, host_dir: Path, age_ms: int, start_s: float) -> tuple[VmState, str]:
        """A host's state and, where it is not well, why.

        `age_ms` is the time since it was last started, `start_s` how long that
        may take.
        """
        keeper = read_keeper(host_dir)
        if keeper is not None and self._is_alive(keeper):
            return VmState.RUNNING, ""
        busy = self._is_marked(host_dir) or (keeper is None and self._is_starting(host_dir))
        # A clock that was set back must not keep a dead host booting for ever.
        young = 0 <= age_ms < (start_s * 1000 if busy else NOT_YET_MS)
        if keeper is None and young:
            return VmState.BOOTING, ""
        what = "its agent has ended" if keeper else "its agent never started"
        if busy:
            return VmState.FAILED, f"{what}, but not all of its processes"
        return VmState.TERMINATED, what

    def _is_alive(self, keeper: Keeper) -> bool:
        # Another boot's pids and start times mean other processes.
        return keeper.boot_id == self._boot_id and keeper.process.is_alive()

    def _is_marked(self, host_dir: Path) -> bool:
        mark = str(host_dir.resolve())
        if mark in self._scans[0]:
            return True
        if len(self._scans) == 1:
            self._scans.append(_marked_hosts(processes.HOST_MARK))
        return mark in self._scans[1]

    def _is_starting(self, host_dir: Path) -> bool:
        if self._starting is None:
            self._starting = _marked_hosts(START_MARK)
        return str(host_dir.resolve()) in self._starting


def never_started(host_dirs: Collection[Path]) -> list[Path]:
    """The hosts that have no agent, had none, and are not about to get one."""
    busy = _marked_hosts(processes.HOST_MARK) | _marked_hosts(START_MARK)
    return [d for d in host_dirs if read_keeper(d) is None and str(d.resolve()) not in busy]


def start_agents(command: Sequence[str], host_dirs: Collection[Path], timeout_s: float) -> None:
    """Start the agents of hosts side by side; returns when all are up.

    `command` ends when its agent is up, given `--host-dir DIR`.

    Raises:
        StartFailed: one did not start; carries its last words.
        Unreachable: one took longer than `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    started: list[tuple[Path, subprocess.Popen[bytes]]] = []
    try:
        for host_dir in host_dirs:
            started.append((host_dir, _spawn(command, host_dir)))
        for host_dir, starter in started:
            _await_start(command, host_dir, starter, deadline, timeout_s)
    finally:
        for _, starter in started:
            _end_starter(starter)


def end_agents(host_dirs: Collection[Path], grace_s: float) -> None:
    """End everything that runs on hosts: first asked to, then made to.

    Raises:
        Unreachable: something outlived SIGKILL.
    """
    boot_id = processes.boot_id()
    try:
        _end_starters(host_dirs)
        keepers = [read_keeper(path) for path in host_dirs]
        ours = [k.process for k in keepers if k and k.boot_id == boot_id]
        for process in ours:
            # One that was halted hears nothing until it goes on.
            processes.send_signal(*process, signal.SIGCONT)
        end_processes(ours, grace_s)
        for path in host_dirs:
            processes.clean_host(path)
    except processes.StillAlive as error:
        raise Unreachable(str(error)) from error


def read_log(host_dir: Path) -> str:
    """The end of what a host's agent said or, where none ever began, of what its start said.

    Raises:
        Unreachable: it is there but cannot be read.
    """
    names = (AGENT_LOG,) if read_keeper(host_dir) is not None else (START_LOG, AGENT_LOG)
    try:
        # Twice as much: what is cut off is no whole line.
        tails = (read_tail(host_dir / name, 2 * HOST_LOG_BYTES) for name in names)
        return last_lines(next(filter(None, tails), ""), HOST_LOG_BYTES)
    except OSError as error:
        raise Unreachable(f"{error.filename or host_dir}: cannot read: {error.strerror}") from error


def _spawn(command: Sequence[str], host_dir: Path) -> subprocess.Popen[bytes]:
    try:
        # A file, not a pipe: what the agent leaves behind may hold it open.
        with (host_dir / START_LOG).open("wb") as log:
            return subprocess.Popen(
                [*command, "--host-dir", str(host_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=host_dir,
                env={**os.environ, START_MARK: str(host_dir.resolve())},
            )
    except OSError as error:
        raise StartFailed(f"{host_dir}: cannot start {command[0]}: {error}") from error


def _end_starters(host_dirs: Collection[Path]) -> None:
    """End starters that outlived whoever ran them, and the keepers they just made.

    Only where no keeper has begun: a keeper has its starter's mark too.
    """
    marks = {str(path.resolve()) for path in host_dirs if read_keeper(path) is None}

    def find() -> list[int]:
        return [pid for pid, value in processes.marks(START_MARK).items() if value in marks]

    if marks:
        processes.kill_all(find)


def _marked_hosts(mark: str) -> frozenset[str]:
    return frozenset(processes.marks(mark).values())


def _await_start(
    command: Sequence[str],
    host_dir: Path,
    starter: subprocess.Popen[bytes],
    deadline: float,
    timeout_s: float,
) -> None:
    try:
        status = starter.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        words = f"{host_dir}: {command[0]} did not end within {timeout_s:g} s{_last_words(host_dir)}"
        raise Unreachable(words) from error
    if status != 0:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise StartFailed(f"{host_dir}: {command[0]}: {how}{_last_words(host_dir)}")


def _end_starter(starter: subprocess.Popen[bytes]) -> None:
    # It leads a session of its own, which the agent has left by now.
    if starter.poll() is None:
        os.killpg(starter.pid, signal.SIGKILL)
        starter.wait()


def _last_words(host_dir: Path) -> str:
    tail = read_tail(host_dir / START_LOG, LOG_TAIL_BYTES).strip()
    return f"; its last words:\n{tail}" if tail else "; it said nothing"
