"""`place` with gangs over several slices: of one lot, each with room for a share, in one walk."""

from collections.abc import Sequence

from iris_controller.core.queue import Turn
from iris_controller.core.scheduler import Room, place, room
from iris_controller.core.values import Lot, Place, Resources, Shape
from tests.controller.shapes import queue


def slices(*free: tuple[str, float]) -> list[Room]:
    """Slices of one host: of this lot, with so many processors."""
    return [room(Place(f"{lot}-{i}", 0), Resources(round(cpu * 1000))) for i, (lot, cpu) in enumerate(free)]


def lot_of(slice_name: str) -> Lot:
    return Lot(slice_name[0], "")


def put(rooms: Sequence[Room], *gangs: tuple[int, int]) -> list[list[str]]:
    """The slices that each gang (so many tasks, so many slices) gets, with a processor for each task."""
    waiting = queue()
    for number, (tasks, count) in enumerate(gangs):
        waiting.add(Shape(Resources(1000), tasks, "", count), Turn(number, f"j{number}"), range(tasks))
    placed = place(waiting, rooms, lot_of)
    return [[p.place.slice_name for p in placed if p.job_id == f"j{n}"] for n in range(len(gangs))]


def test_the_first_lot_with_room_for_all_has_it() -> None:
    free = slices(("a", 1), ("b", 1), ("c", 1), ("b", 1), ("a", 1))
    assert put(free, (2, 2)) == [["b-1", "b-3"]]


def test_the_next_gang_finds_what_the_first_left_and_what_was_passed() -> None:
    free = slices(("a", 1), ("b", 2), ("b", 2), ("a", 1))
    assert put(free, (2, 2), (2, 2), (2, 2), (2, 2)) == [["b-1", "b-2"]] * 2 + [["a-0", "a-3"], []]


def test_what_others_took_since_is_not_promised_again() -> None:
    free = slices(("a", 2), ("a", 1), ("a", 2), ("a", 2))
    # The second is of another shape, and the third needs what that took.
    assert put(free, (2, 2), (4, 2), (2, 2)) == [["a-0", "a-1"], ["a-2", "a-3"], []]


def test_a_gang_that_fits_nowhere_costs_one_look_at_each_slice() -> None:
    looked: list[str] = []

    def seen(name: str) -> Lot:
        looked.append(name)
        return lot_of(name)

    waiting = queue()
    for number in range(1000):
        waiting.add(Shape(Resources(1000), 200, "", 200), Turn(number, f"j{number}"), range(200))
    assert place(waiting, slices(*[("a", 1)] * 100), seen) == []
    assert len(looked) == 100


def test_nobody_else_is_asked_where_slices_are() -> None:
    waiting = queue((3, Resources(1000)))
    waiting.add(Shape(Resources(1000), 2), Turn(9, "j9"), range(2))

    def fails(name: str) -> Lot:
        raise AssertionError(name)

    assert len(place(waiting, slices(("a", 3), ("a", 2)), fails)) == 2
