"""`controller.json`: how clients and agents on this machine find the controller.

It holds the token that every call carries, so it is 0600. It outlives a
controller that was killed: whoever reads it asks whether the process still is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from iris_platform.files import make_private_dir, write_atomic


class ControllerFileError(ValueError):
    """The file is there but cannot be used; the message says why."""


@dataclass(frozen=True)
class ControllerRecord:
    """A controller on this machine.

    `address` is `host:port` of its gRPC server on loopback; `tls_address` and
    `join_address` are where it listens for others, and empty on a cluster that
    never leaves this machine. `start_time` is field 22 of
    `/proc/PID/stat` (clock ticks since boot), which tells it from a later
    process with the same pid.
    """

    address: str
    token: str = field(repr=False)
    pid: int
    start_time: int
    tls_address: str = ""
    join_address: str = ""


def read_controller_file(path: Path) -> ControllerRecord | None:
    """What the file says; None when there is none.

    Raises:
        ControllerFileError: it cannot be read, is open to others, or a field
            is missing or of another type.
    """
    try:
        mode = path.stat().st_mode
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ControllerFileError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise ControllerFileError(f"{path}: not valid JSON: {error}") from error
    if mode & 0o077:
        raise ControllerFileError(
            f"{path}: open to others (mode {mode & 0o777:04o}) although it holds a token; chmod 600 it"
        )
    if not isinstance(value, dict):
        raise ControllerFileError(f"{path}: expected an object")
    for name, kind in (("address", str), ("token", str), ("pid", int), ("start_time", int)):
        if type(value.get(name)) is not kind:
            raise ControllerFileError(f"{path}: {name}: expected {_KIND_WORDS[kind]}")
    if value["pid"] <= 0:
        raise ControllerFileError(f"{path}: pid: expected a process id, found {value['pid']}")
    others = [value.get(name, "") for name in ("tls_address", "join_address")]
    if not all(isinstance(text, str) for text in others):
        raise ControllerFileError(f"{path}: tls_address, join_address: expected strings")
    return ControllerRecord(value["address"], value["token"], value["pid"], value["start_time"], *others)


def write_controller_file(path: Path, record: ControllerRecord) -> None:
    """Write the file (0600) in place of what was there.

    Raises:
        OSError: it could not be written.
    """
    make_private_dir(path.parent)
    value = asdict(record)
    for name in ("tls_address", "join_address"):
        if not value[name]:
            del value[name]
    write_atomic(path, json.dumps(value).encode("utf-8") + b"\n")


_KIND_WORDS = {str: "a string", int: "a whole number"}
