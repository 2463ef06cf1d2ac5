"""The rules of one scale group: how far it may grow or shrink, and in which zone.

Pure functions over values; knows no other group and nothing of tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from iris_controller.core import states as s
from iris_controller.core.entities import GroupPolicy, Standing
from iris_controller.core.explain import duration, how_many
from iris_controller.core.standings import patience
from iris_controller.core.states import SliceState
from iris_controller.core.values import NO_REASON, Now, Reason


@dataclass(frozen=True, slots=True)
class SliceView:
    """A slice as the rules of its group see it. `idle_ms` is None while it is busy.

    One that `was_refused` was never made, and takes nobody's room. `in_line` says how
    long a request may wait that the provider has not served yet.
    """

    name: str
    state: SliceState
    idle_ms: int | None = None
    was_refused: bool = False
    zone: str = ""
    in_line: Reason = NO_REASON


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group at one moment; `slices` are those that are not GONE, `paused` the zones that were stopped.

    `standings` has one for each of its zones, in the order in which they are tried.
    """

    policy: GroupPolicy
    standings: Sequence[Standing]
    slices: Sequence[SliceView]
    paused: Collection[str] = ()

    @property
    def open_zones(self) -> list[Standing]:
        """Where slices may be asked for, now or later."""
        return [one for one in self.standings if one.zone not in self.paused]

    @property
    def in_service(self) -> list[SliceView]:
        """Slices that have or will have room for tasks."""
        return [v for v in self.slices if isinstance(v.state, s.SLICE_IN_SERVICE)]


@dataclass(frozen=True, slots=True)
class Headroom:
    """How many slices may be asked for now, and what limits that; `zones` are worth a try, the first most."""

    slices: int
    limit: Reason
    zones: Sequence[str] = ()


def headroom(view: GroupView, now: Now) -> Headroom:
    """How many more slices a group may ask for; DELETING ones still count, they hold quota."""
    policy = view.policy
    zones = [one.zone for one in view.open_zones if one.not_before_ms <= now.wall_ms]
    if not zones:
        return Headroom(0, _why_nowhere(view, now))
    room = policy.max_slices - sum(1 for v in view.slices if not v.was_refused)
    if room <= 0:
        return Headroom(
            0, Reason("at_max_slices", f"{policy.name} has all of its {how_many(policy.max_slices, 'slice')}")
        )
    return Headroom(room, NO_REASON, zones)


def _why_nowhere(view: GroupView, now: Now) -> Reason:
    """Why no zone is worth a try: the one that is tried first again says it."""
    name = view.policy.name
    waiting = view.open_zones
    if not waiting:
        return why_paused(view)
    first = min(waiting, key=lambda one: one.not_before_ms)
    wait = duration(min(first.not_before_ms - now.wall_ms, patience(first.reason).most_ms))
    where = f" in {first.zone}" if len(view.standings) > 1 else ""
    words = f"{name} waits {wait} after {first.failures} failed{where}: {first.reason.message}"
    longer = [one for one in waiting if one.not_before_ms > first.not_before_ms]
    if longer:
        words += f"; longer in {', '.join(f'{one.zone} ({one.reason.code})' for one in longer)}"
    return Reason(first.reason.code, words)


def why_paused(view: GroupView) -> Reason:
    """Where a group asks for nothing because `cluster stop --zone` said so; nothing where that is nowhere."""
    stopped = [zone for zone in view.policy.zones if zone in view.paused]
    if not stopped:
        return NO_REASON
    which = f"{', '.join(stopped)}, which {'was' if len(stopped) == 1 else 'were'} stopped"
    return Reason("paused", f"{view.policy.name} asks for nothing in {which}, until the next cluster start")


def floor(view: GroupView, needed: int) -> int:
    """The least number of slices in service: `needed` are busy or wanted by demand."""
    policy = view.policy
    return min(policy.max_slices, max(policy.min_slices, needed + policy.buffer_slices))


def to_drain(view: GroupView, needed: int, kept: Collection[str] = ()) -> list[SliceView]:
    """Slices that were idle too long and are not needed, longest idle first; none of the `kept` ones."""
    spare = len(view.in_service) - floor(view, needed)
    idle = [
        v
        for v in view.slices
        if isinstance(v.state, s.SliceReady)
        and v.idle_ms is not None
        and v.idle_ms >= view.policy.idle_timeout_ms
        and v.name not in kept
    ]
    idle.sort(key=lambda v: (-(v.idle_ms or 0), v.name))
    return idle[: max(0, spare)]
