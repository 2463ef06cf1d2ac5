"""Routes what waits to capacity that is coming or could be had.

Asks the real scheduler, with pretended workers: first those of slices that are
on their way, then those that groups could still ask for, by priority. What it
uses of them is the demand. Gangs over several slices may use what is free too,
beside what is to come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import NamedTuple

from iris_controller.core import states as s
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.explain import wide_gang_waits
from iris_controller.core.queue import PendingQueue
from iris_controller.core.scaling_group import GroupView, Headroom
from iris_controller.core.scheduler import Placed, Room, fits, place, room
from iris_controller.core.values import NO_REASON, Lot, Place, Reason, Shape


@dataclass(frozen=True, slots=True)
class Demand:
    """What waiting tasks would use.

    `coming` counts slices by group that are on their way and used; `wanted` has, by
    group, the zone of each that is to be asked for. `waits` says for each waiting shape
    why it waits. `kept` are idle slices that a gang will use as soon as the others that
    it needs are there.
    """

    coming: Mapping[str, int]
    wanted: Mapping[str, Sequence[str]]
    waits: Mapping[Shape, Reason]
    kept: frozenset[str] = frozenset()


class _Kind(Enum):
    """Where a slice that work is routed to comes from; as people are told, if they are."""

    THERE = "there"
    COMING = "coming"
    # Coming likewise, when its turn is there.
    IN_LINE = "in Google's queue"
    WANTED = "being asked for"
    # Not to be asked for before something is over: a back-off, a deletion.
    LATER = ""
    # It is there, and can be given nothing before a host of it is heard again.
    SILENT = "silent"


class _Source(NamedTuple):
    lot: Lot
    kind: _Kind


class _Offers:
    """The rooms that work may be routed to, the best first, and whose they are."""

    def __init__(self) -> None:
        self.rooms: list[Room] = []
        self.sources: dict[str, _Source] = {}

    def lot_of(self, slice_name: str) -> Lot:
        """Whose slice this is or would be, and where."""
        return self.sources[slice_name].lot

    def add(self, view: GroupView, name: str, zone: str, kind: _Kind) -> None:
        """An empty slice of a group."""
        policy = view.policy
        self.sources[name] = _Source(Lot(policy.name, zone), kind)
        for index in range(policy.hosts):
            where = Place(name, index)
            self.rooms.append(room(where, policy.host_resources, accelerator=policy.accelerator))


def route(
    queue: PendingQueue,
    groups: Sequence[GroupView],
    room_left: Mapping[str, Headroom],
    free: Sequence[Room] = (),
) -> Demand:
    """Places the queue on coming and pretended slices; `groups` are in order of preference.

    `free` is what the present fleet has left, of which no waiting task or gang can do
    with one slice alone.
    """
    if not queue:
        return Demand({}, {}, {})
    offers = _Offers()
    widest = max((shape.slices for shape in queue.turns), default=1)
    if widest > 1:
        _offer_free(offers, groups, free)
    for view in groups:
        for slice_ in view.slices:
            if isinstance(slice_.state, s.SLICE_COMING):
                kind = _Kind.COMING if slice_.in_line == NO_REASON else _Kind.IN_LINE
                offers.add(view, slice_.name, slice_.zone, kind)
    begun = {source.lot for source in offers.sources.values()} if widest > 1 else set()
    for view in groups:
        left = room_left[view.policy.name]
        for number in range(min(left.slices, len(queue))):
            offers.add(view, f"{view.policy.name}+{number}", left.zones[0], _Kind.WANTED)
    if widest > 1:
        _offer_the_rest(offers, begun, groups, room_left, widest - 1)
        _offer_silent(offers, groups)
    placed = place(queue, offers.rooms, offers.lot_of)
    return _summarize(queue, groups, room_left, placed, offers)


def _offer_free(offers: _Offers, groups: Sequence[GroupView], free: Sequence[Room]) -> None:
    """What is there and whole, for gangs that need more beside it."""
    rooms = {name: list(its) for name, its in groupby(free, key=lambda one: one.place.slice_name)}
    for view in groups:
        for slice_ in view.slices:
            its = rooms.get(slice_.name, [])
            if isinstance(slice_.state, s.SliceReady) and len(its) == view.policy.hosts:
                offers.rooms += its
                offers.sources[slice_.name] = _Source(Lot(view.policy.name, slice_.zone), _Kind.THERE)


def _offer_silent(offers: _Offers, groups: Sequence[GroupView]) -> None:
    """What will probably be whole again: what a gang has beside it is kept until then."""
    for view in groups:
        for slice_ in view.slices:
            is_idle = isinstance(slice_.state, s.SliceReady) and slice_.idle_ms is not None
            if is_idle and slice_.name not in offers.sources:
                offers.add(view, slice_.name, slice_.zone, _Kind.SILENT)


def _offer_the_rest(
    offers: _Offers,
    begun: Collection[Lot],
    groups: Sequence[GroupView],
    room_left: Mapping[str, Headroom],
    most: int,
) -> None:
    """What lots lack that have some of what a gang needs: in zones that are not the first, or later."""
    rest: list[tuple[GroupView, str, int, _Kind]] = []
    for view in groups:
        left = room_left[view.policy.name]
        # What is being given back makes room in time.
        later = view.policy.max_slices - len(view.in_service)
        for zone in (one.zone for one in view.open_zones):
            if Lot(view.policy.name, zone) not in begun:
                continue
            if not left.slices:
                rest.append((view, zone, min(later, most), _Kind.LATER))
            elif zone in left.zones[1:]:
                rest.append((view, zone, min(left.slices, most), _Kind.WANTED))
    for view, zone, count, kind in sorted(rest, key=lambda one: one[3] is _Kind.LATER):
        for number in range(count):
            offers.add(view, f"{view.policy.name}+{zone}+{number}", zone, kind)


def runs_on(shape: Shape, policy: GroupPolicy) -> bool:
    """Whether a group could ever run a task, or a whole gang, of this shape."""
    may_have = shape.slices == 1 or shape.slices <= policy.max_slices
    return may_have and fits(shape, policy.hosts, policy.host_resources, policy.accelerator)


def _summarize(
    queue: PendingQueue,
    groups: Sequence[GroupView],
    room_left: Mapping[str, Headroom],
    placed: Sequence[Placed],
    offers: _Offers,
) -> Demand:
    coming: dict[str, int] = {}
    wanted: dict[str, list[str]] = {}
    there: set[str] = set()
    for name in dict.fromkeys(p.place.slice_name for p in placed):
        (group, zone), kind = offers.sources[name]
        if kind in (_Kind.COMING, _Kind.IN_LINE):
            coming[group] = coming.get(group, 0) + 1
        elif kind is _Kind.WANTED:
            wanted.setdefault(group, []).append(zone)
        elif kind in (_Kind.THERE, _Kind.SILENT):
            there.add(name)
    in_line = {v.name: v.in_line for view in groups for v in view.slices}
    waits: dict[Shape, Reason] = {}
    for shape, its in _first_of_each(placed):
        source = offers.sources[its[0].place.slice_name]
        if shape.slices > 1:
            waits[shape] = _why_not_yet(shape, its, groups, room_left, offers)
        elif source.kind is _Kind.COMING:
            waits[shape] = Reason("starting", f"slice {its[0].place.slice_name} is starting")
        elif source.kind is _Kind.IN_LINE:
            waits[shape] = in_line[its[0].place.slice_name]
        elif source.kind is _Kind.WANTED:
            waits[shape] = Reason("demand", f"a slice of {source.lot.group} is being asked for")
    for shape in queue.turns:
        if shape not in waits:
            waits[shape] = _why_not(shape, groups, room_left)
    kept = [v.name for view in groups for v in view.slices if v.name in there and v.idle_ms is not None]
    return Demand(coming, wanted, waits, frozenset(kept))


def _first_of_each(placed: Sequence[Placed]) -> Iterator[tuple[Shape, list[Placed]]]:
    """Of each shape, where its first job would go."""
    first: dict[Shape, list[Placed]] = {}
    for p in placed:
        its = first.setdefault(p.shape, [])
        if not its or (p.shape.slices > 1 and p.job_id == its[0].job_id):
            its.append(p)
    return iter(first.items())


def _why_not_yet(
    shape: Shape,
    placed: Sequence[Placed],
    groups: Sequence[GroupView],
    room_left: Mapping[str, Headroom],
    offers: _Offers,
) -> Reason:
    """What a gang over several slices still lacks."""
    kinds = [offers.sources[name].kind for name in dict.fromkeys(p.place.slice_name for p in placed)]
    lot = offers.lot_of(placed[0].place.slice_name)
    policy = next(view.policy for view in groups if view.policy.name == lot.group)
    where = f"{lot.group} in {lot.zone}" if len(policy.zones) > 1 else lot.group
    words = wide_gang_waits(shape, where, {kind.value: kinds.count(kind) for kind in _Kind})
    if _Kind.LATER in kinds:
        limit = room_left[lot.group].limit
        return Reason(limit.code, f"{words}; {limit.message}")
    if _Kind.WANTED in kinds:
        return Reason("demand", words)
    if _Kind.IN_LINE in kinds:
        return Reason("queued", words)
    return Reason("starting" if _Kind.COMING in kinds else "silent", words)


def _why_not(shape: Shape, groups: Sequence[GroupView], room_left: Mapping[str, Headroom]) -> Reason:
    """Why no slice will come for this shape: the limits of the groups that could run it."""
    able = [v.policy for v in groups if runs_on(shape, v.policy)]
    limits = [room_left[policy.name].limit for policy in able]
    if not limits:
        what = f"slices of {shape.accelerator}" if shape.accelerator else "slices that are large enough"
        return Reason("impossible", f"no scale group has {what}")
    words = [limit.message for limit in limits if limit.message]
    code = limits[0].code or "capacity"
    if shape.slices > 1:
        where = " or ".join(policy.name for policy in able)
        zone = " in one zone" if any(len(policy.zones) > 1 for policy in able) else ""
        words.insert(0, wide_gang_waits(shape, where + zone, {}))
    if code in ("at_max_slices", "capacity"):
        words.append("earlier tasks go first")
    return Reason(code, "; ".join(words))
