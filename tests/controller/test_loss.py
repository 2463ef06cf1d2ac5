"""Silence, dead hosts and preempted slices: what is done at once, and what waits for a fence."""

import pytest

from iris_controller.core import states as s
from iris_controller.core.leases import UNHEARD
from iris_controller.core.states import WorkerState
from iris_platform.base import SliceCloudState, VmState
from tests.controller.agents import Agent, observed, succeeded
from tests.controller.worlds import Scene, deletes, group, looks, world


def running(hosts: int = 1) -> tuple[Scene, str, list[Agent]]:
    """A slice whose every host runs one whole-host task."""
    w = world(group(hosts=hosts, cpu=1, at_most=2))
    job = w.submit(tasks=hosts)
    agents = w.boots(w.only)
    for agent in agents:
        agent.runs(agent.started[0])
    return w, job, agents


class TestSilence:
    """No contact is no knowledge."""

    def test_a_silent_worker_is_suspect_after_its_time_and_is_looked_at(self) -> None:
        w, job, (agent,) = running()
        agent.silent = True
        assert looks(w.later(30)) == []
        assert looks(w.tick(1)) == [w.only]
        worker = w.world.workers[agent.place]
        assert (worker.state, worker.reason.message) == (WorkerState.SUSPECT, "no contact for 31s")
        assert w.states(job) == ["RUNNING"]

    def test_nothing_new_is_placed_on_it(self) -> None:
        w = world(group(cpu=4))
        w.submit()
        (agent,) = w.boots(w.only)
        agent.silent = True
        w.later(31)
        job = w.submit()
        assert w.states(job) == ["PENDING"]
        agent.beats()
        assert w.states(job) == ["ASSIGNED"]

    @pytest.mark.parametrize("contact", ["beat", "report", "hello"])
    def test_any_contact_brings_it_back(self, contact: str) -> None:
        w, job, (agent,) = running()
        agent.silent = True
        w.later(40)
        match contact:
            case "beat":
                agent.beats()
            case "report":
                agent.runs(w.attempt(job))
            case _:
                agent.hello(observed(w.attempt(job)))
        assert w.world.workers[agent.place].state is WorkerState.HEALTHY
        assert (w.states(job), w.task(job).losses) == (["RUNNING"], 0)

    def test_the_end_of_a_stream_is_not_silence(self) -> None:
        w, _, (agent,) = running()
        agent.hangs_up()
        assert w.world.workers[agent.place].state is WorkerState.HEALTHY

    def test_after_a_restart_everybody_has_time_to_dial(self) -> None:
        w, _, (agent,) = running()
        w.restart(down_s=3600)
        w.later(30)
        assert w.world.workers[agent.place].state is WorkerState.HEALTHY
        w.later(1)
        assert w.world.workers[agent.place].state is WorkerState.SUSPECT

    def test_a_silence_that_an_earlier_controller_measured_is_measured_again(self) -> None:
        w, _, (agent,) = running()
        agent.silent = True
        w.later(40)
        w.restart(down_s=5)
        worker = w.world.workers[agent.place]
        assert (worker.state, worker.reason) == (WorkerState.SUSPECT, UNHEARD)
        w.later(31)
        assert w.world.workers[agent.place].reason.message == "no contact for 31s"

    def test_b43_a_stall_of_our_own_ends_nothing(self) -> None:
        w, job, (agent,) = running()
        w.tick(24 * 3600)
        assert (w.states(job), w.slices) == (["RUNNING"], {w.only: "READY"})
        agent.beats()
        assert w.world.workers[agent.place].state is WorkerState.HEALTHY

    def test_a_clock_that_is_set_makes_nobody_suspect(self) -> None:
        w, _, (agent,) = running()
        w.wall_clock_jumps(24 * 3600)
        w.tick(1)
        assert w.world.workers[agent.place].state is WorkerState.HEALTHY


