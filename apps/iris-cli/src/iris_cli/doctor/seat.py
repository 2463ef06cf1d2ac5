"""Where the controller is, or is to be, while hosts are looked at: on this machine or on a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from iris_cli.doctor.checks import Check
from iris_cli.doctor.hosts import Wanted
from iris_platform.joining import Kind

# By a host's name, where it is dialled: address and port of its SSH server.
Places = Mapping[str, tuple[str, int]]


def _from_here(places: Places) -> Mapping[str, Sequence[Check]]:
    return {}


@dataclass(frozen=True)
class Seat:
    """What was found at the controller's place, and what hosts are compared with.

    `reached` tries every host's SSH port from there, and has the checks of each;
    from this machine, or from one that cannot be asked, it tries none.
    """

    wanted: Wanted
    checks: list[Check] = field(default_factory=list)
    reached: Callable[[Places], Mapping[str, Sequence[Check]]] = _from_here
    # Of the controller's host, where it is another machine.
    kind: Kind | None = None
