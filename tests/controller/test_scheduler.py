"""`place`: what fits is placed, in order of submission, and nothing is promised twice."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iris_controller.core.scheduler import Placed, Room, fits, place, room, total
from iris_controller.core.values import Place, Resources, Shape
from tests.controller.drawn import quick
from tests.controller.shapes import OFFERS, REQUESTS, WISHES, Wish, per_job, queue, rooms


def cpus(*amounts: float) -> list[Resources]:
    return [Resources(round(amount * 1000)) for amount in amounts]


def test_tasks_fill_one_room_after_the_other() -> None:
    (request,) = cpus(1)
    placed = place(queue((3, request)), rooms(*cpus(2, 2)))
    assert placed == [
        Placed("j0", Shape(request), Place("s", 0), 2),
        Placed("j0", Shape(request), Place("s", 1), 1),
    ]


def test_a_small_task_fills_the_gap_that_a_large_one_left() -> None:
    large, small = cpus(3, 1)
    assert per_job(place(queue((2, large), (2, small)), rooms(*cpus(4, 4)))) == {"j0": 2, "j1": 2}


def test_a_large_task_that_fits_nowhere_does_not_hold_up_a_small_one() -> None:
    large, small = cpus(9, 1)
    assert per_job(place(queue((1, large), (1, small)), rooms(*cpus(1)))) == {"j1": 1}


def test_what_is_in_use_is_not_free() -> None:
    busy = room(Place("s", 0), Resources(4000, 8), Resources(3000, 6))
    assert busy.free == Resources(1000, 2)
    assert per_job(place(queue((5, Resources(500, 2))), [busy])) == {"j0": 1}


def test_twenty_thousand_tasks_of_one_shape_are_one_entry() -> None:
    request = Resources(1)
    placed = place(queue((20_000, request)), rooms(Resources(20_000)))
    assert placed == [Placed("j0", Shape(request), Place("s", 0), 20_000)]


def test_what_does_not_fit_costs_one_look_at_each_room() -> None:
    """Counted, not timed: 50,000 tasks that fit nowhere are looked at as one shape."""
    looks = CountedRooms(rooms(*cpus(*[1] * 100)))
    assert place(queue((20_000, Resources(2000)), (30_000, Resources(2000))), looks) == []
    assert looks.looked_at <= 3 * 100


class CountedRooms(Sequence[Room]):
    """Rooms that count how often one of them is looked at."""

    def __init__(self, rooms: Sequence[Room]) -> None:
        self._rooms = rooms
        self.looked_at = 0

    def __len__(self) -> int:
        return len(self._rooms)

    def __getitem__(self, index: Any) -> Any:
        self.looked_at += 1
        return self._rooms[index]


@quick
@given(WISHES, st.lists(OFFERS, max_size=5))
def test_no_room_is_oversubscribed(wishes: list[Wish], offers: list[Resources]) -> None:
    used = [Resources(0) for _ in offers]
    for one in place(queue(*wishes), rooms(*offers)):
        index, request = one.place.worker_index, one.shape.resources
        cpu = used[index].cpu_millis + one.tasks * request.cpu_millis
        used[index] = Resources(cpu, used[index].memory_bytes + one.tasks * request.memory_bytes)
    for taken, offer in zip(used, offers, strict=True):
        assert taken.cpu_millis <= offer.cpu_millis
        assert offer.memory_bytes == 0 or taken.memory_bytes <= offer.memory_bytes


@quick
@given(WISHES, st.lists(OFFERS, max_size=5))
def test_no_task_is_placed_twice_and_the_queue_is_only_read(
    wishes: list[Wish], offers: list[Resources]
) -> None:
    waiting = queue(*wishes)
    placed = place(waiting, rooms(*offers))
    assert all(count <= len(waiting.waiting(job)) for job, count in per_job(placed).items())
    assert len(waiting) == sum(tasks for tasks, _ in wishes)
    assert total(placed) == sum(per_job(placed).values())
    assert all(one.tasks > 0 for one in placed)


@quick
@given(WISHES, st.lists(OFFERS, max_size=5))
def test_nothing_that_was_left_would_still_fit(wishes: list[Wish], offers: list[Resources]) -> None:
    placed = place(queue(*wishes), rooms(*offers))
    done = per_job(placed)
    left = rooms(*offers)
    for one in placed:
        index = one.place.worker_index
        request, free = one.shape.resources, left[index].free
        free = Resources(
            free.cpu_millis - one.tasks * request.cpu_millis,
            free.memory_bytes - one.tasks * request.memory_bytes,
        )
        left[index] = left[index]._replace(free=free)
    for number, (tasks, request) in enumerate(wishes):
        if done.get(f"j{number}", 0) < tasks:
            assert place(queue((1, request)), left) == []


@quick
@given(REQUESTS, st.lists(OFFERS, max_size=5))
def test_a_task_alone_is_placed_wherever_it_fits(request: Resources, offers: list[Resources]) -> None:
    placed = place(queue((1, request)), rooms(*offers))
    able = [index for index, offer in enumerate(offers) if fits(Shape(request), 1, offer)]
    assert [one.place.worker_index for one in placed] == able[:1]


@quick
@given(WISHES, st.tuples(st.integers(1, 5), REQUESTS), st.lists(OFFERS, max_size=5))
def test_a_later_job_takes_nothing_from_an_earlier_one(
    wishes: list[Wish], later: Wish, offers: list[Resources]
) -> None:
    before = place(queue(*wishes), rooms(*offers))
    after = place(queue(*wishes, later), rooms(*offers))
    assert [one for one in after if one.job_id != f"j{len(wishes)}"] == before


@quick
@given(WISHES, OFFERS, st.permutations(range(4)))
def test_the_order_of_equal_rooms_does_not_matter(
    wishes: list[Wish], offer: Resources, order: list[int]
) -> None:
    equal = rooms(*[offer] * 4)
    shuffled = [equal[index] for index in order]
    waiting = queue(*wishes)
    assert per_job(place(waiting, equal)) == per_job(place(waiting, shuffled))
