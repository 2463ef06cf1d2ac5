"""Takes a role away from a host and leaves the host as it was found."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from iris_platform import processes
from iris_platform.bootstrap.host import dead_man
from iris_platform.bootstrap.host.calls import run_before
from iris_platform.bootstrap.host.layout import ROLES, Layout, read_json, read_made
from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, Failure
from iris_platform.bootstrap.host.service import Service


def stop_role(layout: Layout, service: Service) -> None:
    """Stop the program and everything that it started.

    Raises:
        Failure: something outlived SIGKILL, or the service manager failed.
    """
    service.stop()
    # A container that an engine kept although its client is gone.
    run_before(read_json(layout.service_file))
    _clean(layout.work)


def _clean(host_dir: Path) -> None:
    try:
        processes.clean_host(host_dir)
    except processes.StillAlive as error:
        raise Failure("stop", str(error), HOST_TROUBLE) from error


def remove_role(layout: Layout, service: Service, forget: bool, bundles: bool) -> list[str]:
    """Stop a role and remove all that is on the host for it; fine where nothing is.

    The controller's state stays unless `forget`; installed bundles stay unless
    `bundles` or another role uses them.

    Returns:
        What was left on purpose, as paths.

    Raises:
        Failure: something is left that should not be.
    """
    stop_role(layout, service)
    # Agents on the controller's own host outlive it, but not its removal.
    for host_dir in sorted(layout.local.glob("*/[0-9]*")):
        _clean(host_dir)
    service.remove()
    dead_man.disarm(layout)
    return clear_files(layout, forget, bundles)


def clear_files(layout: Layout, forget: bool, bundles: bool) -> list[str]:
    """Remove the files of a role that has stopped; returns what was left on purpose."""
    try:
        return _clear_files(layout, forget, bundles)
    except OSError as error:
        reason = f"{error.filename or layout.root}: cannot be removed: {error.strerror}"
        raise Failure("remove", reason, HOST_TROUBLE) from error


def _clear_files(layout: Layout, forget: bool, bundles: bool) -> list[str]:
    left: list[str] = []
    _remove(layout.local)
    keeps_state = not forget and layout.state.is_dir() and any(layout.state.iterdir())
    for path in sorted(layout.home.iterdir()) if layout.home.is_dir() else ():
        # Whose the state is has to stay with it.
        if keeps_state and path in (layout.state, layout.labels_file):
            left.append(str(path))
        else:
            _remove(path)
    if not left and layout.home.is_dir():
        layout.home.rmdir()
    others = [role for role in ROLES if (layout.root / role).exists()]
    if others:
        return left
    made = read_made(layout)
    for path in (layout.program, layout.incoming):
        _remove(path)
    if bundles:
        _remove(layout.bundles)
    elif layout.bundles.is_dir():
        return [*left, str(layout.bundles)]
    _remove(layout.root)
    for folder in made:
        # Others may have put something there since.
        with suppress(OSError):
            Path(folder).rmdir()
    return left


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_again)
    else:
        path.unlink(missing_ok=True)


def _again(function: Any, path: str, why: Any) -> None:
    """A task may have taken the right to write away from its own directory."""
    if isinstance(why[1], FileNotFoundError):
        return
    parent = os.path.dirname(path)
    os.chmod(parent, 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, 0o700)
        shutil.rmtree(path)
    else:
        os.unlink(path)
