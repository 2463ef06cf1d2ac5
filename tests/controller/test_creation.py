"""From the wish for a slice to a slice that works, and everything that goes wrong on the way."""

from dataclasses import replace

import pytest

from iris_controller.core import events as e
from iris_controller.core.entities import Standing
from iris_platform.base import Failure, SliceCloudState, VmState
from tests.controller.worlds import Scene, creates, deletes, group, info, looks, name_of, world


def test_a_slice_comes_up_step_by_step() -> None:
    w = world(group(hosts=2))
    w.submit()
    name = w.only
    seen = [w.slices[name]]
    w.shows(name, VmState.RUNNING, VmState.BOOTING, state=SliceCloudState.CREATING)
    seen.append(w.slices[name])
    w.shows(name, VmState.RUNNING, VmState.RUNNING)
    seen.append(w.slices[name])
    w.agent(name, 1).hello()
    seen.append(w.slices[name])
    w.agent(name, 0).hello()
    assert [*seen, w.slices[name]] == ["REQUESTING", "BOOTING", "INITIALIZING", "INITIALIZING", "READY"]


def test_an_agent_that_says_hello_exists_whatever_the_provider_shows() -> None:
    w = world(group(hosts=2))
    w.submit()
    w.agent(w.only, 0).hello()
    assert w.slices[w.only] == "BOOTING"
    w.agent(w.only, 1).hello()
    assert w.slices[w.only] == "READY"


def test_b30_a_lost_answer_is_settled_by_asking_for_the_same_name_again() -> None:
    w = world(group(at_most=3))
    w.submit()
    name = w.only
    for _ in range(3):
        assert w.create_fails(name, Failure.UNREACHABLE) == []
        # One call at a time: hosts are given their agents, however long that takes.
        assert creates(w.later(3)) == [name]
    w.boots(name)
    assert creates(w.later(60)) == []
    assert w.slices == {name: "READY"}


def test_absence_settles_nothing_while_a_creation_may_be_on_its_way() -> None:
    w = world(group(at_most=3))
    w.submit()
    name = w.only
    w.created(name)
    assert looks(w.effects) == [name]
    w.absent(name)
    w.lists()
    assert w.slices == {name: "REQUESTING"}


def test_a_call_that_was_held_back_by_the_rate_limit_is_made_again() -> None:
    w = world()
    w.submit()
    w.create_fails(w.only, Failure.RATE_LIMIT)
    assert creates(w.tick(1)) == [w.only]
    assert w.world.standing("local", "local").failures == 0


@pytest.mark.parametrize(
    ("failure", "after_s"),
    [
        (Failure.NO_CAPACITY, [10, 10, 20, 40]),
        (Failure.QUOTA, [60, 120, 240, 480]),
        (Failure.REFUSED, [120, 240, 480, 960]),
        (Failure.PERMISSION, [120, 240, 480, 960]),
    ],
)
def test_a_refused_creation_waits_longer_each_time_and_recovers_by_itself(
    failure: Failure, after_s: list[int]
) -> None:
    w = world(group(cpu=1))
    job = w.submit()
    waits: list[int] = []
    for _ in range(4):
        name = w.only
        w.create_fails(name, failure, "not today")
        w.absent(name)
        waits.append(seconds_until_the_next_create(w))
    assert waits == after_s
    w.boots(w.only)
    assert (w.states(job), w.world.standing("local", "local")) == (["ASSIGNED"], Standing("local", "local"))


def seconds_until_the_next_create(w: Scene) -> int:
    """Whether a back-off is over is looked at every 10 s."""
    for second in range(1, 2_000):
        if creates(w.tick(1)):
            return second
    raise AssertionError("never asked again")


def test_the_reason_of_a_refusal_is_on_the_group_and_on_what_waits() -> None:
    w = world(group("here"))
    job = w.submit()
    w.create_fails(w.only, Failure.NO_CAPACITY, "no such machines left")
    availability, why = w.world.availability["here"]
    assert (availability, why.code) == ("BACKOFF", "stockout")
    assert why.message == "here waits 5s after 1 failed: no such machines left"
    assert w.wait_reason(job) == "stockout"


def test_b19_five_quick_failures_lower_a_groups_standing() -> None:
    w = world()
    w.submit()
    for _ in range(5):
        name = w.only
        w.create_fails(name, Failure.NO_CAPACITY)
        w.absent(name)
        seconds_until_the_next_create(w)
    assert w.world.standing("local", "local").failures == 5


def test_b19_a_slice_that_worked_and_is_preempted_does_not() -> None:
    w = world()
    w.submit()
    w.boots(w.only)
    w.later(3600)
    w.preempts(w.only)
    assert w.world.standing("local", "local").failures == 0


def test_b31_what_failed_half_way_is_deleted_and_says_why_on_its_group() -> None:
    w = world(group(hosts=2))
    w.submit()
    name = w.only
    w.shows(name, VmState.RUNNING, VmState.FAILED, detail="host 1: no disk")
    assert deletes(w.effects) == [name]
    assert w.world.standing("local", "local").reason.message == "host 1: no disk"


def test_b31_hosts_that_did_not_start_are_deleted_at_once() -> None:
    w = world()
    w.submit()
    name = w.only
    w.create_fails(name, Failure.START, "iris-bootstrap: not found")
    assert deletes(w.effects) == [name]
    assert w.world.standing("local", "local").reason.message == "iris-bootstrap: not found"


