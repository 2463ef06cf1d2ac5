"""Gangs over several slices: as many members on each, all of one group and zone, or not at all."""

from dataclasses import replace

import pytest

from iris_controller.core import effects as fx
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.values import JobSpec, Resources, Shape
from iris_platform.base import Failure
from tests.controller.agents import Agent, failed, killed, observed, spec, succeeded
from tests.controller.worlds import Scene, cloud, creates, group, name_of, world, zones

V16 = "v5litepod-16"


def wide(tasks: int = 4, slices: int = 2, *, cpu: float = 1, failures: int = 0, losses: int = 100) -> JobSpec:
    """Members that take a host each where it has one processor."""
    return replace(spec(tasks, cpu, failures=failures, losses=losses, gang=True), slices=slices)


def pair(name: str = "local", at_most: int = 4, priority: int = 100, idle_s: float = 60) -> GroupPolicy:
    """Slices of two hosts with one processor each."""
    return group(name, hosts=2, cpu=1, at_most=at_most, priority=priority, idle_s=idle_s)


def out(policy: GroupPolicy | None = None, **budgets: int) -> tuple[Scene, str, list[Agent]]:
    """A gang of four that runs on two slices."""
    w = world(policy or pair())
    job = w.submit_spec(wide(**budgets))
    agents = w.boots(*w.slices)
    for index, agent in enumerate(agents):
        agent.prepares(w.attempt(job, index))
    for index, agent in enumerate(agents):
        agent.runs(w.attempt(job, index))
    return w, job, agents


def places(w: Scene, job: str) -> list[tuple[str, int]]:
    """Where the members are, by task index."""
    attempts = [w.task(job, i).attempt for i in range(w.world.jobs[job].spec.replicas)]
    return [(a.place.slice_name, a.place.worker_index) for a in attempts if a is not None]


def waits(w: Scene, job: str) -> tuple[str, str]:
    why = w.world.waits[w.world.jobs[job].spec.shape]
    return why.code, why.message


class TestPlacement:
    def test_members_are_on_the_slices_in_their_order(self) -> None:
        w = world(pair())
        job = w.submit_spec(wide())
        assert list(w.slices) == [name_of(1), name_of(2)]
        w.boots(name_of(2), name_of(1))
        assert places(w, job) == [(name_of(n), host) for n in (1, 2) for host in (0, 1)]

    def test_nothing_starts_before_all_its_slices_are_there(self) -> None:
        w = world(pair())
        job = w.submit_spec(wide(6, 3))
        w.boots(name_of(1), name_of(2))
        assert w.states(job) == ["PENDING"] * 6
        w.boots(name_of(3))
        assert w.states(job) == ["ASSIGNED"] * 6

    def test_members_of_a_share_may_be_on_one_host(self) -> None:
        w = world(group(cpu=4, at_most=2))
        job = w.submit_spec(wide(4, 2))
        w.boots(*w.slices)
        assert places(w, job) == [(name_of(1), 0)] * 2 + [(name_of(2), 0)] * 2

    def test_slices_of_two_groups_are_no_place_for_one_gang(self) -> None:
        w = world(pair("a", at_most=1), pair("b", at_most=1), pair("c", at_most=2, priority=999))
        small = [w.submit_spec(spec(2, gang=True)) for _ in range(2)]
        agents = w.boots(*w.slices)
        for agent, (job, index) in zip(agents, [(job, i) for job in small for i in (0, 1)], strict=True):
            agent.says(w.attempt(job, index), succeeded())
        # One slice of each is free.
        w.submit_spec(wide())
        assert [w.world.slices[name].group for name in creates(w.effects)] == ["c", "c"]

    def test_on_accelerators_it_is_whole_slices(self) -> None:
        w = world(cloud("pod", zone="z", accelerator=V16, hosts=4, cpu=112, at_most=2))
        w.tick(60)
        job = w.submit_spec(replace(wide(0, 2), gang=False, accelerator=V16))
        its = w.world.jobs[job].spec
        assert (its.replicas, its.gang, its.slices) == (8, True, 2)
        w.boots(*w.slices)
        assert [host for _, host in places(w, job)] == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            replace(wide(7, 2), accelerator=V16),
            f"2 slices of {V16} have 8 hosts, and a job on them a task for each; found 7 tasks",
        ),
        (
            wide(6, 3),
            (
                "a gang asks for 2 tasks of 1 cpu on each of 3 slices;"
                " the nearest that fits is 2 slices with 2 hosts of 1 cpu (scale group local)"
            ),
        ),
        (
            wide(6, 2),
            (
                "a gang asks for 3 tasks of 1 cpu on each of 2 slices;"
                " the nearest that fits is 2 slices with 2 hosts of 1 cpu (scale group local)"
            ),
        ),
        (
            replace(wide(12, 3), accelerator=V16),
            (
                "a gang asks for 4 tasks of 1 cpu on each of 3 slices;"
                " the nearest that fits is 2 slices with 4 hosts of 112 cpu (scale group pod)"
            ),
        ),
    ],
)
def test_b20_what_no_group_may_ever_have_is_refused(wanted: JobSpec, words: str) -> None:
    w = world(pair(at_most=2), cloud("pod", accelerator=V16, hosts=4, cpu=112, at_most=2))
    assert w.submit_spec(wanted) == ""
    assert isinstance(w.answer, fx.Refusal)
    assert (w.answer.kind, w.answer.reason.message) == (fx.RefusalKind.INVALID, words)


