"""Ports for the members of gangs: kept from everybody until the program is there to take them.

A port is held in two ways. A bound socket that does not listen keeps every
other program away; it must go when the member's program starts, since that is
who binds the port then. A name among the machine's abstract sockets stays for
as long as the attempt lives, and keeps other keepers of this machine away, also
before the program has bound the port and after it let it go for a moment.
Knows no attempts.
"""

from __future__ import annotations

import errno
import random
import socket
from contextlib import suppress

# Below Linux's ephemeral range: no outgoing connection takes one of these in the
# moment between our letting a port go and the program's binding it.
FIRST_PORT = 20_000
LAST_PORT = 32_767
# With all but one in ten taken this fails once in 10^22.
_TRIES = 500

_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class NoPort(Exception):
    """There is no port to be had now; says why."""


class ReservedPort:
    """A port of this machine; `let_go` just before its program starts, `close` after its end."""

    def __init__(self, number: int, sockets: list[socket.socket], claim: socket.socket) -> None:
        self.number = number
        self._sockets = sockets
        self._claim = claim

    def let_go(self) -> None:
        """Make room for the program, and for nobody else as far as that can be."""
        for held in self._sockets:
            held.close()

    def close(self) -> None:
        """The port is of no more use; again is harmless."""
        self.let_go()
        self._claim.close()


def reserve_port() -> ReservedPort:
    """A port that nobody uses on any address of this machine.

    Raises:
        NoPort: none was found, or there are no descriptors left to hold it.
    """
    try:
        for _ in range(_TRIES):
            port = _try_port(random.randint(FIRST_PORT, LAST_PORT))
            if port is not None:
                return port
    except OSError as error:
        raise NoPort(f"no port could be reserved: {error.strerror}") from error
    raise NoPort(f"no free port was found between {FIRST_PORT} and {LAST_PORT}")


def _try_port(number: int) -> ReservedPort | None:
    """A port, unless somebody has it."""
    held: list[socket.socket] = []
    try:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        held.append(claim)
        claim.bind(f"\0iris-port-{number}")
        for family in _families():
            held.append(one := socket.socket(family, socket.SOCK_STREAM))
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Without SO_REUSEADDR: refused where anybody has the port on any address.
            one.bind(("", number))
        return ReservedPort(number, held[1:], claim)
    except OSError as error:
        for one in held:
            one.close()
        if error.errno in _NO_DESCRIPTORS:
            raise
        return None


def _families() -> list[socket.AddressFamily]:
    """The kinds of addresses that this machine has; without IPv6 there is nothing to bind to."""
    with suppress(OSError), open("/proc/net/if_inet6", "rb") as file:
        if file.read(1):
            return [socket.AF_INET, socket.AF_INET6]
    return [socket.AF_INET]
