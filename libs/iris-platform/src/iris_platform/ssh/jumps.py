"""Connections to jump hosts, made once and shared by all that go through them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from iris_platform.base import Unreachable
from iris_platform.ssh.client import ParamikoConnection
from iris_platform.ssh.deadline import Deadline
from iris_platform.ssh.target import SshTarget

Route = tuple[SshTarget, ...]
Dial = Callable[[SshTarget, "ParamikoConnection | None"], ParamikoConnection]


@dataclass
class _Held:
    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: ParamikoConnection | None = None


class JumpHosts:
    """One handshake for each jump host, whoever needs it first; used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Route, _Held] = {}

    def through(self, hops: Route, dial: Dial, deadline: Deadline) -> ParamikoConnection:
        """The connection at the end of `hops`; those that are missing or dead are dialled.

        Raises:
            PlatformError: what `dial` raises.
            Unreachable: another thread dialled it for too long.
        """
        below = self.through(hops[:-1], dial, deadline) if hops[1:] else None
        with self._lock:
            held = self._held.setdefault(hops, _Held())
        if not held.lock.acquire(timeout=deadline.left()):
            raise Unreachable(f"{hops[-1]}: no connection to this jump host within {deadline.timeout_s:g} s")
        try:
            if held.connection is None or not held.connection.is_alive:
                if held.connection is not None:
                    held.connection.close()
                held.connection = dial(hops[-1], below)
            return held.connection
        finally:
            held.lock.release()

    def close(self) -> None:
        """Hang up on all, the last of each way first; may be used again after."""
        with self._lock:
            held, self._held = self._held, {}
        for route in sorted(held, key=len, reverse=True):
            connection = held[route].connection
            if connection is not None:
                connection.close()
