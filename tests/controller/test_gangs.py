"""Gangs: together on one slice or not at all, released together, judged and run again as a whole."""

from dataclasses import replace

import pytest

from iris_controller.core import states as s
from iris_controller.core.queue import Turn
from iris_controller.core.scheduler import Placed, place
from iris_controller.core.values import Place, Resources, Shape
from iris_platform.base import VmState
from tests.controller.agents import Agent, address_of, failed, killed, observed, spec, succeeded
from tests.controller.shapes import queue, rooms
from tests.controller.worlds import Scene, creates, deletes, group, name_of, world


def gang(w: Scene, tasks: int = 4, *, cpu: float = 1, failures: int = 0, losses: int = 100) -> str:
    return w.submit_spec(spec(tasks, cpu, failures=failures, losses=losses, gang=True))


def out(
    tasks: int = 4, *, hosts: int = 4, failures: int = 0, losses: int = 100
) -> tuple[Scene, str, list[Agent]]:
    """A gang that was assigned, one member to a host."""
    w = world(group(hosts=hosts, cpu=1, at_most=3))
    job = gang(w, tasks, failures=failures, losses=losses)
    return w, job, w.boots(w.only)


def running(**budgets: int) -> tuple[Scene, str, list[Agent]]:
    w, job, agents = out(**budgets)
    for index, agent in enumerate(agents):
        agent.prepares(w.attempt(job, index))
    for index, agent in enumerate(agents):
        agent.runs(w.attempt(job, index))
    return w, job, agents


class TestPlacement:
    def test_b12_one_slice_and_all_start_together(self) -> None:
        w = world(group(hosts=4, cpu=1, at_most=9))
        job = gang(w, 4)
        assert len(w.slices) == 1
        agents = w.boots(w.only)
        assert w.states(job) == ["ASSIGNED"] * 4
        assert [[a.task_index for a in agent.started] for agent in agents] == [[0], [1], [2], [3]]

    def test_members_share_a_host_where_there_is_room(self) -> None:
        w = world(group(hosts=2, cpu=2, at_most=9))
        job = gang(w, 3)
        agents = w.boots(w.only)
        assert [len(agent.started) for agent in agents] == [2, 1]
        assert w.states(job) == ["ASSIGNED"] * 3

    def test_what_is_free_on_two_slices_is_no_place_for_one_gang(self) -> None:
        w = world(group(hosts=2, cpu=2, at_most=2))
        small = w.submit(tasks=6)
        w.boots(*w.slices)
        assert w.states(small) == ["ASSIGNED"] * 6
        job = gang(w, 2, cpu=1)
        # Two processors are free on the second slice; the first is full.
        assert w.states(job) == ["ASSIGNED"] * 2
        other = gang(w, 2)
        assert (w.states(other), w.wait_reason(other)) == (["PENDING"] * 2, "at_max_slices")

    def test_a_gang_that_waits_lets_single_tasks_pass(self) -> None:
        w = world(group(hosts=2, cpu=2))
        w.submit(tasks=2)
        w.boots(w.only)
        waiting, single = gang(w, 3), w.submit()
        assert (w.states(waiting), w.states(single)) == (["PENDING"] * 3, ["ASSIGNED"])

    def test_two_gangs_are_demand_for_two_slices(self) -> None:
        w = world(group(hosts=4, cpu=1, at_most=9))
        gang(w, 4)
        gang(w, 3)
        assert len(w.slices) == 2

    def test_the_walk_goes_on_from_the_slice_that_still_has_room(self) -> None:
        pending = queue()
        shape = Shape(Resources(1000), 2)
        for number in range(3):
            pending.add(shape, Turn(number, f"j{number}"), range(2))
        three = rooms(*[Resources(2000)] * 3)
        free = [one._replace(place=Place("s" if i < 2 else "t", i)) for i, one in enumerate(three)]
        assert place(pending, free) == [
            Placed("j0", shape, Place("s", 0), 2),
            Placed("j1", shape, Place("s", 1), 2),
            Placed("j2", shape, Place("t", 2), 2),
        ]


