"""Checks of this machine: what is kept here, and its ports where the controller is to run here."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

from iris_cli.doctor.checks import THIS_MACHINE, Check, Report, Result
from iris_cli.doctor.directories import directory_check, disk_check
from iris_cli.doctor.hosts import Listening, Wanted
from iris_cli.doctor.on_host import PortTaken, room
from iris_cli.doctor.ports import Beacon
from iris_cli.doctor.seat import Seat
from iris_config.endpoint import Endpoint
from iris_platform.controller_vm import find_controller
from iris_platform.paths import ClusterPaths
from iris_platform.state_lock import read_mounts


def check_machine(paths: ClusterPaths) -> list[Check]:
    """Everything about this machine but its ports, which hosts are needed for."""
    state = room(str(paths.state_dir))
    rooms = {"state directory": (paths.state_dir, state)}
    rooms["keys directory"] = (paths.pki_dir, room(str(paths.pki_dir)))
    mounts = read_mounts()
    return [
        Check(THIS_MACHINE, "python", Result.OK, platform.python_version()),
        *(directory_check(THIS_MACHINE, name, str(path), at, mounts) for name, (path, at) in rooms.items()),
        disk_check(THIS_MACHINE, int(state["free_bytes"]), str(state["there"])),
    ]


@contextmanager
def seat_here(
    wanted: Wanted, endpoint: Endpoint | None, paths: ClusterPaths, report: Report
) -> Iterator[Seat]:
    """A controller on this machine, or a stand-in for it as long as this lasts.

    Nobody has to listen where hosts dial none: forwards bring them to it.
    """
    if endpoint is None:
        yield Seat(wanted)
        return
    with _listening(endpoint, paths) as (listening, check):
        report(check)
        yield Seat(wanted.with_listening(listening), [check])


@contextmanager
def _listening(endpoint: Endpoint, paths: ClusterPaths) -> Iterator[tuple[Listening, Check]]:
    if running := find_controller(paths):
        message = f"the cluster's controller runs (process {running.pid})"
        yield (
            Listening(endpoint, THIS_MACHINE, is_ours=True),
            Check(THIS_MACHINE, "ports", Result.OK, message),
        )
        return
    try:
        beacon = Beacon(endpoint.ports)
    except PortTaken as error:
        fix = "stop what has it, or name another port in controller.advertise_address"
        check = Check(THIS_MACHINE, "ports", Result.FAILED, str(error), fix)
        yield Listening(endpoint, THIS_MACHINE), check
        return
    with beacon:
        message = f"{endpoint.port} and {endpoint.port + 1} are free"
        check = Check(THIS_MACHINE, "ports", Result.OK, message)
        yield Listening(endpoint, THIS_MACHINE, beacon.word), check
