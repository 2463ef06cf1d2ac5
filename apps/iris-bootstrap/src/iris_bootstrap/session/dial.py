"""How a controller is found and reached. Knows addresses and tokens, and nothing that is said."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import grpc.aio

from iris_platform.controller_file import ControllerFileError, ControllerRecord, read_controller_file
from iris_platform.processes import is_alive

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # Otherwise a new channel inherits the back-off of the one before it, which is ours to choose.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy in the environment is for the way out, not for this machine.
    ("grpc.enable_http_proxy", 0),
)
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


def open_channel(address: str, keepalive: bool) -> grpc.aio.Channel:
    """A channel to a controller on this machine; connects when it is first used."""
    return grpc.aio.insecure_channel(address, options=[*_OPTIONS, *(_KEEPALIVE if keepalive else ())])


def metadata(record: ControllerRecord) -> tuple[tuple[str, str], ...]:
    """What every call carries."""
    return (("authorization", f"Bearer {record.token}"),)


class Redial:
    """How long to wait between attempts to connect: longer each time, and never in step with others."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pause_s = _FIRST_PAUSE_S
        self._seen = _signature(path)

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
        seen, self._seen = self._seen, _signature(self._path)
        return seen != self._seen


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
