"""Puts waiting tasks on rooms: pure, first fit, in order of submission.

The same function places tasks on real workers and on pretended ones, so there
is one model of demand (STYLE habit 6). Knows nothing of slices' lives.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from iris_controller.core.queue import PendingQueue
from iris_controller.core.values import Place, Resources, Shape


class Room(NamedTuple):
    """What a worker, real or pretended, has free.

    `memory_accounted` is false where the offer does not account for memory.
    """

    place: Place
    free: Resources
    memory_accounted: bool


class Placed(NamedTuple):
    """So many tasks of a job on one worker."""

    job_id: str
    shape: Shape
    place: Place
    tasks: int


def room(place: Place, capacity: Resources, used: Resources = Resources(0)) -> Room:
    """A worker's room: its capacity less what is in use."""
    free = Resources(capacity.cpu_millis - used.cpu_millis, capacity.memory_bytes - used.memory_bytes)
    return Room(place, free, capacity.memory_bytes > 0)


def fits(request: Resources, offer: Resources) -> bool:
    """Whether one task with this request can run on an empty host with this offer."""
    return _how_many(request, offer, offer.memory_bytes > 0, 1) == 1


def place(queue: PendingQueue, rooms: Sequence[Room]) -> list[Placed]:
    """Puts as many waiting tasks on rooms as fit; the queue is only read.

    Jobs come in order of submission, rooms in the order given. Within one call
    rooms only get fuller, so each shape walks over them once: the cost is
    linear in what is placed, plus shapes times rooms.
    """
    free = [[r.free.cpu_millis, r.free.memory_bytes] for r in rooms]
    shapes = list(queue.turns)
    at_room = [0] * len(shapes)
    heads = [(queue.turns[shape][0], i, 0) for i, shape in enumerate(shapes)]
    heapq.heapify(heads)
    placed: list[Placed] = []
    while heads:
        turn, i, position = heapq.heappop(heads)
        shape = shapes[i]
        left = len(queue.waiting(turn.job_id))
        while left and at_room[i] < len(rooms):
            here = at_room[i]
            count = _take(shape.resources, free[here], rooms[here].memory_accounted, left)
            if count:
                placed.append(Placed(turn.job_id, shape, rooms[here].place, count))
                left -= count
            if left:
                at_room[i] += 1
        turns = queue.turns[shape]
        if not left and position + 1 < len(turns):
            heapq.heappush(heads, (turns[position + 1], i, position + 1))
    return placed


def _take(request: Resources, free: list[int], memory_accounted: bool, most: int) -> int:
    count = _how_many(request, Resources(free[0], free[1]), memory_accounted, most)
    free[0] -= count * request.cpu_millis
    free[1] -= count * request.memory_bytes
    return count


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
