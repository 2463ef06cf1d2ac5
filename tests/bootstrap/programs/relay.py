"""Stands in for a session: hands its end of the keeper's pipe to a test, and lives as long as the test likes."""

import os
import socket
import sys

from iris_bootstrap.keeper.link import SESSION_FD

with socket.socket(socket.AF_UNIX) as test:
    test.connect(f"\0{sys.argv[1]}")
    socket.send_fds(test, [b"x"], [SESSION_FD])
    os.close(SESSION_FD)
    test.recv(1)
