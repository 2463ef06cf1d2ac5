"""A terminal with somebody in front of it."""

from __future__ import annotations

import os
import pty
import select
import subprocess

from tests.cli.runner import DEADLINE_S, Runner


class Terminal:
    """`iris` on a terminal of its own; use as a context."""

    def __init__(self, iris: Runner, *words: str, **env: str) -> None:
        self._own, other = pty.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            [iris.python, "-m", "iris_cli", *words],
            cwd=iris.home,
            env={**iris.env, "TERM": "xterm", **env},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait(DEADLINE_S)
        os.close(self._own)

    def wait_for(self, text: str) -> None:
        """Until that is on the screen."""
        while text not in self.shown:
            assert self._read(), f"{text!r} was never shown, but: {self.shown}"

    def type(self, text: str) -> None:
        """Type, and press Enter."""
        os.write(self._own, f"{text}\n".encode())

    def finish(self) -> int:
        """Wait for the end; returns the exit status."""
        while self._read():
            pass
        return self._process.wait(DEADLINE_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._own], [], [], DEADLINE_S)
        assert ready, f"nothing more was shown after: {self.shown}"
        try:
            data = os.read(self._own, 65536)
        except OSError:
            # Linux's way of saying that nobody has the other end open any more.
            return False
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)
