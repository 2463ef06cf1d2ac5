"""One connection to each host: shared by all who want something of it, and kept a while for the next one.

A host is looked at, given its agent and looked at once more, by different calls, some of
them at the same time; a handshake costs more than most of what they do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from iris_platform.base import PlatformError, Unreachable
from iris_platform.ssh import SshConnection
from iris_platform.ssh.deadline import Deadline

# From one step to the next, while others have their turn: a slice may have many hosts.
KEEP_S = 120.0


@dataclass(eq=False)
class _Line:
    """A connection that is being made, or was."""

    dialled: Future[SshConnection] = field(default_factory=Future)
    users: int = 0
    keeps: Deadline | None = None

    @property
    def is_dead(self) -> bool:
        if not self.dialled.done():
            return False
        return self.dialled.exception() is not None or not self.dialled.result().is_alive

    @property
    def is_over(self) -> bool:
        """Whether nobody has it and nobody is expected."""
        return self.users == 0 and (self.is_dead or self.keeps is None or self.keeps.has_passed)

    def close(self) -> None:
        if self.dialled.exception() is None:
            self.dialled.result().close()


class Connections:
    """At most one for each host, unless one failed; safe to use from any thread.

    `dial` connects to a host within a time of its own; `keep_s` is how long one stays
    open after its last use.
    """

    def __init__(self, dial: Callable[[str], SshConnection], keep_s: float = KEEP_S) -> None:
        self._dial = dial
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        # One for all of them; there while there are any that nobody uses.
        self._timer: threading.Timer | None = None

    @contextmanager
    def use(self, host: str, *, last: bool = False) -> Iterator[SshConnection]:
        """The connection of a host; `last`: nobody is expected to come after us.

        Raises:
            PlatformError: it cannot be made; whoever waits for it gets the same.
        """
        line = self._enter(host)
        keeps, fails = False, True
        try:
            yield line.dialled.result()
            keeps, fails = not last, False
        except PlatformError as error:
            # After silence whoever comes next begins anew.
            fails = isinstance(error, Unreachable)
            raise
        finally:
            self._leave(host, line, keeps=keeps, fails=fails)

    def _enter(self, host: str) -> _Line:
        with self._lock:
            line = self._lines.get(host)
            if line is not None and not line.is_dead:
                line.users += 1
                return line
            line = self._lines[host] = _Line(users=1)
        try:
            # Raised by `use`, for all who wait for it.
            line.dialled.set_result(self._dial(host))
        except Exception as error:
            line.dialled.set_exception(error)
        return line

    def _leave(self, host: str, line: _Line, *, keeps: bool, fails: bool) -> None:
        with self._lock:
            line.users -= 1
            line.keeps = Deadline(self._keep_s) if keeps else None
            if self._lines.get(host) is not line:
                # One that failed under somebody, and has been given up.
                line.keeps = None
            elif fails or line.is_over:
                del self._lines[host]
                line.keeps = None
            is_over = line.is_over
            if not is_over and self._timer is None:
                self._arm(self._keep_s)
        if is_over:
            line.close()

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._close_old)
        self._timer.name = "ssh-connections"
        # What is open when the process ends is closed by the kernel.
        self._timer.daemon = True
        self._timer.start()

    def _close_old(self) -> None:
        with self._lock:
            over = [host for host, line in self._lines.items() if line.is_over]
            closing = [self._lines.pop(host) for host in over]
            waits = [line.keeps.left() for line in self._lines.values() if line.keeps is not None]
            self._timer = None
            if waits:
                self._arm(max(0.01, min(waits)))
        for line in closing:
            line.close()
