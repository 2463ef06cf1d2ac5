"""The two ports that hosts dial, and a stand-in for the controller on them.

With the stand-in a host that gets through knows that it reached this machine,
not another one at the same address.
"""

from __future__ import annotations

import secrets
import selectors
import socket
import threading
from dataclasses import dataclass
from types import TracebackType

from iris_config.defaults import CONTROLLER_PORT

SEND_S = 5.0
END_S = 5.0


@dataclass(frozen=True)
class Endpoint:
    """Where hosts reach the controller: `port` for agents, the next one for hosts that join."""

    host: str
    port: int

    @property
    def ports(self) -> tuple[int, int]:
        """Both of them."""
        return self.port, self.port + 1

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def endpoint_of(advertise_address: str) -> Endpoint:
    """What `HOST[:PORT]` means."""
    host, colon, port = advertise_address.rpartition(":")
    if not (colon and port.isdecimal()):
        host, port = advertise_address, str(CONTROLLER_PORT)
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(port))


class PortTaken(Exception):
    """A port cannot be listened on; the message says which and why."""


class Beacon:
    """Listens on every address of this machine, and tells whoever connects its word."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        """Take the ports.

        Raises:
            PortTaken: one of them cannot be had.
        """
        self.word = secrets.token_hex(16)
        self._listeners: list[socket.socket] = []
        self._wake, self._woken = socket.socketpair()
        try:
            for port in ports:
                self._listeners.append(_listen(port))
        except PortTaken:
            self._close()
            raise
        self._thread = threading.Thread(target=self._serve, name="doctor-beacon", daemon=True)
        self._thread.start()

    def __enter__(self) -> Beacon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.send(b"x")
        self._thread.join(END_S)
        self._close()

    def _close(self) -> None:
        for each in (*self._listeners, self._wake, self._woken):
            each.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (*self._listeners, self._woken):
                selector.register(each, selectors.EVENT_READ)
            # Until it is woken, which its owner does at the end.
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    return
                for listener in self._listeners:
                    if listener in ready:
                        self._answer(listener)

    def _answer(self, listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(SEND_S)
                peer.sendall(self.word.encode("ascii"))
        except OSError:
            # Who hung up meanwhile does not want to know.
            return


def _listen(port: int) -> socket.socket:
    if port > 65535:
        raise PortTaken(f"there is no port {port}")
    dual = socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            ("::" if dual else "0.0.0.0", port),
            family=socket.AF_INET6 if dual else socket.AF_INET,
            backlog=64,
            dualstack_ipv6=dual,
        )
    except OSError as error:
        raise PortTaken(f"cannot listen on port {port}: {error.strerror or error}") from error
    # One that was there when it was looked at can be gone when it is accepted.
    listener.setblocking(False)
    return listener
