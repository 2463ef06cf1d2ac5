"""Who runs this command, as certificates name him."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

from iris_platform.controller_vm import Operator

LONGEST = 63


def this_operator(
    step: Callable[[str], AbstractContextManager[None]], note: Callable[[str], None]
) -> Operator:
    """`USER@MACHINE`, cut to what a certificate's name may have."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user without an entry in /etc/passwd.
        user = "operator"
    name = re.sub(r"[^A-Za-z0-9._@+-]", "-", f"{user}@{socket.gethostname()}")
    return Operator(name.lstrip("._@+-")[:LONGEST] or "operator", step, note)
