"""The ssh client as a peer of hosts: one command, or a connection that stays open."""

from __future__ import annotations

import select
import subprocess
from types import TracebackType

from tests.harness.hosts import Host, Lab

ANSWER_S = 20.0


def ssh(lab: Lab, host: Host, *command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    """Runs a command on a host through the ssh client, whatever its status (255: the client's own)."""
    words = [*lab.ssh_command(host, user=user), *command]
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=ANSWER_S)


class Talk:
    """A session of `cat` on a host: says a word and hears it back.

    With `impatient`, the client asks every second for a sign of life and gives up after two without.
    """

    def __init__(self, lab: Lab, host: Host, *, impatient: bool = False) -> None:
        *words, where = lab.ssh_command(host)
        alive = ["-o", f"ServerAliveInterval={int(impatient)}", "-o", "ServerAliveCountMax=2"]
        self._process = subprocess.Popen(
            [*words, *alive, where, "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def __enter__(self) -> Talk:
        assert self.echoes("hello"), "no session"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def say(self, word: str) -> None:
        """Sends a word."""
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n".encode())

    def hears(self, word: str, deadline_s: float = ANSWER_S) -> bool:
        """Whether the next thing that comes back within the deadline is this word."""
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], deadline_s)
        return bool(ready) and self._process.stdout.readline() == f"{word}\n".encode()

    def echoes(self, word: str) -> bool:
        """Whether a word comes back."""
        self.say(word)
        return self.hears(word)

    def end(self) -> str:
        """How the client says that the connection ended, when it has."""
        assert self._process.stderr
        self._process.wait(ANSWER_S)
        return self._process.stderr.read().decode()