class TestDemand:
    def test_what_is_free_counts(self) -> None:
        w = world(pair())
        first = w.submit_spec(spec(2, gang=True))
        agents = w.boots(w.only)
        for index, agent in enumerate(agents):
            agent.says(w.attempt(first, index), succeeded())
        job = w.submit_spec(wide(6, 3))
        assert (creates(w.effects), waits(w, job)) == (
            [name_of(2), name_of(3)],
            ("demand", "waits for 3 slices of local at once: 1 is there, 2 are being asked for"),
        )
        w.tick(10)
        assert len(w.slices) == 3
        assert waits(w, job) == ("starting", "waits for 3 slices of local at once: 1 is there, 2 are coming")
        w.boots(name_of(2), name_of(3))
        assert w.states(job) == ["ASSIGNED"] * 6

    def test_b15_nothing_more_is_asked_for_while_they_come(self) -> None:
        w = world(pair())
        w.submit_spec(wide())
        w.boots(name_of(1))
        w.later(25)
        assert list(w.slices) == [name_of(1), name_of(2)]

    def test_two_gangs_are_demand_for_all_their_slices_and_never_more_than_the_most(self) -> None:
        w = world(pair(at_most=3))
        first, second = (w.submit_spec(wide()) for _ in range(2))
        assert len(w.slices) == 2
        assert waits(w, second) == waits(w, first), "they have one shape, and the first goes first"
        agents = w.boots(*w.slices)
        # One more would be of no use before the first gang has ended.
        assert (len(w.slices), w.states(second)) == (2, ["PENDING"] * 4)
        assert waits(w, second) == (
            "capacity",
            "waits for 2 slices of local at once; earlier tasks go first",
        )
        for index, agent in enumerate(agents):
            agent.says(w.attempt(first, index), succeeded())
        assert w.states(second) == ["ASSIGNED"] * 4

    def test_b13_the_preferred_group_that_has_room_for_all_of_it(self) -> None:
        w = world(pair("small", at_most=1, priority=1), pair("large", at_most=2, priority=2))
        w.submit_spec(wide())
        assert [w.world.slices[name].group for name in w.slices] == ["large"] * 2

    def test_a_gang_on_one_slice_uses_what_waits_for_its_partner(self) -> None:
        w = world(pair())
        job = w.submit_spec(wide())
        w.boots(name_of(1))
        other = w.submit_spec(spec(2, gang=True))
        assert (w.states(other), creates(w.effects)) == (["ASSIGNED"] * 2, [name_of(3)])
        w.boots(name_of(2), name_of(3))
        assert places(w, job)[::2] == [(name_of(2), 0), (name_of(3), 0)]


