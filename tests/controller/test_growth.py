"""When slices are asked for: demand, priorities, floors, limits."""

import pytest

from iris_controller.core import effects as fx
from iris_controller.core.values import Reason
from iris_platform.base import Failure
from tests.controller.worlds import creates, group, name_of, world


def test_b10_two_small_tasks_in_an_empty_group_ask_for_one_slice() -> None:
    w = world(group(at_most=2, cpu=4))
    w.submit(tasks=2)
    assert creates(w.effects) == [name_of(1)]


def test_b11_five_whole_host_tasks_need_two_slices_of_four_hosts() -> None:
    w = world(group(at_most=3, hosts=4, cpu=4))
    w.submit(tasks=5, cpu=4)
    assert creates(w.effects) == [name_of(1), name_of(2)]


def test_b13_demand_goes_to_the_preferred_group_until_its_maximum() -> None:
    w = world(group("second", at_most=5, priority=20, cpu=1), group("first", at_most=2, priority=10, cpu=1))
    w.submit(tasks=3)
    assert creates(w.effects) == [name_of(1, "first"), name_of(2, "first"), name_of(1, "second")]


def test_groups_of_one_priority_are_used_in_order_of_their_names() -> None:
    w = world(group("b", at_most=1, cpu=1), group("a", at_most=1, cpu=1))
    w.submit()
    assert creates(w.effects) == [name_of(1, "a")]


def test_b14_demand_moves_on_when_a_group_has_no_quota_and_comes_back_after_its_back_off() -> None:
    w = world(group("a", at_most=2, cpu=1, priority=1), group("b", at_most=2, cpu=1, priority=2))
    w.submit()
    effects = w.create_fails(name_of(1, "a"), Failure.QUOTA)
    assert creates(effects) == [name_of(1, "b")]
    w.absent(name_of(1, "a"))
    assert w.world.availability["a"][0] == "QUOTA_EXCEEDED"
    w.later(61)
    w.submit()
    assert creates(w.effects) == [name_of(2, "a")]


def test_b15_nothing_more_is_asked_for_while_enough_slices_boot() -> None:
    w = world(group(at_most=5, cpu=1, boot_s=1000))
    w.submit(tasks=2)
    first, second = creates(w.effects)
    w.shows(first)
    w.later(900)
    assert w.slices == {first: "INITIALIZING", second: "REQUESTING"}


def test_b16_tasks_that_the_present_fleet_can_hold_do_not_scale_it() -> None:
    w = world(group(at_most=2, cpu=4))
    w.submit()
    w.boots(w.only)
    job = w.submit(tasks=3)
    assert (creates(w.effects), w.states(job)) == ([], ["ASSIGNED"] * 3)


def test_what_waits_says_whether_a_slice_starts_or_no_more_may_come() -> None:
    w = world(group(at_most=1, cpu=1))
    first = w.submit()
    assert w.wait_reason(first) == "demand"
    w.tick(11)
    assert w.wait_reason(first) == "starting"
    w.boots(w.only)
    second = w.submit()
    assert w.wait_reason(second) == "at_max_slices"
    assert w.world.availability["local"] == (
        "AT_MAX_SLICES",
        Reason("at_max_slices", "local has all of its 1 slice"),
    )


def test_a_group_keeps_its_minimum_without_any_demand() -> None:
    w = world(group(at_most=3, at_least=2))
    assert creates(w.tick()) == [name_of(1), name_of(2)]
    assert w.reason(name_of(1)) == "min_slices"


def test_a_buffer_is_kept_beyond_demand() -> None:
    w = world(group(at_most=5, buffer=1, cpu=1))
    assert [w.reason(name) for name in creates(w.tick())] == ["buffer"]
    w.boots(w.only)
    w.submit()
    assert [w.reason(name) for name in creates(w.effects)] == ["buffer"]


@pytest.mark.parametrize(
    ("min_slices", "buffer", "tasks", "wanted"), [(2, 1, 0, 2), (2, 1, 2, 3), (1, 9, 1, 4)]
)
def test_the_floor_is_the_minimum_or_the_demand_and_its_buffer(
    min_slices: int, buffer: int, tasks: int, wanted: int
) -> None:
    w = world(group(at_least=min_slices, buffer=buffer, at_most=4, cpu=1))
    if tasks:
        w.submit(tasks=tasks)
    w.tick()
    assert len(w.slices) == wanted


def test_a_task_of_another_size_asks_for_the_group_that_can_hold_it() -> None:
    w = world(group("small", at_most=1, cpu=2, priority=1), group("large", at_most=1, cpu=8, priority=2))
    w.submit(cpu=6)
    assert creates(w.effects) == [name_of(1, "large")]


def test_memory_counts_as_much_as_cores_do() -> None:
    w = world(
        group("small", at_most=9, cpu=64, memory=4, priority=1), group("large", at_most=9, cpu=1, memory=16)
    )
    w.submit(memory=8)
    assert creates(w.effects) == [name_of(1, "large")]


def test_the_rate_limit_delays_slices_and_never_drops_them() -> None:
    w = world(group(at_most=5, cpu=1, boot_s=600), creates_per_minute=2)
    job = w.submit(tasks=5)
    asked = [fx.CreateSlice(name, "local", "local") for name in (name_of(1), name_of(2))]
    assert [effect for effect in w.effects if isinstance(effect, fx.CreateSlice)] == asked
    w.tick(20)
    assert w.world.availability["local"][0] == "BACKOFF"
    assert w.wait_reason(job) == "demand" or w.wait_reason(job) == "starting"
    counts = [len(w.slices)]
    for _ in range(3):
        w.later(61)
        counts.append(len(w.slices))
    assert counts == [2, 4, 5, 5]


def test_a_slice_that_is_being_deleted_counts_until_it_is_gone() -> None:
    w = world(group(at_most=1))
    w.submit()
    broken = w.only
    w.created(broken)
    w.create_fails(broken, Failure.START)
    assert creates(w.later(20)) == []
    assert len(creates([*w.absent(broken), *w.later(11)])) == 1
