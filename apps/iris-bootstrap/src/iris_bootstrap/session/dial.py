"""How a controller is found and reached. Knows addresses, tokens and certificates, and nothing that is said."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc.aio

from iris_bootstrap.endpoint import Endpoint, EndpointError, read_endpoint, tls_dir
from iris_platform.controller_file import ControllerFileError, ControllerRecord, read_controller_file
from iris_platform.credentials import (
    CHANNEL_OPTIONS,
    CredentialsError,
    load_credentials,
    open_aio_channel,
)
from iris_platform.pki.names import server_name
from iris_platform.processes import is_alive

# For the session, on which beats go to and fro; a server resents pings on streams that idle.
_KEEPALIVE = (("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000))

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_LOOK_S = 0.1


class NoController(Exception):
    """There is nobody to dial; says why."""


def find_controller(path: Path) -> ControllerRecord:
    """Who to dial now.

    Raises:
        NoController: there is no such file, or its controller is not running;
            its port may be somebody else's by now, and is not shown the token.
    """
    try:
        record = read_controller_file(path)
    except ControllerFileError as error:
        raise NoController(str(error)) from error
    if record is None:
        raise NoController(f"{path}: no such file")
    if not is_alive(record.pid, record.start_time):
        raise NoController(f"{path}: its controller (pid {record.pid}) is not running")
    return record


class Target(Protocol):
    """A controller that may be dialled."""

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        ...

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        ...

    def open_channel(self, keepalive: bool) -> grpc.aio.Channel:
        """A channel to it; connects when it is first used.

        Raises:
            NoController: what we are to show there cannot be used any more.
        """
        ...


@dataclass(frozen=True)
class LocalTarget:
    """A controller on this machine, which wants its token."""

    record: ControllerRecord

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return self.record.address

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The token."""
        return (("authorization", f"Bearer {self.record.token}"),)

    def open_channel(self, keepalive: bool) -> grpc.aio.Channel:
        """See `Target`."""
        return grpc.aio.insecure_channel(self.address, options=[*CHANNEL_OPTIONS, *_kept(keepalive)])


@dataclass(frozen=True)
class TlsTarget:
    """A controller anywhere: both sides show certificates."""

    host_dir: Path
    endpoint: Endpoint

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return self.endpoint.address

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Nothing: the certificate says it all."""
        return ()

    def open_channel(self, keepalive: bool) -> grpc.aio.Channel:
        """See `Target`. The files are read each time, since renewals replace them."""
        # Here, so that agents of a cluster on one machine load no cryptography.
        from iris_platform.pki.keyring import Keyring

        directory = tls_dir(self.host_dir)
        try:
            facts = Keyring(directory).facts()
            if facts is None or facts.not_after_s <= time.time():
                raise NoController(f"{directory}: the certificate is over; bootstrap this host again")
            credentials = load_credentials(directory)
        except CredentialsError as error:
            raise NoController(str(error)) from error
        name = server_name(self.endpoint.cluster_id)
        return open_aio_channel(credentials, self.address, name, _kept(keepalive))


def find_target(host_dir: Path, controller_file: Path) -> Target:
    """Whom to dial now: the endpoint that this host has joined, else the controller of this machine.

    Raises:
        NoController: there is nobody; see `find_controller`.
    """
    try:
        endpoint = read_endpoint(host_dir)
    except EndpointError as error:
        raise NoController(str(error)) from error
    if endpoint is not None:
        return TlsTarget(host_dir, endpoint)
    return LocalTarget(find_controller(controller_file))


def _kept(keepalive: bool) -> tuple[tuple[str, int], ...]:
    return _KEEPALIVE if keepalive else ()


class Redial:
    """How long to wait between attempts to connect: longer each time, and never in step with others."""

    def __init__(self, *paths: Path) -> None:
        """`paths`: the files that say where it is; a change of one is worth an attempt at once."""
        self._paths = paths
        self._pause_s = _FIRST_PAUSE_S
        self._seen = self._look()

    def on_success(self) -> None:
        """A controller took us in."""
        self._pause_s = _FIRST_PAUSE_S

    async def wait(self) -> None:
        """Wait before the next attempt, or until the controller's file is another."""
        left_s = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        while left_s > 0:
            step_s = min(left_s, _LOOK_S)
            await asyncio.sleep(step_s)
            left_s -= step_s
            if self.has_moved():
                self._pause_s = _FIRST_PAUSE_S
                return

    def has_moved(self) -> bool:
        """Whether the controller's file is another than when this was asked last."""
        seen, self._seen = self._seen, self._look()
        return seen != self._seen

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_signature(path) for path in self._paths]


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
