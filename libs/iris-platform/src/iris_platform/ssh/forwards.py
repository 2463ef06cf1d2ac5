"""Ports here that lead there, and ports there that lead here."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import paramiko

from iris_platform.base import PlatformError, Refused, Unreachable
from iris_platform.ssh.deadline import Deadline
from iris_platform.ssh.relay import Relay
from iris_platform.ssh.transport import BROKEN, bounded, hang_up

# At once, through one forward; more are hung up on.
MAX_CONNECTIONS = 256
OPEN_TIMEOUT_S = 30.0
REPLY_TIMEOUT_S = 30.0
END_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)

OpenChannel = Callable[[str, int, Deadline], paramiko.Channel]


class Carried:
    """The connections that a forward carries at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._relays: set[Relay] = set()
        self._ended = False

    def begin(self, work: Callable[[], None], name: str) -> bool:
        """Do `work` on a thread of its own; False when there are too many, or after `end`."""

        def carry() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=carry, name=name, daemon=True)
        with self._lock:
            if self._ended or len(self._threads) >= MAX_CONNECTIONS:
                return False
            self._threads.add(thread)
            thread.start()
        return True

    def relay(self, sock: socket.socket, channel: paramiko.Channel) -> None:
        """Carry one connection to its end."""
        relay = Relay(sock, channel)
        with self._lock:
            self._relays.add(relay)
            if self._ended:
                relay.stop()
        try:
            relay.run()
        finally:
            with self._lock:
                self._relays.discard(relay)

    def end(self) -> None:
        """Hang up on all and wait, with a bound, until they are gone."""
        with self._lock:
            self._ended = True
            threads, relays = list(self._threads), list(self._relays)
        for relay in relays:
            relay.stop()
        deadline = Deadline(END_TIMEOUT_S)
        for thread in threads:
            thread.join(deadline.left())


@contextmanager
def local_forward(open_channel: OpenChannel, where: str, host: str, port: int) -> Iterator[str]:
    """See `SshConnection.forward_local`."""
    carried = Carried()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:

        def carry(sock: socket.socket) -> None:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                channel = open_channel(host, port, Deadline(OPEN_TIMEOUT_S))
            except (PlatformError, *BROKEN) as error:
                # Who connected sees the end of the connection, as from a port that is shut.
                log.info("%s: %s:%d cannot be reached from there: %s", where, host, port, error)
                sock.close()
                return
            carried.relay(sock, channel)

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                if not carried.begin(partial(carry, sock), "ssh-forward"):
                    log.warning("%s: more than %d connections to %s:%d", where, MAX_CONNECTIONS, host, port)
                    sock.close()

        acceptor = threading.Thread(target=accept, name="ssh-forward-accept", daemon=True)
        acceptor.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            # Wakes who accepts, which a close alone would not.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(END_TIMEOUT_S)
            carried.end()


class RemoteForwards:
    """All forwards from the other end of one transport.

    paramiko has one handler for them all, and its global requests do not know
    which answer is whose: one request at a time.
    """

    def __init__(self, transport: paramiko.Transport, where: str) -> None:
        self._transport = transport
        self._where = where
        self._lock = threading.Lock()
        self._targets: dict[int, tuple[tuple[str, int], Carried]] = {}

    @contextmanager
    def forward(self, bind_port: int, target: tuple[str, int]) -> Iterator[int]:
        """See `SshConnection.forward_remote`."""
        carried = Carried()
        with self._lock:
            port = self._ask(bind_port)
            self._targets[port] = (target, carried)
        try:
            yield port
        finally:
            with self._lock:
                self._targets.pop(port, None)
                self._cancel(port)
            carried.end()

    def _ask(self, bind_port: int) -> int:
        deadline = Deadline(REPLY_TIMEOUT_S)
        try:
            with bounded(self._transport, deadline):
                return self._transport.request_port_forward("127.0.0.1", bind_port, self._on_channel)
        except BROKEN as error:
            if not self._transport.is_active():
                raise Unreachable(
                    f"{self._where}: no port there: the connection is gone; connect again"
                ) from error
            raise Refused(
                f"{self._where}: the server forwards no port {bind_port or 'of its own choice'} to us; check"
                " AllowTcpForwarding in its sshd_config, and that the port is free there"
            ) from error

    def _cancel(self, port: int) -> None:
        # Not cancel_port_forward, which takes the handler from the others too.
        with suppress(*BROKEN):
            if self._transport.is_active():
                with bounded(self._transport, Deadline(REPLY_TIMEOUT_S)):
                    self._transport.global_request("cancel-tcpip-forward", ("127.0.0.1", port), wait=True)

    def _on_channel(self, channel: paramiko.Channel, origin: tuple[str, int], bound: tuple[str, int]) -> None:
        """On paramiko's own thread, which must not wait for anything."""

        def find_and_carry() -> None:
            # The first connection may be here before the port is in the table.
            with self._lock:
                found = self._targets.get(bound[1])
            if found is None:
                hang_up(channel)
                return
            target, carried = found
            if not carried.begin(
                lambda: _carry_back(carried, channel, target, self._where), "ssh-remote-forward"
            ):
                hang_up(channel)

        threading.Thread(target=find_and_carry, name="ssh-remote-forward-find", daemon=True).start()


def _carry_back(carried: Carried, channel: paramiko.Channel, target: tuple[str, int], where: str) -> None:
    try:
        sock = socket.create_connection(target, OPEN_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        log.info("%s: asked for %s:%d, which does not answer: %s", where, *target, error)
        hang_up(channel)
        return
    carried.relay(sock, channel)
