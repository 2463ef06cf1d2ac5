"""`place` and `plan_scaling` with gangs over several slices: of one lot, a share on each, in one walk."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from iris_controller.core import states as s
from iris_controller.core.autoscaler import ScalingPlan, plan_scaling
from iris_controller.core.entities import Standing
from iris_controller.core.queue import PendingQueue, Turn
from iris_controller.core.scaling_group import GroupView, SliceView, headroom
from iris_controller.core.scheduler import Room, place, room
from iris_controller.core.values import Lot, Place, Reason, Resources, Shape
from tests.controller.drawn import quick
from tests.controller.shapes import queue
from tests.controller.worlds import START, cloud


def slices(*free: tuple[str, float]) -> list[Room]:
    """Slices of one host: of this lot, with so many processors."""
    return [room(Place(f"{lot}-{i}", 0), Resources(round(cpu * 1000))) for i, (lot, cpu) in enumerate(free)]


def lot_of(slice_name: str) -> Lot:
    return Lot(slice_name[0], "")


def in_line(gangs: Sequence[tuple[int, int]]) -> PendingQueue:
    """Gangs of so many tasks on so many slices, in order of submission."""
    waiting = queue()
    for number, (tasks, count) in enumerate(gangs):
        waiting.add(Shape(Resources(1000), tasks, "", count), Turn(number, f"j{number}"), range(tasks))
    return waiting


def put(rooms: Sequence[Room], *gangs: tuple[int, int]) -> list[list[str]]:
    """The slices that each gang (so many tasks, so many slices) gets, with a processor for each task."""
    placed = place(in_line(gangs), rooms, lot_of)
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


# -- plans ------------------------------------------------------------------------------

GANGS = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 4)).map(lambda drawn: (drawn[0] * drawn[1], drawn[1])),
    max_size=4,
)
WHY = Reason("demand", "they were wanted")
STATES = [
    s.SliceRequesting(WHY),
    s.SliceReady(WHY),
    s.SliceReady(WHY),
    s.SliceDeleting(WHY, s.GoneCause.DELETED),
]
ZONES = ("zone-a", "zone-b")
# Of each: its state, its zone, since when it is idle (None: never), and whether it can be given anything.
SLICES = st.lists(
    st.tuples(
        st.sampled_from(STATES),
        st.sampled_from(ZONES),
        st.sampled_from([None, 0, 90_000]),
        st.booleans(),
    ),
    max_size=4,
)
WAITS_MS = st.tuples(*[st.sampled_from([0, 5_000])] * 2)


def group_of(
    name: str, most: int, drawn: Sequence[tuple[s.SliceState, str, int | None, bool]], waits_ms: Sequence[int]
) -> tuple[GroupView, list[Room]]:
    """A group of slices with one host of two processors, and what of them is free."""
    policy = cloud(name, cpu=2, at_most=max(most, len(drawn)))
    views = [
        SliceView(f"{name}{i}", state, idle if isinstance(state, s.SliceReady) else None, zone=zone)
        for i, (state, zone, idle, _) in enumerate(drawn)
    ]
    free = [
        room(Place(view.name, 0), policy.host_resources)
        for view, (_, _, _, usable) in zip(views, drawn, strict=True)
        if usable and view.idle_ms is not None
    ]
    standings = [
        Standing(name, zone, 1, START.wall_ms + wait_ms, Reason("stockout", "none left"))
        for zone, wait_ms in zip(ZONES, waits_ms, strict=True)
    ]
    return GroupView(policy, standings, views), free


VIEWS = st.tuples(
    st.builds(group_of, st.just("a"), st.integers(0, 5), SLICES, WAITS_MS),
    st.builds(group_of, st.just("b"), st.integers(0, 5), SLICES, WAITS_MS),
)


def planned(
    gangs: Sequence[tuple[int, int]], drawn: Sequence[tuple[GroupView, list[Room]]]
) -> tuple[PendingQueue, ScalingPlan]:
    """What is planned for the gangs that the present fleet has no room for."""
    views = [view for view, _ in drawn]
    free = [one for _, rooms in drawn for one in rooms]
    lots = {v.name: Lot(view.policy.name, v.zone) for view in views for v in view.slices}
    placed = {p.job_id for p in place(in_line(gangs), free, lots.__getitem__)}
    left = PendingQueue()
    for number, (tasks, count) in enumerate(gangs):
        if f"j{number}" not in placed:
            left.add(Shape(Resources(1000), tasks, "", count), Turn(number, f"j{number}"), range(tasks))
    used = [] if placed else free
    return left, plan_scaling(left, views, {"project": 99}, START, used)


@quick
@given(GANGS, VIEWS)
def test_every_wait_has_a_reason_and_no_group_outgrows_its_most(
    gangs: list[tuple[int, int]], drawn: tuple[tuple[GroupView, list[Room]], ...]
) -> None:
    left, plan = planned(gangs, drawn)
    assert set(plan.waits) == set(left.turns)
    assert all(reason.code and reason.message for reason in plan.waits.values())
    for view, _ in drawn:
        asked = [create for create in plan.creates if create.group == view.policy.name]
        assert len(asked) <= headroom(view, START).slices
        assert {create.zone for create in asked} <= set(headroom(view, START).zones)


@quick
@given(st.integers(2, 4), VIEWS)
def test_one_gang_has_all_that_it_waits_for_asked_for_in_one_place_and_nothing_of_it_given_back(
    slices: int, drawn: tuple[tuple[GroupView, list[Room]], ...]
) -> None:
    _, plan = planned([(slices, slices)], drawn)
    asked = [create for create in plan.creates if create.reason.code == "demand"]
    assert len({(create.group, create.zone) for create in asked}) <= 1
    for create in asked:
        (view,) = [view for view, _ in drawn if view.policy.name == create.group]
        there = [v for v in view.slices if v.zone == create.zone]
        coming = [v for v in there if isinstance(v.state, s.SLICE_COMING)]
        idle = [v for v in there if v.idle_ms is not None]
        assert len(asked) + len(coming) + len(idle) >= slices
        given_back = {drain.slice_name for drain in plan.drains} & {v.name for v in idle}
        assert len(asked) + len(coming) + len(idle) - len(given_back) >= slices