class TestRendezvous:
    def test_all_are_released_when_the_last_has_its_address(self) -> None:
        w, job, agents = out()
        ids = [w.attempt(job, i) for i in range(4)]
        for index in (2, 0, 3):
            agents[index].prepares(ids[index])
        assert [agent.released for agent in agents] == [{}] * 4
        assert w.states(job) == ["PREPARING", "ASSIGNED", "PREPARING", "PREPARING"]
        agents[1].prepares(ids[1])
        where = tuple(address_of(one) for one in ids)
        assert [agent.released for agent in agents] == [{one: where} for one in ids]

    def test_who_had_no_stream_is_released_at_its_hello(self) -> None:
        w, job, agents = out()
        ids = [w.attempt(job, i) for i in range(4)]
        for index in (0, 1, 2, 3):
            agents[index].prepares(ids[index])
            if index == 2:
                agents[2].hangs_up()
        assert agents[2].released == {}
        agents[0].runs(ids[0])
        agents[0].says(ids[0], succeeded())
        agents[2].hello(
            observed(ids[2], s.AttemptPreparing(), job=w.world.jobs[job].spec, address=address_of(ids[2]))
        )
        assert set(agents[2].released) == {ids[2]}

    def test_a_restart_in_the_middle_releases_all(self) -> None:
        w, job, agents = out()
        ids = [w.attempt(job, i) for i in range(4)]
        agents[0].prepares(ids[0])
        w.restart()
        again = [w.agent(w.only, i) for i in range(4)]
        again[0].hello(observed(ids[0], s.AttemptPreparing(), address=address_of(ids[0])))
        for index in (1, 2, 3):
            again[index].hello()
            assert again[index].started == [ids[index]]
            again[index].prepares(ids[index])
        assert [set(agent.released) for agent in again] == [{one} for one in ids]

    def test_addresses_of_an_earlier_round_are_not_told(self) -> None:
        w, job, agents = running(failures=1)
        agents[1].says(w.attempt(job, 1), failed())
        for index in (0, 2, 3):
            agents[index].says(w.attempt(job, index), killed("gang"))
        for agent in agents:
            agent.released.clear()
        agents[0].prepares(w.attempt(job, 0))
        assert agents[0].released == {}


class TestOutcome:
    def test_it_succeeds_as_a_whole(self) -> None:
        w, job, agents = running()
        for index, agent in enumerate(agents):
            agent.says(w.attempt(job, index), succeeded())
            expected = ["RUNNING"] * 4 if index < 3 else ["SUCCEEDED"] * 4
            assert w.states(job) == expected
        assert (w.job(job), w.task(job).failures) == ("SUCCEEDED", 0)

    def test_b52_one_failure_restarts_all_of_it_once(self) -> None:
        w, job, agents = running(failures=1)
        agents[0].says(w.attempt(job, 0), succeeded())
        agents[1].says(w.attempt(job, 1), failed())
        assert w.states(job) == ["RUNNING"] * 4
        assert [list(agent.stopped.values()) for agent in agents] == [[], [], ["gang"], ["gang"]]
        first = w.attempt(job, 2)
        agents[2].says(first, killed("gang"))
        # The other members fail because their peers are gone: that is one failure, not two.
        agents[3].says(w.attempt(job, 3), failed())
        assert w.states(job) == ["ASSIGNED"] * 4
        assert [w.task(job, i).failures for i in range(4)] == [1] * 4
        assert {w.attempt(job, i).round for i in range(4)} == {(first.epoch, 2)}
        assert w.told("job") == ["SUBMITTED", "RUNNING", "RETRY exit"]
        assert [agent.started[-1].task_index for agent in agents] == [0, 1, 2, 3]

    def test_b52_a_terminal_failure_stops_all_members(self) -> None:
        w, job, agents = running(failures=0)
        agents[2].says(w.attempt(job, 2), failed())
        for index in (0, 1, 3):
            agents[index].says(w.attempt(job, index), killed("gang"))
        assert w.states(job) == ["KILLED", "KILLED", "FAILED", "KILLED"]
        status = w.world.statuses[job]
        assert (status.state.name, status.reason.message) == ("FAILED", "task 2 exit of the program")
        assert w.task(job, 0).reason.message == "task 2 exit of the program"

    def test_a_loss_spends_one_loss_and_no_failure(self) -> None:
        w, job, agents = running(failures=0, losses=1)
        name = w.only
        w.preempts(name)
        agents[0].says(w.attempt(job, 0), failed())
        w.absent(name)
        assert [(w.task(job, i).failures, w.task(job, i).losses) for i in range(4)] == [(0, 1)] * 4
        assert w.states(job) == ["PENDING"] * 4

    def test_a_stop_that_was_ours_spends_nothing(self) -> None:
        w, job, agents = running(losses=0)
        w.shut_down()
        assert [list(agent.stopped.values()) for agent in agents] == [["cluster_stop"]] * 4
        agents[0].says(w.attempt(job, 0), failed())
        for index in (1, 2, 3):
            agents[index].says(w.attempt(job, index), killed("cluster_stop"))
        assert [(w.task(job, i).failures, w.task(job, i).losses) for i in range(4)] == [(0, 0)] * 4
        assert (w.states(job), w.job(job)) == (["PENDING"] * 4, "PENDING")

    def test_losses_beyond_the_budget_end_it(self) -> None:
        w, job, _ = running(losses=0)
        w.preempts(w.only)
        w.absent(name_of(1))
        assert (w.states(job), w.job(job)) == (["FAILED"] * 4, "FAILED")

    def test_a_stopped_job_keeps_what_succeeded(self) -> None:
        w, job, agents = running()
        agents[3].says(w.attempt(job, 3), succeeded())
        w.stop(job)
        for index in (0, 1, 2):
            agents[index].says(w.attempt(job, index), killed("job_stopped"))
        assert w.states(job) == ["KILLED", "KILLED", "KILLED", "SUCCEEDED"]
        assert w.job(job) == "KILLED"

    def test_one_dead_host_of_four_runs_all_of_it_elsewhere(self) -> None:
        w, job, _ = running()
        first = w.only
        effects = w.shows(first, VmState.RUNNING, VmState.TERMINATED, VmState.RUNNING, VmState.RUNNING)
        assert (deletes(effects), w.states(job)) == ([first], ["RUNNING"] * 4)
        effects = w.absent(first)
        assert (creates(effects), w.states(job)) == ([name_of(2)], ["PENDING"] * 4)
        w.boots(name_of(2))
        assert {w.attempt(job, i).number for i in range(4)} == {2}


