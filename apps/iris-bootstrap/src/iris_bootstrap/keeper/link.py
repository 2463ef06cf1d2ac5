"""The session's process and the keeper's end of the pipe to it.

Knows frames and one child; nothing of attempts. Nothing here blocks: what the
session does not read stays where it came from, so no buffer grows with it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from iris_bootstrap.keeper.frames import FRAME_BYTES, FrameReader, Message, encode

# The descriptor that the session finds its end under.
SESSION_FD = 3

_READ_BYTES = 256 * 1024
_NEWS_PER_FRAME = 64
# A session has one ping on its way; one that sends more does not want all the answers.
_ANSWERS = 16

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
# A session that lived for so long had nothing wrong with it when it started.
SOUND_AFTER_S = 30.0


class Backoff:
    """How long to wait before the next session is started."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S

    def after(self, lived_s: float) -> float:
        """The pause after a session that lived for so long."""
        if lived_s >= SOUND_AFTER_S:
            self._pause_s = FIRST_PAUSE_S
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s


class Link:
    """One session, from its start until it is reaped."""

    def __init__(self, command: list[str], backlog: Iterator[Message]) -> None:
        """Start a session. `backlog` is what it is told first, taken as it reads.

        Raises:
            OSError: there is no process to be had now.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        self.socket: socket.socket | None = ours
        self._reader = FrameReader()
        self._backlog: Iterator[Message] | None = backlog
        self._answers: deque[Message] = deque(maxlen=_ANSWERS)
        self._out = bytearray()
        # Whether something has come since this was last set to False.
        self.heard = False
        try:
            self.pid = _spawn(command, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()

    def read(self) -> list[Message] | None:
        """What has arrived; None at the end of the pipe.

        Raises:
            FrameError: the session does not speak our language.
        """
        if self.socket is None:
            return None
        try:
            data = self.socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            return None
        self.heard = True
        return self._reader.feed(data) if data else None

    def say(self, message: Message) -> None:
        """Queue something; of many, only the last few are kept."""
        self._answers.append(message)

    def fill(self, more: Callable[[int], list[Message]]) -> None:
        """Queue what there is to say, up to a bound. `more(n)` takes at most n news from their owner."""
        while self.socket is not None and len(self._out) < FRAME_BYTES:
            messages = self._next_messages(more)
            if not messages:
                return
            self._out += encode(messages)

    def write(self) -> bool:
        """Send what the session has room for; whether something is left."""
        while self._out and self.socket is not None:
            try:
                sent = self.socket.send(self._out)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                # The reading side notices too, and ends the link.
                self._out.clear()
                return False
            del self._out[:sent]
        return False

    def close(self) -> None:
        """End the conversation."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def kill(self) -> None:
        """End the process, which must not have been reaped: then the pid is its own."""
        os.kill(self.pid, signal.SIGKILL)

    def _next_messages(self, more: Callable[[int], list[Message]]) -> list[Message]:
        if self._backlog is not None:
            # One to a frame: a job's document can be as long as a frame may be.
            message = next(self._backlog, None)
            if message is not None:
                return [message]
            self._backlog = None
        messages = [*more(_NEWS_PER_FRAME), *self._answers]
        self._answers.clear()
        return messages


def _spawn(command: list[str], pipe: socket.socket) -> int:
    return os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, pipe.fileno(), SESSION_FD),
        ],
        # Ctrl-C in a foreground agent's terminal is the keeper's to deal with.
        setsid=True,
        setsigmask=(),
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def make_session_command(host_dir: Path) -> list[str]:
    """How a session is started with this interpreter and these packages."""
    return [*python_command(), "session", "--host-dir", str(host_dir), "--pipe-fd", str(SESSION_FD)]


def python_command() -> list[str]:
    """This program under this interpreter, for `exec` from the root directory.

    `-m` looks for modules in the working directory first, where 3.11's `-P`
    does not keep it from doing so.
    """
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe, "-m", "iris_bootstrap"]
