"""Runs the executable as a person would: another process, with deadlines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

DEADLINE_S = 30.0
# In the environment of whatever a runner starts, and of what that starts.
HOME_MARK = "TEST_CLI_HOME"


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def document(self) -> Any:
        """The only thing on stdout, as JSON."""
        return json.loads(self.out)


class Runner:
    """`iris` with a home of its own."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        self.python = Path(sys.executable)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("IRIS_", "XDG_", "COV", "PYTHONUNBUF")) and name != "NO_COLOR"
        }
        self.env = {
            **kept,
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "IRIS_RECONNECT_TIMEOUT": "10s",
            "COLUMNS": "80",
            HOME_MARK: str(home),
            **env,
        }

    @property
    def state_dir(self) -> Path:
        """The default state directory of the cluster named demo."""
        return self.home / "state" / "iris" / "demo"

    def __call__(
        self,
        *words: str | bytes,
        env: Mapping[str, str] | None = None,
        stdout: IO[bytes] | None = None,
        program: Sequence[str] = ("-m", "iris_cli"),
    ) -> Finished:
        """Run to the end; `program` is what the interpreter is given."""
        done = subprocess.run(
            [self.python, *program, *words],
            cwd=self.home,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            check=False,
        )
        return Finished(done.returncode, done.stdout or b"", done.stderr.decode())

    def start(self, *words: str) -> Running:
        """Start, to be watched."""
        return Running(
            subprocess.Popen(
                [self.python, "-m", "iris_cli", *words],
                cwd=self.home,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # What a buffer held would be lost to `communicate`.
                bufsize=0,
            )
        )


class Running:
    """A command that has not ended yet; use as a context."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._read = b""

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=DEADLINE_S)

    def read(self, count: int) -> bytes:
        """So many bytes of stdout; waits for them."""
        assert self._process.stdout is not None
        data = b""
        while len(data) < count and (part := self._process.stdout.read(count - len(data))):
            data += part
        self._read += data
        return data

    def read_line(self) -> bytes:
        """The next line of stdout; waits for it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._read += line
        return line

    def read_error_line(self) -> str:
        """The next line of stderr; waits for it."""
        assert self._process.stderr is not None
        return self._process.stderr.readline().decode()

    def hang_up(self) -> None:
        """Nobody reads stdout any more."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait_without_stdout(self) -> Finished:
        """The end of a command that was hung up on."""
        assert self._process.stderr is not None
        error = self._process.stderr.read()
        return Finished(self._process.wait(DEADLINE_S), self._read, error.decode())

    def finish(self) -> Finished:
        """Wait for the end."""
        out, err = self._process.communicate(timeout=DEADLINE_S)
        return Finished(self._process.returncode, self._read + out, err.decode())
