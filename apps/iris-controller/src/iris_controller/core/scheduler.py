"""Puts waiting tasks on rooms: pure, first fit, in order of submission.

The same function places tasks on real workers and on pretended ones, so there
is one model of demand (STYLE habit 6). Knows nothing of slices' lives.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from iris_controller.core.queue import PendingQueue
from iris_controller.core.values import Lot, Place, Resources, Shape


class Room(NamedTuple):
    """What a worker, real or pretended, has free.

    `memory_accounted` is false where the offer does not account for memory.
    `is_taken` says whether anything is on it, for those that need it whole.
    """

    place: Place
    free: Resources
    memory_accounted: bool
    accelerator: str = ""
    is_taken: bool = False


class Placed(NamedTuple):
    """So many tasks of a job on one worker."""

    job_id: str
    shape: Shape
    place: Place
    tasks: int


def room(
    place: Place,
    capacity: Resources,
    used: Resources = Resources(0),
    accelerator: str = "",
    *,
    is_taken: bool = False,
) -> Room:
    """A worker's room: its capacity less what is in use."""
    free = Resources(capacity.cpu_millis - used.cpu_millis, capacity.memory_bytes - used.memory_bytes)
    return Room(place, free, capacity.memory_bytes > 0, accelerator, is_taken)


def fits(shape: Shape, hosts: int, offer: Resources, accelerator: str = "") -> bool:
    """Whether a task, or a gang's share, can run on an empty slice of so many hosts with this offer."""
    if shape.accelerator != accelerator:
        return False
    most = 1 if accelerator else shape.share
    per_host = _how_many(shape.resources, offer, offer.memory_bytes > 0, most)
    return per_host * hosts >= shape.share


def _nowhere(slice_name: str) -> Lot:
    """Where nobody asks for more than one slice at once, all are alike."""
    return Lot("", "")


def place(
    queue: PendingQueue, rooms: Sequence[Room], lot_of: Callable[[str], Lot] = _nowhere
) -> list[Placed]:
    """Puts as many waiting tasks on rooms as fit; the queue is only read.

    Jobs come in order of submission, rooms in the order given, the rooms of a
    slice one after the other; a gang gets room on one slice, or on as many of one
    lot as it asks for, or nothing. `lot_of` is asked by a slice's name, and for
    such gangs alone. Within one call rooms only get fuller, so each shape walks over
    them once: the cost is linear in what is placed, plus shapes times rooms.
    """
    floor = _Floor(rooms, lot_of)
    shapes = list(queue.turns)
    walks = [_walk(floor, shape) for shape in shapes]
    heads = [(queue.turns[shape][0], i, 0) for i, shape in enumerate(shapes)]
    heapq.heapify(heads)
    placed: list[Placed] = []
    while heads:
        turn, i, position = heapq.heappop(heads)
        walk = walks[i]
        placed += walk.place(turn.job_id, len(queue.waiting(turn.job_id)))
        turns = queue.turns[shapes[i]]
        if not walk.at_end and position + 1 < len(turns):
            heapq.heappush(heads, (turns[position + 1], i, position + 1))
    return placed


class _Floor:
    """What is still free in each room, and which rooms are one slice's."""

    def __init__(self, rooms: Sequence[Room], lot_of: Callable[[str], Lot]) -> None:
        self.rooms = rooms
        self._lot_of = lot_of
        self._free: list[list[int]] = []
        self._taken: list[bool] = []
        self._kinds: set[str] = set()
        for r in rooms:
            self._free.append([r.free.cpu_millis, r.free.memory_bytes])
            self._taken.append(r.is_taken)
            self._kinds.add(r.accelerator)
        self._stops: dict[str, Sequence[int]] = {}
        self._slices: dict[str, list[range]] = {}

    def stops(self, accelerator: str) -> Sequence[int]:
        """The rooms that have this accelerator, or none."""
        stops = self._stops.get(accelerator)
        if stops is None:
            every = range(len(self.rooms))
            alike = self._kinds == {accelerator}
            stops = every if alike else [i for i in every if self.rooms[i].accelerator == accelerator]
            self._stops[accelerator] = stops
        return stops

    def slices(self, accelerator: str) -> list[range]:
        """The rooms of each slice; made when the first gang asks."""
        slices = self._slices.get(accelerator)
        if slices is None:
            runs = groupby(self.stops(accelerator), key=lambda i: self.rooms[i].place.slice_name)
            members = [list(run) for _, run in runs]
            slices = self._slices[accelerator] = [range(run[0], run[-1] + 1) for run in members]
        return slices

    def lot(self, slice_: range) -> Lot:
        """Whose slice these rooms are, and where."""
        return self._lot_of(self.rooms[slice_.start].place.slice_name)

    def how_many(self, here: int, shape: Shape, most: int) -> int:
        """How many tasks have room here."""
        if shape.accelerator:
            most = 0 if self._taken[here] else 1
        free = Resources(*self._free[here])
        return _how_many(shape.resources, free, self.rooms[here].memory_accounted, most)

    def take(self, here: int, request: Resources, count: int) -> None:
        """Makes a room fuller."""
        free = self._free[here]
        free[0] -= count * request.cpu_millis
        free[1] -= count * request.memory_bytes
        self._taken[here] = True


