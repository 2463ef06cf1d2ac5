"""Tells the service manager that a program serves (systemd's sd_notify protocol).

Understood by systemd and by our own supervisor alike. Knows nothing of either.
Protocol: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

SOCKET_VARIABLE = "NOTIFY_SOCKET"
READY = b"READY=1"
_SEND_S = 5.0


def notify_ready(environ: Mapping[str, str] | None = None) -> bool:
    """Say READY=1; call once, when the program serves.

    Returns:
        Whether somebody was told: False without a service manager, or when it
        does not take the message, which is no reason to stop serving.
    """
    address = (os.environ if environ is None else environ).get(SOCKET_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        # An abstract socket: its name begins with a null byte.
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(_SEND_S)
            sender.sendto(READY, address)
    except OSError:
        return False
    return True
