"""A stand-in for the controller on the two ports that hosts dial: here, or on the controller's host.

With the stand-in a host that gets through knows that it reached that machine,
not another one at the same address.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from iris_cli.doctor.asking import argv_of
from iris_cli.doctor.on_host import PortTaken, listen_on, serve
from iris_platform.base import Unreachable
from iris_platform.ssh import SshConnection
from iris_platform.ssh.connection import CommandStream

END_S = 5.0
LISTEN_S = 30.0


class Beacon:
    """Listens on every address of this machine, and tells whoever connects its word."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        """Take the ports.

        Raises:
            PortTaken: one of them cannot be had.
        """
        self.word = new_word()
        self._listeners = listen_on(ports)
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="doctor-beacon", daemon=True)
        self._thread.start()

    def __enter__(self) -> Beacon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.send(b"x")
        self._thread.join(END_S)
        for each in (*self._listeners, self._wake, self._woken):
            each.close()

    def _serve(self) -> None:
        serve(self._listeners, self.word, self._woken.fileno())


@contextmanager
def stand_in(connection: SshConnection, python: str, ports: tuple[int, ...], most_s: float) -> Iterator[str]:
    """The same on a host; its word. It ends with this, with us, or after `most_s`.

    Raises:
        PortTaken: one of the ports cannot be had there.
        Unreachable: it is not known whether it listens.
    """
    word = new_word()
    argv = argv_of(python, "listen", most_s, word, *map(str, ports))
    # The time is for its first word: afterwards nothing is read.
    with connection.stream(argv, timeout_s=LISTEN_S) as running:
        try:
            trouble = str(json.loads(_first_line(running))["trouble"])
        except (ValueError, LookupError, TypeError) as error:
            raise Unreachable(
                f"{connection.address}: python3 there does not listen as it was asked"
            ) from error
        if trouble:
            raise PortTaken(trouble)
        yield word


def new_word() -> str:
    """What only who was told can know."""
    return secrets.token_hex(16)


def _first_line(running: CommandStream) -> bytes:
    said = b""
    for chunk in running:
        said += b"" if chunk.is_error else chunk.data
        if b"\n" in said:
            break
    return said