class _Walk:
    """How far a shape has come among its stops."""

    def __init__(self, floor: _Floor, shape: Shape, stops: int) -> None:
        self._floor = floor
        self._shape = shape
        self._stops = stops
        self._here = 0

    @property
    def at_end(self) -> bool:
        """Whether no stop is left for this shape."""
        return self._here >= self._stops

    def _give(self, job_id: str, room: int, count: int) -> Placed:
        """Makes a room fuller by so many tasks."""
        self._floor.take(room, self._shape.resources, count)
        return Placed(job_id, self._shape, self._floor.rooms[room].place, count)


class _Singles(_Walk):
    """The walk of a shape whose tasks go anywhere: from room to room."""

    def __init__(self, floor: _Floor, shape: Shape) -> None:
        self._rooms = floor.stops(shape.accelerator)
        super().__init__(floor, shape, len(self._rooms))

    def place(self, job_id: str, waiting: int) -> list[Placed]:
        """As many of a job's waiting tasks as have room."""
        placed: list[Placed] = []
        while waiting and not self.at_end:
            here = self._rooms[self._here]
            count = self._floor.how_many(here, self._shape, waiting)
            if count:
                placed.append(self._give(job_id, here, count))
                waiting -= count
            if waiting:
                self._here += 1
        return placed


class _Gangs(_Walk):
    """The walk of a gang's shape: from slice to slice."""

    def __init__(self, floor: _Floor, shape: Shape) -> None:
        self._slices = floor.slices(shape.accelerator)
        super().__init__(floor, shape, len(self._slices))

    def place(self, job_id: str, waiting: int) -> list[Placed]:
        """All of a gang on the first slice that has room for it; nothing of one that is not whole."""
        while waiting == self._shape.together and not self.at_end:
            shares = self._shares(self._slices[self._here])
            if sum(shares.values()) == waiting:
                return [self._give(job_id, room, count) for room, count in shares.items()]
            self._here += 1
        return []

    def _shares(self, rooms: range) -> dict[int, int]:
        """How many members each room of a slice would get."""
        left = self._shape.share
        shares: dict[int, int] = {}
        for room in rooms:
            count = self._floor.how_many(room, self._shape, left)
            if count:
                shares[room] = count
                left -= count
            if not left:
                break
        return shares


class _WideGangs(_Gangs):
    """The walk of a gang over several slices: it remembers by lot where a share had room."""

    def __init__(self, floor: _Floor, shape: Shape) -> None:
        super().__init__(floor, shape)
        self._open: dict[Lot, list[range]] = {}
        # Where the last one went: what it left may be enough for the next.
        self._again: Lot | None = None

    @property
    def at_end(self) -> bool:
        """Whether no lot can have room for another."""
        return self._again is None and super().at_end

    def place(self, job_id: str, waiting: int) -> list[Placed]:
        """A share on each of the first slices that one lot has room on, or nothing."""
        if waiting != self._shape.together:
            return []
        shares = [share for rooms in self._find() for share in self._shares(rooms).items()]
        return [self._give(job_id, room, count) for room, count in shares]

    def _find(self) -> list[range]:
        """As many slices of one lot as it takes, each with room for a share."""
        while not self.at_end:
            lot, self._again = self._again or self._pass_one(), None
            if lot is None or len(self._open[lot]) < self._shape.slices:
                continue
            # Other shapes may have taken room since it was looked at.
            slices = self._open[lot] = [rooms for rooms in self._open[lot] if self._has_room(rooms)]
            if len(slices) == self._shape.slices:
                self._again = lot
                return slices
        return []

    def _pass_one(self) -> Lot | None:
        """Takes note of the next slice; its lot, if a share has room there."""
        rooms = self._slices[self._here]
        self._here += 1
        if not self._has_room(rooms):
            return None
        lot = self._floor.lot(rooms)
        self._open.setdefault(lot, []).append(rooms)
        return lot

    def _has_room(self, rooms: range) -> bool:
        return sum(self._shares(rooms).values()) == self._shape.share


def _walk(floor: _Floor, shape: Shape) -> _Singles | _Gangs:
    if shape.together == 1:
        return _Singles(floor, shape)
    return _Gangs(floor, shape) if shape.slices == 1 else _WideGangs(floor, shape)


def _how_many(request: Resources, free: Resources, memory_accounted: bool, most: int) -> int:
    count = most
    if request.cpu_millis:
        count = min(count, free.cpu_millis // request.cpu_millis)
    if request.memory_bytes and memory_accounted:
        count = min(count, free.memory_bytes // request.memory_bytes)
    return max(0, count)


def total(placed: Iterable[Placed]) -> int:
    """How many tasks were placed."""
    return sum(p.tasks for p in placed)