class TestPartialCapacity:
    def test_it_is_kept_while_its_partner_comes(self) -> None:
        w = world(replace(pair(idle_s=5), boot_timeout_ms=600_000))
        w.submit_spec(wide())
        w.boots(name_of(1))
        w.later(60)
        assert w.slices[name_of(1)] == "READY"

    def test_it_is_kept_while_its_group_waits_and_completed_after_that(self) -> None:
        w = world(pair(idle_s=2))
        job = w.submit_spec(wide())
        w.boots(name_of(1))
        w.create_fails(name_of(2), Failure.NO_CAPACITY, "none left")
        w.absent(name_of(2))
        code, words = waits(w, job)
        assert code == "stockout"
        assert words.startswith(
            "waits for 2 slices of local at once: 1 is there; local waits 5s after 1 failed"
        )
        w.later(4)
        assert w.slices == {name_of(1): "READY"}
        w.later(10)
        assert w.slices == {name_of(1): "READY", name_of(3): "REQUESTING"}
        w.boots(name_of(3))
        assert w.states(job) == ["ASSIGNED"] * 4

    def test_it_is_kept_while_the_lost_one_is_being_deleted(self) -> None:
        w, job, agents = out(pair(at_most=2, idle_s=5), failures=1)
        w.preempts(name_of(1))
        for index, agent in enumerate(agents):
            agent.says(w.attempt(job, index), failed() if index == 0 else killed("gang"))
        w.later(30)
        assert w.slices == {name_of(1): "DELETING", name_of(2): "READY"}
        assert waits(w, job) == (
            "at_max_slices",
            "waits for 2 slices of local at once: 1 is there; local has all of its 2 slices",
        )
        w.absent(name_of(1))
        assert creates(w.effects) == [name_of(3)]

    def test_it_is_kept_while_another_is_silent(self) -> None:
        """Else one goes whenever another is late with a beat, and is asked for again, for ever."""
        w = world(replace(pair(at_most=3, idle_s=5), boot_timeout_ms=600_000))
        job = w.submit_spec(wide(6, 3))
        w.boots(name_of(1))[0].silent = True
        w.boots(name_of(2))
        w.later(40)
        w.boots(name_of(3))
        assert w.slices == {name_of(n): "READY" for n in (1, 2, 3)}
        assert waits(w, job) == (
            "silent",
            "waits for 3 slices of local at once: 2 are there, 1 is silent",
        )
        w.later(20)
        assert list(w.slices.values()) == ["READY"] * 3
        w.agent(name_of(1)).beats()
        assert w.states(job) == ["ASSIGNED"] * 6

    def test_without_a_gang_that_waits_it_is_given_back(self) -> None:
        w = world(pair(idle_s=5))
        job = w.submit_spec(wide())
        w.boots(name_of(1))
        w.later(10)
        w.stop(job)
        w.tick(1)
        assert w.slices[name_of(1)] in ("DRAINING", "DELETING")

    def test_it_is_not_kept_where_the_rest_cannot_come(self) -> None:
        w = world(pair(at_most=2, idle_s=5))
        busy = w.submit_spec(spec(2, gang=True))
        free = w.submit_spec(spec(2, gang=True))
        agents = w.boots(*w.slices)
        w.submit_spec(wide())
        for index in (0, 1):
            agents[2 + index].says(w.attempt(free, index), succeeded())
        w.later(10)
        assert w.slices == {name_of(1): "READY", name_of(2): "DELETING"}
        assert w.states(busy) == ["ASSIGNED"] * 2

    def test_a_buffer_is_kept_beside_it(self) -> None:
        w = world(replace(pair(), buffer_slices=1))
        w.tick()
        w.boots(w.only)
        w.submit_spec(wide())
        assert len(w.slices) == 3


