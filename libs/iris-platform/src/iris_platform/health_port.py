"""A port on which a program in a container says that it is well.

Whoever connects is let in and hung up on: there is nothing to say beside that.
A service manager's socket is on the other side of a container's walls, and a
port of the host's loopback interface is not. Standard library only.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

VARIABLE = "IRIS_HEALTH_PORT"
_HOST = "127.0.0.1"
_WAITING = 16


def open_health_port(environ: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """Listen where `IRIS_HEALTH_PORT` says; None where nobody asked. The socket blocks nobody.

    The variable is taken away: what this program starts is not asked.

    Raises:
        OSError: the port cannot be had; `filename` names it.
    """
    wanted = environ.pop(VARIABLE, "")
    if not wanted.isdecimal():
        return None
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Connections that we ended keep the port for a while, as far as others are concerned.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, int(wanted)))
        listener.listen(_WAITING)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"health port {wanted}") from error
    return listener


def answer(listener: socket.socket) -> None:
    """Hang up on everybody who has connected since."""
    for _ in range(_WAITING):
        try:
            peer, _address = listener.accept()
        except OSError:
            return
        with suppress(OSError):
            peer.close()