class TestCrashes:
    def test_a_broken_gang_is_stopped_after_a_restart_too(self) -> None:
        w, job, agents = running(failures=1)
        agents[1].says(w.attempt(job, 1), failed())
        ids = [w.attempt(job, i) for i in range(4)]
        w.restart()
        agent = w.agent(w.only, 2)
        agent.hello(observed(ids[2]))
        assert agent.verdicts == {ids[2]: "STOP gang"}

    def test_a_member_that_was_never_told_costs_nothing_when_its_gang_breaks(self) -> None:
        w, job, agents = out(failures=1, losses=0)
        agents[3].hangs_up()
        agents[0].says(w.attempt(job, 0), failed("no_command"))
        for index in (1, 2):
            agents[index].says(w.attempt(job, index), killed("gang"))
        agents[3].hello()
        assert agents[3].started == []
        agents[3].beats()
        assert (w.states(job), w.task(job).losses, w.task(job).failures) == (["ASSIGNED"] * 4, 0, 1)

    @pytest.mark.parametrize("code", ["keeper_lost", "lease_expired", "no_port"])
    def test_a_host_that_could_not_is_a_loss(self, code: str) -> None:
        w, job, agents = out(losses=5)
        agents[0].says(w.attempt(job, 0), killed(code))
        for index in (1, 2, 3):
            agents[index].says(w.attempt(job, index), killed("gang"))
        assert [(w.task(job, i).failures, w.task(job, i).losses) for i in range(4)] == [(0, 1)] * 4

    def test_a_late_success_of_one_member_is_no_success(self) -> None:
        w, job, _ = running()
        ids = [w.attempt(job, i) for i in range(4)]
        w.restart()
        again = [w.agent(w.only, i) for i in range(4)]
        again[0].hello()
        again[0].beats()
        assert isinstance(w.task(job).attempt.state, s.AttemptWorkerLost)  # type: ignore[union-attr]
        again[0].says(ids[0], succeeded())
        for index in (1, 2, 3):
            again[index].hello(observed(ids[index], killed("gang")))
        assert (w.task(job).attempts, w.task(job).losses) == (2, 1)


def test_one_task_alone_is_no_gang() -> None:
    w = world(group())
    job = w.submit_spec(replace(spec(1), gang=True))
    (agent,) = w.boots(w.only)
    agent.says(w.attempt(job), succeeded())
    assert w.job(job) == "SUCCEEDED"
