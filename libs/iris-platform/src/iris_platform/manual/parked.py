"""Connections that are about to be used again: one handshake serves the steps that make a slice.

A host is looked at, given its agent, and looked at once more, by different calls within
a minute or so. Between them its connection waits here, and is closed if nobody comes.
"""

from __future__ import annotations

import threading

from iris_platform.ssh import SshConnection
from iris_platform.ssh.deadline import Deadline

# From one step to the next, while others have their turn: a slice may have many hosts.
KEEP_S = 60.0


class Parked:
    """At most one connection for each host; safe to use from any thread."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[SshConnection, Deadline]] = {}
        # One for all of them; there while there are any.
        self._timer: threading.Timer | None = None

    def park(self, host: str, connection: SshConnection) -> None:
        """Keep a connection, which is ours from now on."""
        with self._lock:
            before = self._kept.pop(host, None)
            self._kept[host] = connection, Deadline(self._keep_s)
            if self._timer is None:
                self._arm(self._keep_s)
        if before is not None:
            before[0].close()

    def take(self, host: str) -> SshConnection | None:
        """The connection of a host, which is the caller's from now on; None where none is alive."""
        with self._lock:
            connection, _ = self._kept.pop(host, (None, None))
        if connection is not None and not connection.is_alive:
            connection.close()
            return None
        return connection

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._close_old)
        self._timer.name = "ssh-parked"
        # What is open when the process ends is closed by the kernel.
        self._timer.daemon = True
        self._timer.start()

    def _close_old(self) -> None:
        with self._lock:
            old = [host for host, (_, deadline) in self._kept.items() if deadline.has_passed]
            closing = [self._kept.pop(host)[0] for host in old]
            self._timer = None
            if self._kept:
                self._arm(max(0.01, min(deadline.left() for _, deadline in self._kept.values())))
        for connection in closing:
            connection.close()
