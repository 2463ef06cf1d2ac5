"""Routes what waits to capacity that is coming or could be had.

Asks the real scheduler, with pretended workers: first those of slices that are
on their way, then those that groups could still ask for, by priority. What it
uses of them is the demand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iris_controller.core import states as s
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.queue import PendingQueue
from iris_controller.core.scaling_group import GroupView, Headroom
from iris_controller.core.scheduler import Placed, Room, fits, place, room
from iris_controller.core.values import Place, Reason, Shape


@dataclass(frozen=True, slots=True)
class Demand:
    """What waiting tasks would use.

    `coming` and `wanted` count slices by group: on their way and used, and to
    be asked for. `waits` says for each waiting shape why it waits.
    """

    coming: Mapping[str, int]
    wanted: Mapping[str, int]
    waits: Mapping[Shape, Reason]


def route(queue: PendingQueue, groups: Sequence[GroupView], room_left: Mapping[str, Headroom]) -> Demand:
    """Places the queue on coming and pretended slices; `groups` are in order of preference."""
    if not queue:
        return Demand({}, {}, {})
    rooms: list[Room] = []
    owner: dict[str, tuple[str, bool]] = {}
    for view in groups:
        for slice_ in view.slices:
            if isinstance(slice_.state, s.SLICE_COMING):
                owner[slice_.name] = (view.policy.name, True)
                rooms += _rooms(view, slice_.name)
    most = len(queue)
    for view in groups:
        for number in range(min(room_left[view.policy.name].slices, most)):
            name = f"{view.policy.name}+{number}"
            owner[name] = (view.policy.name, False)
            rooms += _rooms(view, name)
    placed = place(queue, rooms)
    return _summarize(queue, groups, room_left, placed, owner)


def _rooms(view: GroupView, name: str) -> list[Room]:
    policy = view.policy
    places = [Place(name, index) for index in range(policy.hosts)]
    return [room(place, policy.host_resources, accelerator=policy.accelerator) for place in places]


def runs_on(shape: Shape, policy: GroupPolicy) -> bool:
    """Whether a group could ever run a task, or a whole gang, of this shape."""
    return fits(shape, policy.hosts, policy.host_resources, policy.accelerator)


def _summarize(
    queue: PendingQueue,
    groups: Sequence[GroupView],
    room_left: Mapping[str, Headroom],
    placed: Sequence[Placed],
    owner: Mapping[str, tuple[str, bool]],
) -> Demand:
    used: dict[str, None] = dict.fromkeys(p.place.slice_name for p in placed)
    coming: dict[str, int] = {}
    wanted: dict[str, int] = {}
    for name in used:
        group, is_coming = owner[name]
        counts = coming if is_coming else wanted
        counts[group] = counts.get(group, 0) + 1
    waits: dict[Shape, Reason] = {}
    for p in placed:
        group, is_coming = owner[p.place.slice_name]
        if is_coming:
            why = Reason("starting", f"slice {p.place.slice_name} is starting")
        else:
            why = Reason("demand", f"a slice of {group} is being asked for")
        waits.setdefault(p.shape, why)
    for shape in queue.turns:
        if shape not in waits:
            waits[shape] = _why_not(shape, groups, room_left)
    return Demand(coming, wanted, waits)


def _why_not(shape: Shape, groups: Sequence[GroupView], room_left: Mapping[str, Headroom]) -> Reason:
    """Why no slice will come for this shape: the limits of the groups that could run it."""
    able = [v.policy for v in groups if runs_on(shape, v.policy)]
    limits = [room_left[policy.name].limit for policy in able]
    if not limits:
        what = f"slices of {shape.accelerator}" if shape.accelerator else "slices that are large enough"
        return Reason("impossible", f"no scale group has {what}")
    words = [limit.message for limit in limits if limit.message]
    code = limits[0].code or "capacity"
    if code in ("at_max_slices", "capacity"):
        words.append("earlier tasks go first")
    return Reason(code, "; ".join(words))
