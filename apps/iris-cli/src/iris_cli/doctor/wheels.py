"""Whether this machine has the wheels of which it makes what hosts are given. Fetches none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from iris_cli.doctor.checks import THIS_MACHINE, Check, Result
from iris_cli.doctor.on_host import room
from iris_platform.bundle import AGENT, missing_wheels, wheel_cache
from iris_platform.joining import Kind


def check_wheels(wanted: Mapping[Sequence[str], Collection[Kind]]) -> Check | None:
    """One check for all programs, each for its kinds of hosts (Python, machine); None where there is none."""
    if not any(wanted.values()):
        return None
    directory = wheel_cache()
    at = room(str(directory))
    if at["trouble"]:
        message = f"wheels cannot be kept: {at['there']}: {at['trouble']}"
        fix = "let this user write there, or set XDG_CACHE_HOME to a directory where it may"
        return Check(THIS_MACHINE, "wheels", Result.FAILED, message, fix)
    for programs, kinds in wanted.items():
        for python, machine in sorted(kinds):
            if missing := missing_wheels(programs, python, machine):
                name = "the agent" if tuple(programs) == AGENT else "the controller"
                fix = "let this machine reach the package index (internet) once, at the first start"
                return Check(THIS_MACHINE, "wheels", Result.WARNING, f"{name}: {missing}", fix)
    return Check(THIS_MACHINE, "wheels", Result.OK, f"kept in {directory}")