class TestDeadHost:
    """B32: one dead host fails its slice; its tasks wait for the fence."""

    def test_b32_the_slice_is_deleted_and_its_tasks_are_retried_once_it_is_gone(self) -> None:
        w, job, _ = running(hosts=2)
        name = w.only
        w.shows(name, VmState.RUNNING, VmState.TERMINATED)
        assert (deletes(w.effects), w.states(job)) == ([name], ["RUNNING", "RUNNING"])
        w.later(5)
        assert w.states(job) == ["RUNNING", "RUNNING"]
        w.absent(name)
        assert w.states(job) == ["PENDING", "PENDING"]
        assert [w.task(job, i).losses for i in range(2)] == [1, 1]

    def test_b32_they_run_elsewhere_exactly_once(self) -> None:
        w, job, _ = running()
        name = w.only
        w.shows(name, VmState.FAILED)
        w.absent(name)
        w.later(11)
        (agent,) = w.boots(w.only)
        assert agent.started == [w.attempt(job)]
        assert w.attempt(job).number == 2

    def test_what_ends_before_the_fence_counts_as_it_ended(self) -> None:
        w, job, agents = running(hosts=2)
        name = w.only
        w.shows(name, VmState.RUNNING, VmState.FAILED)
        agents[0].says(agents[0].started[0], succeeded())
        w.absent(name)
        assert w.states(job) == ["SUCCEEDED", "PENDING"]

    def test_its_workers_are_lost_and_their_sessions_end(self) -> None:
        w, _, (agent,) = running()
        name = w.only
        w.shows(name, VmState.FAILED)
        w.absent(name)
        assert agent.refused == "deleted_slice"
        assert agent.beats() == []
        assert w.world.workers[agent.place].state is WorkerState.LOST

    def test_a_slice_that_vanished_is_looked_at_twice(self) -> None:
        w, job, _ = running()
        name = w.only
        assert looks(w.tick(1) and w.lists()) == [name]
        assert w.slices == {name: "READY"}
        w.absent(name)
        assert (w.slices, w.states(job)) == ({name: "DELETING"}, ["RUNNING"])
        w.absent(name)
        assert w.states(job) == ["PENDING"]

    def test_losing_one_too_many_fails_the_job_with_the_reason(self) -> None:
        w = world(group())
        job = w.submit(losses=0)
        w.boots(w.only)
        name = w.only
        w.shows(name, VmState.FAILED, detail="host 0: kernel panic")
        w.absent(name)
        assert w.job(job) == "FAILED"
        assert w.world.statuses[job].reason.message == "host 0: kernel panic"


class TestPreemption:
    """B35: the provider takes a slice back."""

    def test_b35_a_preempted_slice_is_deleted_though_it_is_still_listed(self) -> None:
        w, job, _ = running()
        name = w.only
        assert deletes(w.preempts(name)) == [name]
        assert w.states(job) == ["RUNNING"]
        w.preempts(name)
        w.absent(name)
        assert (w.is_gone(name), w.task(job).losses) == (True, 1)

    def test_its_attempts_are_preempted_not_lost(self) -> None:
        w, job, _ = running()
        name = w.only
        w.preempts(name)
        w.absent(name)
        attempt = w.task(job).attempt
        assert attempt is not None and isinstance(attempt.state, s.AttemptPreempted)

    @pytest.mark.parametrize("state", [SliceCloudState.FAILED, SliceCloudState.DELETING])
    def test_somebody_else_deletes_or_breaks_it(self, state: SliceCloudState) -> None:
        w, _, _ = running()
        name = w.only
        assert deletes(w.shows(name, state=state)) == [name]
        assert w.reason(name) == "host_dead"


def test_a_deletion_that_is_wanted_costs_no_budget() -> None:
    w, job, _ = running()
    name = w.only
    w.shut_down()
    w.later(42)
    w.absent(name)
    assert (w.states(job), w.task(job).losses) == (["PENDING"], 0)


def test_what_is_not_there_any_more_is_not_heard_for_ever() -> None:
    w, job, (agent,) = running()
    name = w.only
    w.stop(job)
    w.shows(name, VmState.FAILED)
    w.absent(name)
    w.tick(8 * 24 * 3600 + 1)
    assert agent.beats() == []
    assert w.world.workers == {}
