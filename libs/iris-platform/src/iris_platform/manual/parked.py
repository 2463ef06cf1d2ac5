"""Connections that are about to be used again: one handshake serves the steps that make a slice.

A host is looked at, given its agent, and looked at once more, by different calls within
a minute or two. Between them its connection waits here, and is closed if nobody comes.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from iris_platform.ssh import SshConnection
from iris_platform.ssh.deadline import Deadline

# From one step to the next, while others have their turn: a slice may have many hosts.
KEEP_S = 120.0


class Kept(NamedTuple):
    """A connection, and until when it is kept."""

    connection: SshConnection
    deadline: Deadline


class Parked:
    """At most one connection for each host; safe to use from any thread."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}
        # One for all of them; there while there are any.
        self._timer: threading.Timer | None = None

    def park(self, host: str, connection: SshConnection, until: Deadline | None = None) -> None:
        """Keep a connection, which is ours from now on; for as long as ours are, or as it was before."""
        with self._lock:
            before = self._kept.pop(host, None)
            self._kept[host] = Kept(connection, until or Deadline(self._keep_s))
            if self._timer is None:
                self._arm(self._keep_s)
        if before is not None:
            before.connection.close()

    def take(self, host: str) -> Kept | None:
        """The connection of a host, which is the caller's from now on; None where none is alive."""
        with self._lock:
            kept = self._kept.pop(host, None)
        if kept is not None and not kept.connection.is_alive:
            kept.connection.close()
            return None
        return kept

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._close_old)
        self._timer.name = "ssh-parked"
        # What is open when the process ends is closed by the kernel.
        self._timer.daemon = True
        self._timer.start()

    def _close_old(self) -> None:
        with self._lock:
            old = [host for host, kept in self._kept.items() if kept.deadline.has_passed]
            closing = [self._kept.pop(host).connection for host in old]
            self._timer = None
            if self._kept:
                self._arm(max(0.01, min(kept.deadline.left() for kept in self._kept.values())))
        for connection in closing:
            connection.close()
