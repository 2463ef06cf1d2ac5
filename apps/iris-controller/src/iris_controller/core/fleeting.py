"""What the controller knows only while it runs: sessions, clocks, and what it asked of providers.

None of it is stored: after a start it is learned again, or assumed the worst of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iris_controller.core.buckets import Bucket
from iris_controller.core.values import AttemptId, AttemptSpec, Place, Reason


@dataclass(slots=True)
class Session:
    """An agent's open stream, and what it shall be told at the end of the batch.

    `missing` are attempts that its hello should have named and did not.
    """

    session_id: int
    place: Place
    boot_id: str
    start: list[AttemptSpec] = field(default_factory=list)
    stop: dict[AttemptId, str] = field(default_factory=dict)
    release: dict[AttemptId, tuple[str, ...]] = field(default_factory=dict)
    missing: list[AttemptId] = field(default_factory=list)
    is_crowded: bool = False


@dataclass(slots=True)
class Clocks:
    """Moments of our own first sight on the boot clock."""

    slice_since: dict[str, int] = field(default_factory=dict)
    idle_since: dict[str, int] = field(default_factory=dict)
    contact: dict[Place, int] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    listed: dict[tuple[str, str], int] = field(default_factory=dict)
    first_shown: dict[tuple[str, str], int] = field(default_factory=dict)
    # By scale group and zone; no zone is all of the group's.
    backoff_until: dict[tuple[str, str], int] = field(default_factory=dict)
    planned: int | None = None
    # The last tick, and the first after this start or the last stall of our own.
    ticked: int | None = None
    steady_since: int = 0


@dataclass(slots=True)
class Asked:
    """What was asked of providers, and what they said; by the slice's name if not said otherwise.

    `creations` counts the calls that may have made it. `accepted` and `let_go`
    are when its creation and its deletion were accepted; a call in `unanswered` is
    still under way. What is in `refused` was
    never made: the only call for it was turned down. `last_looks` are those that
    are given up if that look shows nothing new. `down` are places whose machine
    does not run, with the time when the provider, asked by name, said so.
    """

    creations: dict[str, int] = field(default_factory=dict)
    unanswered: dict[str, None] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    let_go: dict[str, int] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    last_looks: dict[str, None] = field(default_factory=dict)
    down: dict[Place, int] = field(default_factory=dict)
    # The most hosts that the provider ever showed to run.
    hosts_seen: dict[str, int] = field(default_factory=dict)
    # By account: how fast creations, deletions and looks may follow each other.
    creating: dict[str, Bucket] = field(default_factory=dict)
    deleting: dict[str, Bucket] = field(default_factory=dict)
    looking: dict[str, Bucket] = field(default_factory=dict)
    # Zones of clouds of which something was heard since they were listed.
    list_soon: dict[tuple[str, str], None] = field(default_factory=dict)
    # Accounts of which the last plan had more creations than there were tokens.
    held_back: frozenset[str] = frozenset()
    # What the last plan found to wait in a provider's line, and for how long.
    in_line: dict[str, Reason] = field(default_factory=dict)

    def forget(self, name: str) -> None:
        """A slice is gone, and its name is never asked for again."""
        calls = (self.creations, self.unanswered, self.accepted, self.let_go)
        for what in (*calls, self.refused, self.last_looks, self.hosts_seen):
            what.pop(name, None)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A slice with our id that the store does not know. Times on the boot clock."""

    provider: str
    zone: str
    hosts: int
    first_seen_ms: int
    last_listed_ms: int