def test_b31_hosts_that_did_not_start_beside_one_that_did_are_deleted_too() -> None:
    w = world(group(hosts=2))
    w.submit()
    name = w.only
    w.agent(name, 0).hello()
    assert deletes(w.create_fails(name, Failure.START)) == [name]


def test_a_slice_that_does_not_boot_in_time_is_deleted() -> None:
    w = world(group(hosts=2, boot_s=30))
    w.submit()
    name = w.only
    w.later(15)
    w.agent(name, 0).hello()
    w.later(15)
    assert looks(w.tick(1)) == [name]
    assert w.slices == {name: "BOOTING"}
    assert deletes(w.shows(name)) == [name]
    (why,) = [w.world.slices[name].state.reason]
    assert (why.code, why.message) == ("boot_timeout", "1 of 2 hosts did not register within 30s")


def test_a_slices_age_is_not_measured_on_the_wall_clock() -> None:
    w = world(group(hosts=2, boot_s=30))
    w.submit()
    w.wall_clock_jumps(24 * 3600)
    w.agent(w.only, 0).hello()
    w.later(10)
    assert list(w.slices.values()) == ["BOOTING"]


def test_a_refusal_of_a_slice_that_exists_already_means_nothing() -> None:
    w = world(group(hosts=2))
    w.submit()
    name = w.only
    w.agent(name, 0).hello()
    w.create_fails(name, Failure.QUOTA)
    assert w.slices == {name: "BOOTING"}


def test_a_provider_that_cannot_be_reached_changes_nothing() -> None:
    w = world(group(hosts=2))
    w.submit()
    w.boots(w.only)
    blind = e.CallFailed(Failure.UNREACHABLE, "503")
    for event in (e.SliceLooked(w.only, blind), e.ZoneListed("local", "local", blind)):
        assert w.batch(event) == []
    assert w.slices == {w.only: "READY"}


def test_a_back_off_survives_a_restart_but_not_a_clock_that_was_set_back() -> None:
    w = world()
    w.submit()
    w.create_fails(w.only, Failure.NO_CAPACITY)
    w.absent(w.only)
    w.restart(down_s=1)
    assert w.slices == {}
    w.wall_clock_jumps(-24 * 3600)
    w.restart(down_s=1)
    w.later(320)
    assert list(w.slices.values()) == ["REQUESTING"]


def test_a_back_off_runs_on_although_the_clock_is_set_back() -> None:
    w = world()
    w.submit()
    w.create_fails(w.only, Failure.NO_CAPACITY)
    w.absent(w.only)
    w.wall_clock_jumps(-24 * 3600)
    assert seconds_until_the_next_create(w) == 10


class TestTombstones:
    """A name that is GONE is remembered for a day."""

    def test_what_comes_to_life_after_all_is_deleted(self) -> None:
        w = world(group(at_most=1))
        w.submit()
        name = w.only
        w.create_fails(name, Failure.NO_CAPACITY)
        w.absent(name)
        late = info(name, [VmState.RUNNING], SliceCloudState.RUNNING)
        assert deletes(w.lists(late)) == [name]
        assert deletes(w.shows(name)) == [name]
        assert w.is_gone(name)

    def test_b33_what_carries_another_id_is_never_touched_though_it_has_our_name(self) -> None:
        w = world(group(at_most=1))
        w.submit()
        name = w.only
        w.create_fails(name, Failure.NO_CAPACITY)
        w.absent(name)
        ours = info(name, [VmState.RUNNING], SliceCloudState.RUNNING)
        theirs = replace(ours, labels={**ours.labels, "iris-cluster-id": "zzzzzzzz27"})
        assert deletes(w.lists(theirs, replace(ours, labels={}))) == []

    def test_its_agents_are_refused(self) -> None:
        w = world(group(at_most=1))
        w.submit()
        name = w.only
        w.create_fails(name, Failure.NO_CAPACITY)
        w.absent(name)
        agent = w.agent(name)
        agent.hello()
        assert agent.refused == "deleted_slice"

    def test_it_survives_a_restart(self) -> None:
        w = world(group(at_most=1))
        w.submit()
        name = w.only
        w.create_fails(name, Failure.NO_CAPACITY)
        w.absent(name)
        w.restart()
        assert deletes(w.lists(info(name, [VmState.RUNNING], SliceCloudState.RUNNING))) == [name]

    def test_it_is_forgotten_after_eight_days(self) -> None:
        w = world(group(at_most=1))
        job = w.submit()
        name = w.only
        w.stop(job)
        w.create_fails(name, Failure.NO_CAPACITY)
        w.absent(name)
        w.tick(8 * 24 * 3600)
        assert name in w.world.slices
        w.tick(1)
        assert name not in w.world.slices


def test_names_are_never_used_twice() -> None:
    w = world(group(at_most=2, cpu=1))
    w.submit(tasks=2)
    w.reload()
    w.create_fails(name_of(1), Failure.NO_CAPACITY)
    w.absent(name_of(1))
    w.later(11)
    w.restart()
    w.create_fails(name_of(2), Failure.NO_CAPACITY)
    w.absent(name_of(2))
    w.later(30)
    assert set(w.slices) == {name_of(3), name_of(1, epoch=1001)}