class TestZones:
    def pods(self, at_most: int = 2, at_least: int = 0) -> Scene:
        w = world(cloud("pod", hosts=2, cpu=1, at_most=at_most, at_least=at_least))
        w.tick(60)
        return w

    def test_all_of_it_is_in_one_zone(self) -> None:
        w = self.pods(at_most=4)
        job = w.submit_spec(wide())
        one, two = w.slices
        w.boots(one)
        w.create_fails(two, Failure.NO_CAPACITY)
        # The other zone has room for all of it.
        assert zones(w.effects) == ["zone-b", "zone-b"]
        assert waits(w, job)[1] == "waits for 2 slices of pod in zone-b at once: 2 are being asked for"

    def test_what_is_free_in_two_zones_is_no_place_for_one_gang(self) -> None:
        w = self.pods(at_most=3, at_least=2)
        here, there = w.slices
        w.boots(here)
        w.create_fails(there, Failure.NO_CAPACITY)
        w.boots(*creates(w.effects))
        job = w.submit_spec(wide())
        assert (w.states(job), zones(w.effects)) == (["PENDING"] * 4, ["zone-b"])

    def test_the_rest_is_asked_for_where_it_was_begun(self) -> None:
        """Though another zone comes first: that one has not room enough."""
        w = self.pods(at_most=2, at_least=1)
        w.create_fails(w.only, Failure.NO_CAPACITY)
        (there,) = creates(w.effects)
        w.boots(there)
        assert w.world.slices[there].zone == "zone-b"
        w.later(30)
        job = w.submit_spec(wide())
        assert zones(w.effects) == ["zone-b"]
        w.boots(*creates(w.effects))
        assert w.states(job) == ["ASSIGNED"] * 4


class TestOutcome:
    def test_one_slice_lost_and_all_of_it_runs_again_on_as_many(self) -> None:
        w, job, agents = out()
        w.preempts(name_of(1))
        w.absent(name_of(1))
        assert [dict.fromkeys(agent.stopped.values()) for agent in agents[2:]] == [{"gang": None}] * 2
        assert w.states(job) == ["RUNNING"] * 4
        for index in (2, 3):
            agents[index].says(w.attempt(job, index), failed())
        assert [(w.task(job, i).failures, w.task(job, i).losses) for i in range(4)] == [(0, 1)] * 4
        # What is left of it counts.
        (third,) = [name for name in w.slices if name not in (name_of(1), name_of(2))]
        w.boots(third)
        assert places(w, job) == [(name, host) for name in (name_of(2), third) for host in (0, 1)]
        assert {w.attempt(job, i).number for i in range(4)} == {2}

    def test_b52_a_failure_on_one_slice_stops_the_members_on_the_other(self) -> None:
        w, job, agents = out(failures=1)
        agents[3].says(w.attempt(job, 3), failed())
        assert [list(agent.stopped.values()) for agent in agents] == [["gang"], ["gang"], ["gang"], []]
        for index in (0, 1, 2):
            agents[index].says(w.attempt(job, index), killed("gang"))
        assert w.states(job) == ["ASSIGNED"] * 4
        assert [(w.task(job, i).failures, w.task(job, i).losses) for i in range(4)] == [(1, 0)] * 4

    def test_all_are_released_with_the_addresses_of_all(self) -> None:
        _, _, agents = out()
        addresses = [list(agent.released.values()) for agent in agents]
        assert addresses == [addresses[0]] * 4
        assert len(addresses[0][0]) == 4

    def test_b43_a_restart_finds_it_as_it_was(self) -> None:
        w, job, agents = out()
        ids = [w.attempt(job, i) for i in range(4)]
        w.restart()
        for index, agent in enumerate(agents):
            again = w.agent(*agent.place)
            again.hello(observed(ids[index], job=w.world.jobs[job].spec))
            assert again.verdicts == {ids[index]: "KEEP"}
        assert (w.states(job), w.world.jobs[job].spec.slices) == (["RUNNING"] * 4, 2)

    def test_b45_a_store_that_was_lost_adopts_it_whole(self) -> None:
        before, job, agents = out()
        told = [observed(before.attempt(job, i), job=before.world.jobs[job].spec) for i in range(4)]
        w = world(pair())
        for agent, seen in zip(agents, told, strict=True):
            w.agent(*agent.place).hello(seen)
        assert (w.states(job), w.world.jobs[job].spec.shape) == (
            ["RUNNING"] * 4,
            Shape(Resources(1000), 4, "", 2),
        )

    def test_a_share_that_has_ended_needs_its_slice_no_more(self) -> None:
        w, job, agents = out()
        for index in (0, 1):
            agents[index].says(w.attempt(job, index), succeeded())
        other = w.submit_spec(spec(2, gang=True))
        assert (w.states(job), places(w, other)) == (["RUNNING"] * 4, [(name_of(1), 0), (name_of(1), 1)])
