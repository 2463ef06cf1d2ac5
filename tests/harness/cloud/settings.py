"""How a test cloud is set up: projects, zones, timings, limits. Plain values, in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iris_config.accelerators import GENERATIONS

ZONES = tuple(sorted({zone for generation in GENERATIONS.values() for zone in generation.zones}))


@dataclass(frozen=True)
class Timings:
    """How long things take. The defaults are Google's, a thousand times faster or so.

    `boot`: from the moment that a host has its machine to its power; the hosts
    of `boot_of` (by their number in the slice) have their own. `notice`: from the
    word of a preemption to the end of the machine.
    """

    validate: int = 20  # CREATING -> WAITING_FOR_RESOURCES of a queued resource
    queue: int = 50  # WAITING_FOR_RESOURCES -> PROVISIONING, where there is capacity
    machines: int = 30  # a node's creation -> its machines
    boot: int = 0
    boot_of: Mapping[int, int] = field(default_factory=dict)
    ready: int = 150  # a node's creation -> READY
    stockout: int = 60  # a node's creation -> the operation ends for want of capacity
    delete: int = 80
    stop: int = 50
    notice: int = 100
    suspend: int = 80  # SUSPENDING -> SUSPENDED
    instance: int = 60  # a Compute operation


@dataclass(frozen=True)
class Settings:
    """What one cloud is.

    `projects`: id -> number. `networks` exist in every project. `rates` are calls
    a minute of a method and a project. `reservations` are names that exist.
    `list_lag`: what lists show is so old.
    `delete_while_creating` and `delete_while_deleting` say whether such a deletion
    is accepted, or refused with ABORTED.
    `quota_at_once`: a node beyond the quota is refused in the call, not at the end.
    """

    projects: Mapping[str, int] = field(default_factory=lambda: {"test-project": 123456789012})
    zones: tuple[str, ...] = ZONES
    networks: tuple[str, ...] = ("default",)
    reservations: tuple[str, ...] = ("reservation",)
    rates: Mapping[str, int] = field(
        default_factory=lambda: {"CreateNode": 90, "CreateQueuedResource": 90, "DeleteNode": 300}
    )
    timings: Timings = field(default_factory=Timings)
    list_lag: int = 0
    page_size: int = 100
    delete_while_creating: bool = True
    delete_while_deleting: bool = False
    quota_at_once: bool = True
