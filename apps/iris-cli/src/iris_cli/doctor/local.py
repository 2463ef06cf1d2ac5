"""Checks of this machine, where the controller is to run. Makes nothing that stays."""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path

from iris_cli.doctor.checks import THIS_MACHINE, Check, Result
from iris_cli.text import size
from iris_platform.paths import ClusterPaths
from iris_platform.state_lock import StateDirError, refuse_network_file_system

LEAST_FREE_BYTES = 200 * 10**6


def check_machine(paths: ClusterPaths) -> list[Check]:
    """Everything about this machine but its ports, which hosts are needed for."""
    return [
        Check(THIS_MACHINE, "python", Result.OK, platform.python_version()),
        _directory("state directory", paths.state_dir, "storage.state_dir"),
        _directory("keys directory", paths.pki_dir, "storage.pki_dir"),
        _disk(paths.state_dir),
    ]


def _directory(name: str, path: Path, setting: str) -> Check:
    there = _existing(path)
    try:
        refuse_network_file_system(path)
        # Has no name at any moment, and so is gone whatever happens to us.
        with tempfile.TemporaryFile(dir=there):
            pass
    except StateDirError as error:
        message, _, fix = str(error).partition("; ")
        return Check(THIS_MACHINE, name, Result.FAILED, message, f"{fix} ({setting})")
    except OSError as error:
        fix = f"let this user write there, or choose another directory ({setting})"
        return Check(THIS_MACHINE, name, Result.FAILED, f"{there}: {error.strerror or error}", fix)
    return Check(THIS_MACHINE, name, Result.OK, str(path))


def _disk(path: Path) -> Check:
    there = _existing(path)
    return disk_check(THIS_MACHINE, shutil.disk_usage(there).free, str(there))


def disk_check(subject: str, free: int, where: str) -> Check:
    """Whether so many bytes are enough."""
    message = f"{size(free)} free at {where}"
    if free >= LEAST_FREE_BYTES:
        return Check(subject, "disk", Result.OK, message)
    return Check(subject, "disk", Result.FAILED, message, f"free at least {size(LEAST_FREE_BYTES)} there")


def _existing(path: Path) -> Path:
    """The lowest directory on the way there that exists already."""
    return next(each for each in (path, *path.parents) if each.is_dir())
