"""What the agent's tests share: waiting, and a keeper whose session is the test itself."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.keeper.frames import (
    Bye,
    FrameReader,
    FromSession,
    Job,
    Lease,
    Message,
    Report,
    Reports,
    Start,
    State,
    encode,
)
from iris_platform import processes

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE_S = 60.0

KEY = "job/0/7/1"
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n"
)


def eventually(done: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait for something that nobody announces to us."""
    assert processes.wait_until(done, timeout_s), f"not within {timeout_s:g} s: {what}"


def host_processes(host_dir: Path) -> list[int]:
    """What carries the mark of this host."""
    return processes.marked(processes.HOST_MARK, str(host_dir.resolve()))


def attempt_processes(host_dir: Path, key: object) -> list[int]:
    """What carries the mark of an attempt on this host."""
    host = (processes.HOST_MARK, str(host_dir.resolve()))
    return [pid for pid, value in processes.marks("IRIS_ATTEMPT_ID", host).items() if value == str(key)]


class SessionEnd:
    """The session's end of a keeper's pipe, in the hands of a test."""

    def __init__(self, relay: socket.socket, pipe: socket.socket) -> None:
        self._relay = relay
        self._pipe = pipe
        self._reader = FrameReader()
        self.told: list[Message] = []
        self.messages: list[Message] = []
        self.reports: dict[str, list[Report]] = {}
        self.read_until(lambda: any(isinstance(message, State) for message in self.messages), "State")
        self.told, self.messages = self.messages, []

    def send(self, *messages: FromSession) -> None:
        self._pipe.sendall(encode(messages))

    def lease(self, lease_s: float = 600.0, orphan_timeout_s: float = 1800.0) -> None:
        self.send(Lease(boot_s() + lease_s, lease_s, orphan_timeout_s))

    def run(
        self,
        key: str,
        *argv: str,
        grace_s: float = 5.0,
        env: dict[str, str] | None = None,
        is_gang: bool = False,
        timeout_s: float = 0.0,
    ) -> None:
        """Start an attempt of a job of its own, under a long lease."""
        self.lease()
        job = Job(key.split("/")[0], "", argv, env or {}, grace_s, is_gang, timeout_s)
        self.send(job, Start(key, "", {}))

    def read_until(self, done: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            left_s = deadline - time.monotonic()
            ready = select.select([self._pipe], [], [], max(left_s, 0))[0]
            assert ready, f"not within {timeout_s:g} s: {what}; reports: {self.reports}"
            data = self._pipe.recv(65536)
            assert data, f"the keeper hung up before: {what}"
            for message in self._reader.feed(data):
                self.messages.append(message)
                if isinstance(message, Reports):
                    for report in message.reports:
                        self.reports.setdefault(report.id, []).append(report)

    def ended(self, key: str) -> Report:
        """Wait for an attempt's last report."""

        def has_ended() -> bool:
            return key in self.reports and self.reports[key][-1].state not in ("PREPARING", "RUNNING")

        self.read_until(has_ended, f"the end of {key}")
        return self.reports[key][-1]

    def running(self, key: str) -> Report:
        self.read_until(lambda: key in self.reports, f"the start of {key}")
        return self.reports[key][0]

    def prepared(self, key: str) -> int:
        """Wait until a gang's member is PREPARING; its port."""
        report = self.running(key)
        assert report.state == "PREPARING"
        return report.port

    def part(self) -> None:
        """Read to the keeper's goodbye and end, as a session does."""
        self.read_until(lambda: any(isinstance(message, Bye) for message in self.messages), "goodbye")
        self.die()

    def die(self) -> None:
        """What a session does that is killed."""
        self._relay.close()
        self._pipe.close()


class KeeperUnderTest:
    """A real keeper in a process of its own; `accept` is its session being born."""

    def __init__(
        self, host_dir: Path, orphan_timeout_s: float = 1800.0, dead_man: Sequence[str] = ()
    ) -> None:
        self.host_dir = host_dir
        self._sessions: list[SessionEnd] = []
        self._name = f"iris-test-{secrets.token_hex(8)}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"\0{self._name}")
        self._listener.listen()
        self._listener.settimeout(PATIENCE_S)
        program = [
            sys.executable,
            str(PROGRAMS / "keeper.py"),
            str(host_dir),
            str(orphan_timeout_s),
            self._name,
            *dead_man,
        ]
        with (host_dir / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                program,
                env={**os.environ, processes.HOST_MARK: str(host_dir)},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def accept(self) -> SessionEnd:
        relay, _ = self._listener.accept()
        relay.settimeout(PATIENCE_S)
        _, fds, _, _ = socket.recv_fds(relay, 1, 1)
        session = SessionEnd(relay, socket.socket(fileno=fds[0]))
        self._sessions.append(session)
        return session

    def leave(self) -> int:
        """Tell it to leave; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        if self._sessions:
            self._sessions[-1].part()
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        for session in self._sessions:
            session.die()
        self._listener.close()
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def log_of(self, key: str) -> str:
        """What an attempt has written; nothing as long as it has no log."""
        log = self.host_dir / "tasks" / key.replace("/", "-") / "log"
        return log.read_text() if log.exists() else ""

    def session_pid(self) -> int:
        """The session's process, once it is on record."""
        found: list[int] = []

        def is_listed() -> bool:
            lines = (self.host_dir / processes.KEEPER_FILE).read_text().splitlines()
            found[:] = [line["pid"] for line in map(json.loads, lines) if line["kind"] == "session"]
            return bool(found)

        eventually(is_listed, "a session on record")
        return found[-1]


def python(code: str, *arguments: str) -> Sequence[str]:
    """A command that runs a few lines of Python."""
    return [sys.executable, "-c", code, *arguments]
