"""A service manager for hosts without one: keeps one program of a role running.

Restarts what crashed, more slowly each time, and gives up after a bound. A
program that ended with 0 or with `processes.UNWANTED` left of its own will and stays away. Knows no cluster
and no bundle: everything is in the role's service.json.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from iris_platform import processes
from iris_platform.bootstrap.host.calls import run_before
from iris_platform.bootstrap.host.layout import Layout, read_json, write_json
from iris_platform.bootstrap.notify import READY, SOCKET_VARIABLE

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
# Crashes in a row, each within `SOUND_S` of its start, before we give up.
MOST_CRASHES = 5
SOUND_S = 60.0
LOG_BYTES = 8 * 1024 * 1024
LOOK_S = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class AlreadySupervised(Exception):
    """Another supervisor has this role."""


class Supervisor:
    """One program, from the first start until it is told to stop, leaves, or crashed too often."""

    def __init__(self, layout: Layout, most_crashes: int = MOST_CRASHES, sound_s: float = SOUND_S) -> None:
        self._layout = layout
        self._most_crashes = most_crashes
        self._sound_s = sound_s
        self._service: dict[str, Any] = {}
        self._told_to_stop = False
        self._crashes = 0
        self._restarts = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._wakeup = _catch_signals()
        self._lock = _lock(layout.home / "supervisor.lock")
        self._notify = _listen(layout.notify_socket)

    def announce(self) -> None:
        """Leave word that there is a supervisor, and that its program is about to start."""
        self._note("starting")

    def run(self) -> str:
        """Returns how it ended: stopped, left or gave_up."""
        while True:
            self._service = read_json(self._layout.service_file)
            started_s = time.monotonic()
            status = self._run_once()
            if self._told_to_stop:
                return self._note("stopped", exit=status)
            if status in (0, processes.UNWANTED):
                return self._note("left", exit=status)
            self._crashes = 1 if time.monotonic() - started_s >= self._sound_s else self._crashes + 1
            if self._crashes > self._most_crashes:
                return self._note("gave_up", exit=status)
            pause_s = min(FIRST_PAUSE_S * 2 ** (self._crashes - 1), LONGEST_PAUSE_S)
            self._note("backing_off", exit=status, pause_s=pause_s)
            self._wait(lambda: self._told_to_stop, pause_s)
            if self._told_to_stop:
                return self._note("stopped", exit=status)
            self._restarts += 1

    def _run_once(self) -> int:
        """Start the program and wait for its end; returns its exit status."""
        with self._layout.log_file.open("ab") as log:
            run_before(self._service, log.fileno())
            try:
                self._child = subprocess.Popen(
                    self._service["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=self._environment(),
                    start_new_session=True,
                )
            except OSError as error:
                log.write(f"cannot start {self._service['argv'][0]}: {error.strerror}\n".encode())
                return 127
        child = self._child
        self._note("running")
        while child.poll() is None and not self._told_to_stop:
            self._wait(lambda: self._told_to_stop or child.poll() is not None, LOOK_S)
            self._cap_log()
        if child.poll() is None:
            self._end(child)
        return child.returncode

    def _environment(self) -> dict[str, str]:
        env: dict[str, str] = self._service["env"]
        # The client of an engine would take the socket for its own.
        notify = {} if self._service.get("image") else {SOCKET_VARIABLE: str(self._layout.notify_socket)}
        return {**env, **notify}

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.terminate()
        if not self._wait(lambda: child.poll() is not None, float(self._service.get("stop_s", 30.0))):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Until `done()` holds or the time is over, while signals and notices are heard."""
        deadline = time.monotonic() + timeout_s
        while not done():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            readable, _, _ = select.select([self._wakeup, self._notify], [], [], left_s)
            if self._wakeup in readable:
                self._hear_signals()
            if self._notify in readable:
                self._hear_notice()
        return True

    def _hear_signals(self) -> None:
        with suppress(BlockingIOError):
            self._told_to_stop |= any(number in _SIGNALS for number in self._wakeup.recv(4096))

    def _hear_notice(self) -> None:
        with suppress(OSError):
            if READY in self._notify.recv(4096).split(b"\n") and self._child is not None:
                self._note("ready")

    def _note(self, phase: str, **facts: object) -> str:
        child = self._child
        alive = child is not None and child.returncode is None
        note = {
            "phase": phase,
            "pid": child.pid if child is not None and alive else None,
            "start_time": processes.start_time(child.pid) if child is not None and alive else None,
            "restarts": self._restarts,
            "supervisor": {"pid": os.getpid(), "start_time": processes.start_time(os.getpid())},
            "boot_id": processes.boot_id(),
            **facts,
        }
        # A full disk must not end what it supervises.
        with suppress(OSError):
            write_json(self._layout.state_file, note)
        return phase

    def _cap_log(self) -> None:
        """Keep the newer half of a log that grew too long; the program goes on appending."""
        path = self._layout.log_file
        with suppress(OSError):
            if path.stat().st_size <= LOG_BYTES:
                return
            with path.open("r+b") as log:
                log.seek(-LOG_BYTES // 2, os.SEEK_END)
                kept = log.read()
                # What is written in between is lost; it is the price of having no pipe,
                # whose end would take the program's voice with the supervisor.
                log.truncate(0)
                log.seek(0)
                log.write(kept)


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise AlreadySupervised(str(path)) from error
    return fd


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    listener.setblocking(False)
    listener.bind(str(path))
    return listener


def _catch_signals() -> socket.socket:
    """A socket on which the numbers of caught signals arrive; SIGCHLD is one of them."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    for number in (*_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return ours


def read_state(layout: Layout) -> Mapping[str, Any]:
    """What the supervisor last noted, if that was in this boot; else empty."""
    state = read_json(layout.state_file)
    return state if state.get("boot_id") == processes.boot_id() else {}
