"""Makes connections: name, TCP, banner, key exchange, host key, authentication.

All of it within one budget of time, and every way to fail has an error that
says what to do next.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import paramiko

from iris_platform.base import PermissionMissing, Refused, Unreachable
from iris_platform.ssh.client import ParamikoConnection
from iris_platform.ssh.connection import SshSettings
from iris_platform.ssh.deadline import Deadline
from iris_platform.ssh.jumps import JumpHosts
from iris_platform.ssh.keys import Offer, offers
from iris_platform.ssh.known_hosts import KnownHosts
from iris_platform.ssh.proxy import open_proxy
from iris_platform.ssh.target import SshTarget, route
from iris_platform.ssh.transport import BROKEN, Transport, prepare


def connect(
    target: SshTarget, settings: SshSettings, known_hosts: KnownHosts, jumps: JumpHosts | None = None
) -> ParamikoConnection:
    """See `iris_platform.ssh.connect`."""
    deadline = Deadline(settings.connect_timeout_s)
    *hops, last = route(target, settings.user_config)
    dialler = _Dialler(settings, known_hosts, deadline)
    if jumps is not None and hops:
        return dialler.dial_shared(last, jumps.through(tuple(hops), dialler.dial_shared, deadline))
    below: ParamikoConnection | None = None
    for hop in [*hops, last]:
        below = dialler.dial(hop, below)
    assert below is not None
    return below


class _Dialler:
    def __init__(self, settings: SshSettings, known_hosts: KnownHosts, deadline: Deadline) -> None:
        self._settings = settings
        self._known_hosts = known_hosts
        self._deadline = deadline

    def dial(self, target: SshTarget, below: ParamikoConnection | None) -> ParamikoConnection:
        """Connect to one host, directly or through `below`, which goes when it goes."""
        try:
            connection = self.dial_shared(target, below)
        except BaseException:
            if below is not None:
                below.close()
            raise
        connection.owned = below
        return connection

    def dial_shared(self, target: SshTarget, below: ParamikoConnection | None) -> ParamikoConnection:
        """Connect to one host, directly or through `below`, which others use too."""
        with _told_apart(target, self._deadline):
            return self._dial(target, below)

    def _dial(self, target: SshTarget, below: ParamikoConnection | None) -> ParamikoConnection:
        sock: socket.socket | paramiko.Channel
        if target.proxy:
            sock = open_proxy(target.proxy)
        elif below is None:
            sock = _open_tcp(target, self._deadline)
        else:
            sock = below.open_channel(target.host, target.port, self._deadline)
        transport: Transport | None = None
        try:
            if isinstance(sock, socket.socket) and not target.proxy:
                prepare(sock, self._settings.keepalive_s)
            transport = Transport(sock)
            self._shake_hands(transport, target)
            self._authenticate(transport, target)
        except BaseException:
            if transport is not None:
                transport.close()
            with suppress(*BROKEN):
                sock.close()
            raise
        transport.set_keepalive(max(1, round(self._settings.keepalive_s)))
        return ParamikoConnection(transport, target)

    def _shake_hands(self, transport: Transport, target: SshTarget) -> None:
        left = max(0.1, self._deadline.left())
        transport.banner_timeout = transport.handshake_timeout = left
        self._prefer_pinned(transport, target)
        agreed = threading.Event()
        transport.start_client(event=agreed)
        agreed.wait(left)
        if not (agreed.is_set() and transport.is_active()):
            raise transport.get_exception() or TimeoutError
        key = transport.get_remote_server_key()
        self._known_hosts.check(*target.pin, key.get_name(), key.asbytes())

    def _prefer_pinned(self, transport: Transport, target: SshTarget) -> None:
        """Ask for the kind of key that is pinned: a host has several."""
        pinned = {key.kind for key in self._known_hosts.pinned(*target.pin)}
        options = transport.get_security_options()
        # rsa-sha2-256 and rsa-sha2-512 are signatures with an ssh-rsa key.
        options.key_types = sorted(
            options.key_types,
            key=lambda kind: ("ssh-rsa" if kind.startswith("rsa-sha2-") else kind) not in pinned,
        )

    def _authenticate(self, transport: Transport, target: SshTarget) -> None:
        tried: list[str] = []
        with offers(target, self._deadline) as (keys, notes):
            for offer in keys:
                transport.auth_timeout = max(0.1, self._deadline.left())
                tried.append(offer.name)
                if self._is_accepted(transport, target, offer):
                    return
                if not transport.is_active():
                    notes = [*notes, "then the server hung up"]
                    break
        raise PermissionMissing(
            f"{target}: the host takes none of the keys offered: {', '.join([*tried, *notes]) or 'there is none'};"
            f" add one to {target.user}'s authorized_keys there, or correct ssh_user and ssh_key_file"
        )

    def _is_accepted(self, transport: Transport, target: SshTarget, offer: Offer) -> bool:
        try:
            further = transport.auth_publickey(target.user, offer.key)
        except paramiko.BadAuthenticationType as error:
            raise PermissionMissing(
                f"{target}: the host takes no keys, only {', '.join(error.allowed_types)}; allow public keys there"
            ) from error
        except paramiko.AuthenticationException:
            if self._deadline.has_passed:
                raise TimeoutError from None
            return False
        if further:
            raise PermissionMissing(
                f"{target}: the host takes the key and asks for {', '.join(further)} too, which Iris cannot"
                " give; allow a key alone for this user"
            )
        return True


def _open_tcp(target: SshTarget, deadline: Deadline) -> socket.socket:
    addresses = _look_up(target, deadline)
    problem: OSError = TimeoutError()
    for position, (family, _, _, _, address) in enumerate(addresses):
        # One that swallows everything leaves time for the others.
        share = deadline.left() / (len(addresses) - position)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.1, share))
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            problem = error
    raise problem


# Of socket.getaddrinfo: family, type, protocol, canonical name, address.
_Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]


def _look_up(target: SshTarget, deadline: Deadline) -> _Addresses:
    """The addresses of a host. The resolver has no limit of ours, hence a thread."""
    found: list[_Addresses | OSError] = []
    with suppress(socket.gaierror):
        return _getaddrinfo(target, socket.AI_NUMERICHOST)

    def ask() -> None:
        try:
            found.append(_getaddrinfo(target, 0))
        except OSError as error:
            found.append(error)

    asker = threading.Thread(target=ask, name="ssh-look-up", daemon=True)
    asker.start()
    asker.join(deadline.left())
    answer = found[0] if found else TimeoutError()
    if isinstance(answer, OSError):
        raise Unreachable(
            f"{target}: the name {target.host} has no address: {answer.strerror or 'the resolver does not answer'};"
            " check the spelling and the DNS"
        ) from answer
    return answer


def _getaddrinfo(target: SshTarget, flags: int) -> _Addresses:
    return socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, flags=flags)


@contextmanager
def _told_apart(target: SshTarget, deadline: Deadline) -> Iterator[None]:
    """Turn what goes wrong with sockets and paramiko into the platform's errors."""
    try:
        yield
    except BROKEN as error:
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            raise Refused(
                f"{target}: no algorithm in common with the host's SSH server: {error}; update the host's"
            ) from error
        if deadline.has_passed or isinstance(error, TimeoutError):
            raise Unreachable(
                f"{target}: no SSH connection within {deadline.timeout_s:g} s; check that the host is up, its"
                " port, and firewalls; ssh.connect_timeout is the limit"
            ) from error
        if isinstance(error, ConnectionRefusedError):
            raise Unreachable(
                f"{target}: nothing listens there; check the port and that sshd runs"
            ) from error
        words = (error.strerror if isinstance(error, OSError) else None) or str(error) or "it hung up"
        raise Unreachable(f"{target}: no SSH connection: {words}") from error
