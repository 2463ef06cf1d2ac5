"""`route` and `plan_scaling` as functions of values, without any world."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_controller.core import states as s
from iris_controller.core.autoscaler import Create, Drain, plan_scaling
from iris_controller.core.demand import Demand, route
from iris_controller.core.entities import GroupPolicy, Standing
from iris_controller.core.queue import PendingQueue
from iris_controller.core.scaling_group import GroupView, Headroom, SliceView, headroom, to_drain
from iris_controller.core.standings import BRIEF, LONG, QUOTA, Patience, after_failure, patience
from iris_controller.core.values import NO_REASON, Reason, Resources, Shape
from tests.controller.drawn import quick
from tests.controller.shapes import WISHES, Wish, queue
from tests.controller.worlds import START, group

WHY = Reason("demand")
NOTHING = PendingQueue()
STATES: list[s.SliceState] = [
    s.SliceRequesting(WHY),
    s.SliceBooting(WHY),
    s.SliceInitializing(WHY),
    s.SliceReady(WHY),
    s.SliceDraining(WHY),
    s.SliceDeleting(WHY, s.GoneCause.DELETED),
]


def seen(policy: GroupPolicy, *slices: SliceView) -> GroupView:
    return GroupView(policy, [Standing(policy.name, zone) for zone in policy.zones], slices)


def tokens(views: Sequence[GroupView], each: int = 60) -> dict[str, int]:
    """So many creations may be asked for, of each account."""
    return {view.policy.account: each for view in views}


def idle(name: str, seconds: int) -> SliceView:
    return SliceView(name, s.SliceReady(WHY), seconds * 1000)


def busy(name: str) -> SliceView:
    return SliceView(name, s.SliceReady(WHY))


def test_an_empty_queue_is_no_demand() -> None:
    assert route(NOTHING, [seen(group())], {"local": Headroom(3, NO_REASON)}) == Demand({}, {}, {})


def test_coming_slices_are_used_before_any_is_asked_for() -> None:
    first = group("a", at_most=9, cpu=1, priority=1)
    second = group("b", at_most=9, cpu=1, priority=2)
    coming = SliceView("coming", s.SliceBooting(WHY))
    views = [seen(first), seen(second, coming)]
    left = {"a": Headroom(9, NO_REASON, ["zone"]), "b": Headroom(9, NO_REASON, ["zone"])}
    assert route(queue((2, Resources(1000))), views, left) == Demand(
        {"b": 1}, {"a": ["zone"]}, {Shape(Resources(1000)): Reason("starting", "slice coming is starting")}
    )


def test_what_no_group_can_take_says_what_limits_those_that_could() -> None:
    view = seen(group(cpu=2))
    left = {"local": Headroom(0, Reason("quota", "local waits 5s after 1 failed: quota"))}
    huge, fitting = Shape(Resources(9000)), Shape(Resources(2000))
    demand = route(queue((1, huge.resources), (1, fitting.resources)), [view], left)
    assert demand.waits == {
        huge: Reason("impossible", "no scale group has slices that are large enough"),
        fitting: Reason("quota", "local waits 5s after 1 failed: quota"),
    }


def test_a_plan_names_groups_zones_and_reasons() -> None:
    views = [seen(group(at_most=2, buffer=1, cpu=1))]
    plan = plan_scaling(queue((1, Resources(1000))), views, tokens(views), START)
    assert [(c.group, c.zone, c.reason.code) for c in plan.creates] == [
        ("local", "local", "demand"),
        ("local", "local", "buffer"),
    ]
    report = plan.groups["local"]
    assert (report.wanted, report.availability) == (2, "REQUESTING")


def test_the_longest_idle_go_first_and_only_as_many_as_are_spare() -> None:
    policy = group(at_least=1, at_most=9, idle_s=60)
    view = seen(policy, idle("a", 61), idle("b", 90), idle("c", 75), idle("d", 59))
    assert [v.name for v in to_drain(view, needed=0)] == ["b", "c", "a"]
    assert [v.name for v in to_drain(view, needed=2)] == ["b", "c"]
    assert [v.name for v in to_drain(view, needed=4)] == []


def test_equally_idle_slices_go_in_order_of_their_names() -> None:
    view = seen(group(at_most=9, idle_s=60), idle("b", 60), idle("a", 60))
    assert [v.name for v in to_drain(view, needed=1)] == ["a"]


def test_a_drain_says_how_long_nothing_ran() -> None:
    plan = plan_scaling(NOTHING, [seen(group(idle_s=60), idle("a", 200), busy("b"))], {}, START)
    assert plan.drains == (Drain("a", Reason("idle", "had no task for 3m20s")),)


@pytest.mark.parametrize(
    ("code", "its"), [("stockout", BRIEF), ("quota", QUOTA), ("refused", LONG), ("permission", LONG)]
)
def test_the_back_off_doubles_up_to_its_most(code: str, its: Patience) -> None:
    standing, waits = Standing("g", "z"), []
    for _ in range(8):
        standing = after_failure(standing, Reason(code, "none"), START)
        waits.append(standing.not_before_ms - START.wall_ms)
    assert waits == [min(its.most_ms, its.first_ms * 2**n) for n in range(8)]


def test_another_kind_of_failure_begins_to_count_anew() -> None:
    standing = after_failure(Standing("g", "z", 9, 0, Reason("stockout")), Reason("quota"), START)
    assert (standing.failures, standing.not_before_ms - START.wall_ms) == (1, QUOTA.first_ms)


@quick
@given(st.integers(0, 10_000), st.sampled_from(["stockout", "quota", "refused", "boot_timeout"]))
def test_the_back_off_never_exceeds_its_most(failures: int, code: str) -> None:
    why = Reason(code)
    standing = after_failure(Standing("g", "z", failures, 0, why), why, START)
    assert patience(why).first_ms <= standing.not_before_ms - START.wall_ms <= patience(why).most_ms


GROUPS = st.builds(
    group,
    st.sampled_from("abc"),
    at_least=st.integers(0, 2),
    at_most=st.integers(0, 4),
    buffer=st.integers(0, 2),
    hosts=st.integers(1, 2),
    cpu=st.integers(1, 4),
    priority=st.integers(1, 2),
)
IDLE = st.one_of(st.none(), st.integers(0, 120_000))
SLICES = st.lists(st.tuples(st.sampled_from(STATES), IDLE), max_size=4)
VIEWS = st.lists(
    st.builds(
        lambda policy, slices: seen(
            policy, *(SliceView(f"{policy.name}{i}", state, ms) for i, (state, ms) in enumerate(slices))
        ),
        GROUPS,
        SLICES,
    ),
    max_size=3,
    unique_by=lambda view: view.policy.name,
)


@quick
@given(WISHES, VIEWS)
def test_every_wait_has_a_reason_and_the_same_values_give_the_same_plan(
    wishes: list[Wish], views: list[GroupView]
) -> None:
    waiting = queue(*wishes)
    plan = plan_scaling(waiting, views, tokens(views), START)
    assert set(plan.waits) == set(waiting.turns)
    assert all(reason.code and reason.message for reason in plan.waits.values())
    assert plan == plan_scaling(waiting, list(reversed(views)), tokens(views), START)
    assert set(plan.groups) == {view.policy.name for view in views}


@quick
@given(WISHES, VIEWS)
def test_no_group_outgrows_its_maximum_or_its_rate(wishes: list[Wish], views: list[GroupView]) -> None:
    plan = plan_scaling(queue(*wishes), views, tokens(views, 3), START)
    for view in views:
        asked = [create for create in plan.creates if create.group == view.policy.name]
        assert len(asked) <= min(3, headroom(view, START).slices)
        if asked:
            assert len(asked) + len(view.slices) <= view.policy.max_slices


@quick
@given(WISHES, VIEWS)
def test_only_overlong_idle_slices_go_and_never_below_the_minimum(
    wishes: list[Wish], views: list[GroupView]
) -> None:
    plan = plan_scaling(queue(*wishes), views, tokens(views, 3), START)
    for view in views:
        by_name = {v.name: v for v in view.slices}
        gone = [by_name[drain.slice_name] for drain in plan.drains if drain.slice_name in by_name]
        assert all(isinstance(v.state, s.SliceReady) for v in gone)
        assert all((v.idle_ms or 0) >= view.policy.idle_timeout_ms for v in gone)
        least = min(view.policy.max_slices, view.policy.min_slices)
        assert not gone or len(view.in_service) - len(gone) >= least


@quick
@given(WISHES, VIEWS)
def test_a_less_preferred_group_grows_for_demand_only_when_the_others_cannot(
    wishes: list[Wish], views: list[GroupView]
) -> None:
    waiting = queue(*wishes)
    plan = plan_scaling(waiting, views, tokens(views), START)
    order = sorted(views, key=lambda view: (view.policy.priority, view.policy.name))
    growing = [view for view in order if any(_for_demand(c, view) for c in plan.creates)]
    for later in growing:
        for earlier in order[: order.index(later)]:
            takes_all = all(_holds(earlier.policy, shape) for shape in waiting.turns)
            asked = sum(1 for c in plan.creates if c.group == earlier.policy.name)
            assert not takes_all or asked == headroom(earlier, START).slices


def _for_demand(create: Create, view: GroupView) -> bool:
    return create.group == view.policy.name and create.reason.code == "demand"


def _holds(policy: GroupPolicy, shape: Shape) -> bool:
    offer = policy.host_resources
    return shape.resources.cpu_millis <= offer.cpu_millis
