"""A connection that is another program's standard input and output."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Sequence

from iris_platform.base import Refused


def open_proxy(argv: Sequence[str]) -> socket.socket:
    """The socket's other end is the program's standard input and output; closing it ends the program.

    Raises:
        Refused: there is no such program.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            end = theirs.fileno()
            process = subprocess.Popen(argv, stdin=end, stdout=end, start_new_session=True)
        except OSError as error:
            ours.close()
            raise Refused(f"{argv[0]} cannot be started: {error.strerror}; install it") from error
    # Nobody else asks how it ended.
    threading.Thread(target=process.wait, name="ssh-proxy", daemon=True).start()
    return ours
