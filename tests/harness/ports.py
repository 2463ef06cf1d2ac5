"""Ports for servers that a test starts later, or never."""

from __future__ import annotations

import itertools
import os
import socket

# Below 32768, where Linux begins to give ports to whoever dials out (ip_local_port_range): a
# port from up there can be taken by any connection between the look and the server's start. And
# below those that agents reserve for gangs (iris_bootstrap.keeper.ports).
FIRST, LAST = 11_000, 19_999
# Processes that test side by side begin far from each other, and none comes back to a port.
_NEXT = itertools.count(os.getpid() * 151)


def free_port(address: str = "127.0.0.1", together: int = 1) -> int:
    """The first of `together` ports in a row that nothing on `address` listens at."""
    for _ in range(LAST - FIRST):
        first = FIRST + next(_NEXT) * together % (LAST - FIRST)
        if all(_is_free(address, port) for port in range(first, first + together)):
            return first
    raise AssertionError(f"no {together} free ports on {address} from {FIRST} to {LAST}")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((address, port))
        except OSError:
            return False
    return True
