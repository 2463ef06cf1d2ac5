"""What is to be said of directories and disks, this machine's or another's. Looks at none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iris_cli.doctor.checks import Check, Result
from iris_cli.text import size
from iris_platform.state_lock import StateDirError, refuse_network_file_system

LEAST_FREE_BYTES = 200 * 10**6
# What they are called -> the setting that says where they are.
SETTINGS = {"state directory": "storage.state_dir", "keys directory": "storage.pki_dir"}


def directory_check(subject: str, name: str, path: str, room: Mapping[str, Any], mounts: str) -> Check:
    """Whether a directory can be had; `room` as `on_host.room` says it, `mounts` is its `/proc/mounts`."""
    setting = SETTINGS[name]
    try:
        refuse_network_file_system(Path(path), mounts, Path(str(room["real"])))
    except StateDirError as error:
        message, _, fix = str(error).partition("; ")
        return Check(subject, name, Result.FAILED, message, f"{fix} ({setting})")
    if room["trouble"]:
        fix = f"let this user write there, or choose another directory ({setting})"
        return Check(subject, name, Result.FAILED, f"{room['there']}: {room['trouble']}", fix)
    return Check(subject, name, Result.OK, path)


def disk_check(subject: str, free: int, where: str) -> Check:
    """Whether so many bytes are enough."""
    message = f"{size(free)} free at {where}"
    if free >= LEAST_FREE_BYTES:
        return Check(subject, "disk", Result.OK, message)
    return Check(subject, "disk", Result.FAILED, message, f"free at least {size(LEAST_FREE_BYTES)} there")
