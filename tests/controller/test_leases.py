"""Leases (DESIGN 7): what may be concluded from silence, and when."""

import pytest

from iris_controller.core.states import WorkerState
from tests.controller.agents import Agent
from tests.controller.worlds import Scene, creates, deletes, group, world

LEASE_S = 600
# The controller's lease: 5 % and 5 s longer.
OVER_S = 635


def running(**policy: float | None) -> tuple[Scene, str, Agent]:
    w = world(group(at_most=3, idle_s=100_000, **policy))  # type: ignore[arg-type]
    job = w.submit(cpu=4)
    (agent,) = w.boots(w.only)
    agent.runs(w.attempt(job))
    return w, job, agent


class TestLocal:
    """Only the process table counts: a deletion that is confirmed."""

    def test_b42_silence_within_the_lease_changes_nothing(self) -> None:
        w, job, agent = running()
        agent.silent = True
        assert deletes(w.later(OVER_S)) == []
        assert (w.states(job), w.slices) == (["RUNNING"], {w.only: "READY"})
        agent.beats()
        assert w.world.workers[agent.place].state is WorkerState.HEALTHY

    def test_b42_beyond_it_the_slice_is_deleted_and_that_is_the_fence(self) -> None:
        w, job, agent = running()
        agent.silent = True
        name = w.only
        assert set(deletes(w.later(OVER_S + 1))) == {name}
        assert (w.states(job), w.reason(name)) == (["RUNNING"], "silent")
        effects = w.absent(name)
        assert (w.states(job), w.task(job).losses, len(creates(effects))) == (["PENDING"], 1, 1)


class TestSupervised:
    """Hosts over SSH: the lease itself is a fence."""

    def test_b42_its_tasks_go_elsewhere_when_the_lease_and_its_margin_are_over(self) -> None:
        w, job, agent = running(fence_s=None)
        agent.silent = True
        w.later(OVER_S)
        assert w.states(job) == ["RUNNING"]
        effects = w.later(1)
        assert deletes(effects) == [agent.place.slice_name]
        assert w.task(job).reason.code == "lease_expired"
        assert (w.states(job), w.task(job).losses) == (["PENDING"], 1)

    def test_the_other_hosts_of_the_slice_keep_theirs_until_it_is_gone(self) -> None:
        w = world(group(hosts=2, fence_s=None, idle_s=100_000))
        job = w.submit(tasks=2, cpu=4)
        silent, other = w.boots(w.only)
        for index, agent in enumerate((silent, other)):
            agent.runs(w.attempt(job, index))
        silent.silent = True
        w.later(OVER_S + 1)
        assert w.states(job) == ["PENDING", "RUNNING"]
        w.absent(silent.place.slice_name)
        assert w.states(job) == ["PENDING", "PENDING"]


class TestCloud:
    """Deleted on suspicion, to get a fence; but not by a controller that was away itself."""

    def cut_off(self, slices: int, silent: int) -> Scene:
        w = world(group(at_most=slices, lease_s=LEASE_S, fence_s=120, idle_s=100_000))
        w.submit(tasks=slices, cpu=4)
        agents = w.boots(*w.slices)
        w.later(LEASE_S + 10)
        for agent in agents[:silent]:
            agent.silent = True
        return w

    def test_b42_it_is_deleted_after_fence_after(self) -> None:
        w = self.cut_off(3, 1)
        assert deletes(w.later(120)) == []
        assert len(deletes(w.later(1))) == 1

    @pytest.mark.parametrize(("slices", "silent", "deleted"), [(3, 2, 2), (4, 3, 0), (30, 3, 3), (30, 4, 0)])
    def test_more_than_a_few_at_once_is_our_own_outage(self, slices: int, silent: int, deleted: int) -> None:
        w = self.cut_off(slices, silent)
        assert len(set(deletes(w.later(125)))) == deleted

    def test_nor_does_it_count_when_they_fall_silent_one_after_the_other(self) -> None:
        w = self.cut_off(4, 0)
        for name in list(w.slices):
            w.agent(name).silent = True
            w.later(7)
        assert deletes(w.later(LEASE_S)) == []

    def test_one_that_is_being_deleted_still_counts_when_it_speaks_again(self) -> None:
        w = self.cut_off(3, 2)
        first, second, third = w.slices
        assert set(deletes(w.later(125))) == {first, second}
        w.agent(first).silent = False
        w.later(10)
        w.agent(third).silent = True
        assert third not in deletes(w.later(125))

    def test_then_leases_decide(self) -> None:
        w = self.cut_off(4, 4)
        assert deletes(w.later(OVER_S - 5)) == []
        assert len(set(deletes(w.later(10)))) == 4

    @pytest.mark.parametrize("away", ["restart", "stall"])
    def test_not_within_a_lease_of_our_own_start_or_stall(self, away: str) -> None:
        w = self.cut_off(1, 1)
        if away == "restart":
            w.restart()
        else:
            w.tick(3600)
        assert deletes(w.later(LEASE_S)) == []
        assert len(set(deletes(w.later(OVER_S)))) == 1


class TestStall:
    @pytest.mark.parametrize("seconds", [3, 700, 24 * 3600])
    def test_b43_on_waking_everybody_has_a_lease_to_report(self, seconds: int) -> None:
        w, job, agent = running(fence_s=None)
        agent.silent = True
        w.later(500)
        w.tick(seconds)
        assert deletes(w.later(OVER_S)) == []
        assert w.states(job) == ["RUNNING"]
        assert "STALLED stalled" in w.told("cluster")
        agent.beats()
        assert w.world.workers[agent.place].state is WorkerState.HEALTHY

    def test_a_slice_that_is_booting_gets_its_time_again(self) -> None:
        w = world(group(boot_s=30))
        w.submit()
        w.tick(3600)
        assert w.slices == {w.only: "REQUESTING"}
        w.seconds(31)
        w.absent(w.only)
        assert w.slices == {w.only: "DELETING"}


class TestPlace:
    """One live boot id per place."""

    @pytest.mark.parametrize(("silent_s", "refused"), [(OVER_S, "place_taken"), (OVER_S + 1, "")])
    def test_a_stranger_takes_it_once_the_lease_is_over(self, silent_s: int, refused: str) -> None:
        w = world(group(hosts=2, boot_s=10_000))
        w.submit()
        agent = w.agent(w.only, 0)
        agent.hello()
        w.seconds(silent_s)
        agent.reboots(quotes=False)
        assert agent.refused == refused
