"""The rules of one scale group: how far it may grow or shrink, and its back-off.

Pure functions over values; knows no other group and nothing of tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from iris_controller.core import states as s
from iris_controller.core.entities import GroupPolicy, GroupStanding
from iris_controller.core.explain import duration, how_many
from iris_controller.core.states import SliceState
from iris_controller.core.values import NO_REASON, Now, Reason

# After a failed creation: doubled with each in a row, up to the most.
FIRST_BACKOFF_MS = 5_000
MOST_BACKOFF_MS = 300_000


@dataclass(frozen=True, slots=True)
class SliceView:
    """A slice as the rules of its group see it. `idle_ms` is None while it is busy."""

    name: str
    state: SliceState
    idle_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group at one moment; `slices` are those that are not GONE, `paused` the zones that were stopped."""

    policy: GroupPolicy
    standing: GroupStanding
    slices: Sequence[SliceView]
    created_last_minute: int = 0
    paused: Collection[str] = ()

    @property
    def zone(self) -> str | None:
        """Where the next slice is asked for; None while all zones are paused."""
        return next((zone for zone in self.policy.zones if zone not in self.paused), None)

    @property
    def in_service(self) -> list[SliceView]:
        """Slices that have or will have room for tasks."""
        return [v for v in self.slices if isinstance(v.state, s.SLICE_IN_SERVICE)]


@dataclass(frozen=True, slots=True)
class Headroom:
    """How many slices may be asked for now, and what limits that."""

    slices: int
    limit: Reason


def headroom(view: GroupView, creates_per_minute: int, now: Now) -> Headroom:
    """How many more slices a group may ask for; DELETING ones still count, they hold quota."""
    policy, standing = view.policy, view.standing
    if view.zone is None:
        zones = ", ".join(policy.zones)
        words = f"{policy.name} asks for nothing in {zones}, which was stopped, until the next cluster start"
        return Headroom(0, Reason("paused", words))
    if standing.not_before_ms > now.wall_ms:
        wait = duration(min(standing.not_before_ms - now.wall_ms, MOST_BACKOFF_MS))
        words = f"{policy.name} waits {wait} after {standing.failures} failed: {standing.reason.message}"
        return Headroom(0, Reason(standing.reason.code, words))
    room = policy.max_slices - len(view.slices)
    if room <= 0:
        return Headroom(
            0, Reason("at_max_slices", f"{policy.name} has all of its {how_many(policy.max_slices, 'slice')}")
        )
    allowed = creates_per_minute - view.created_last_minute
    if allowed <= 0:
        return Headroom(
            0, Reason("rate_limit", f"{policy.name} asked {creates_per_minute} times in a minute")
        )
    return Headroom(min(room, allowed), NO_REASON)


def floor(view: GroupView, needed: int) -> int:
    """The least number of slices in service: `needed` are busy or wanted by demand."""
    policy = view.policy
    return min(policy.max_slices, max(policy.min_slices, needed + policy.buffer_slices))


def to_drain(view: GroupView, needed: int) -> list[SliceView]:
    """Slices that were idle too long and are not needed, longest idle first."""
    spare = len(view.in_service) - floor(view, needed)
    idle = [
        v
        for v in view.slices
        if isinstance(v.state, s.SliceReady)
        and v.idle_ms is not None
        and v.idle_ms >= view.policy.idle_timeout_ms
    ]
    idle.sort(key=lambda v: (-(v.idle_ms or 0), v.name))
    return idle[: max(0, spare)]


def after_failure(standing: GroupStanding, why: Reason, now: Now) -> GroupStanding:
    """A creation failed: wait longer before the next."""
    failures = standing.failures + 1
    wait_ms = min(MOST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** min(failures - 1, 16))
    return replace(standing, failures=failures, not_before_ms=now.wall_ms + wait_ms, reason=why)


def after_success(standing: GroupStanding) -> GroupStanding:
    """A slice became READY: the past is forgiven."""
    return replace(standing, failures=0, not_before_ms=0, reason=NO_REASON)
