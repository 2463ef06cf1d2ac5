"""Decides how many slices each group should have: `plan_scaling`, a pure function.

The plan is complete: names of groups and zones, counts and reasons. Carrying
it out makes no choices. Knows nothing of clouds, clocks or protobuf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iris_controller.core import states as s
from iris_controller.core.demand import Demand, route
from iris_controller.core.explain import duration, how_many, some_in_line
from iris_controller.core.queue import PendingQueue
from iris_controller.core.scaling_group import (
    GroupView,
    Headroom,
    floor,
    headroom,
    to_drain,
    why_paused,
)
from iris_controller.core.scheduler import Room
from iris_controller.core.values import NO_REASON, Now, Reason, Shape


@dataclass(frozen=True, slots=True)
class Create:
    """One more slice for a group, in this zone."""

    group: str
    zone: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Drain:
    """A slice that is given back."""

    slice_name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What was decided for a group: slices wanted, its availability, and why."""

    wanted: int
    availability: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """Everything that shall happen to the fleet, and why anything waits.

    `held_back` are accounts that want more creations than may be asked for now.
    """

    creates: tuple[Create, ...]
    drains: tuple[Drain, ...]
    groups: Mapping[str, GroupReport]
    waits: Mapping[Shape, Reason]
    held_back: frozenset[str] = frozenset()


def plan_scaling(
    queue: PendingQueue,
    groups: Sequence[GroupView],
    tokens: Mapping[str, int],
    now: Now,
    free: Sequence[Room] = (),
) -> ScalingPlan:
    """Compares demand with the fleet; the queue holds what the present fleet could not take.

    `free` is what that has left, for gangs over several slices (see `route`).

    `tokens` says by account how many creations may be asked for now. A rate is no
    reason to prefer another group, so demand is routed first, and then what is
    too much waits for its turn.
    """
    groups = sorted(groups, key=lambda v: (v.policy.priority, v.policy.name))
    left = {v.policy.name: headroom(v, now) for v in groups}
    demand = route(queue, groups, left, free)
    wanted = [create for view in groups for create in _creates(view, demand, left[view.policy.name])]
    accounts = {view.policy.name: view.policy.account for view in groups}
    creates = _within_rate(wanted, accounts, tokens)
    drains: list[Drain] = []
    reports: dict[str, GroupReport] = {}
    for view in groups:
        drains += _drains(view, demand)
        counts = [sum(1 for c in some if c.group == view.policy.name) for some in (wanted, creates)]
        reports[view.policy.name] = _report(view, counts[0], counts[1], left[view.policy.name])
    cut = Counter(accounts[c.group] for c in wanted) - Counter(accounts[c.group] for c in creates)
    held_back = frozenset(cut)
    return ScalingPlan(tuple(creates), tuple(drains), reports, demand.waits, held_back)


def _within_rate(
    wanted: Sequence[Create], accounts: Mapping[str, str], tokens: Mapping[str, int]
) -> list[Create]:
    """As many as may be asked for now: what tasks wait for before what is kept ready."""
    left = dict(tokens)
    creates: list[Create] = []
    for create in sorted(wanted, key=lambda c: c.reason.code != "demand"):
        account = accounts[create.group]
        if left.get(account, 0) > 0:
            left[account] -= 1
            creates.append(create)
    return creates


def _needed(view: GroupView, demand: Demand) -> int:
    """Slices that are busy or will be: used now or kept for it, coming for demand, and to be asked for."""
    ready = (v for v in view.in_service if isinstance(v.state, s.SliceReady))
    busy = sum(1 for v in ready if v.idle_ms is None or v.name in demand.kept)
    name = view.policy.name
    return busy + demand.coming.get(name, 0) + len(demand.wanted.get(name, ()))


def _creates(view: GroupView, demand: Demand, left: Headroom) -> list[Create]:
    policy = view.policy
    for_demand = demand.wanted.get(policy.name, ())
    target = floor(view, _needed(view, demand))
    count = min(left.slices, max(len(for_demand), target - len(view.in_service)))
    below_min = policy.min_slices - len(view.in_service)
    zones = [*for_demand[:count], *(left.zones[0] for _ in range(len(for_demand), count))]
    return [Create(policy.name, zone, _why(i, len(for_demand), below_min)) for i, zone in enumerate(zones)]


def _why(i: int, for_demand: int, below_min: int) -> Reason:
    if i < for_demand:
        return Reason("demand", "asked for when tasks waited that no other slice could take")
    if i < below_min:
        return Reason("min_slices", "the group keeps at least so many slices")
    return Reason("buffer", "kept ready beyond demand")


def _drains(view: GroupView, demand: Demand) -> list[Drain]:
    return [
        Drain(v.name, Reason("idle", f"had no task for {duration(v.idle_ms or 0)}"))
        for v in to_drain(view, _needed(view, demand), demand.kept)
    ]


def _report(view: GroupView, wanted: int, creates: int, left: Headroom) -> GroupReport:
    total = len(view.in_service) + wanted
    coming = sum(1 for v in view.slices if isinstance(v.state, s.SLICE_COMING))
    in_line = sum(1 for v in view.slices if v.in_line != NO_REASON)
    waits = some_in_line(in_line) if in_line else ""
    code = left.limit.code
    if code == "quota":
        availability = "QUOTA_EXCEEDED"
    elif code == "at_max_slices":
        availability = "AT_MAX_SLICES"
    elif code == "paused":
        availability = "PAUSED"
    elif code:
        availability = "BACKOFF"
    elif wanted and not creates:
        words = f"{view.policy.name} asks for {how_many(wanted, 'slice')} as soon as its rate allows"
        return GroupReport(total, "BACKOFF", Reason("rate_limit", words))
    elif in_line and in_line == coming and not creates:
        return GroupReport(total, "REQUESTING", Reason("queued", waits))
    elif creates or coming:
        return GroupReport(total, "REQUESTING", Reason("starting", "slices are on their way"))
    else:
        return GroupReport(total, "AVAILABLE", why_paused(view))
    words = "; ".join(part for part in (left.limit.message, waits) if part)
    return GroupReport(total, availability, Reason(code, words))
