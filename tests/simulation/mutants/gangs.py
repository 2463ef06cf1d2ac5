"""Gangs: placed, released, judged and charged together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from iris_controller.core import demand, ends, orders, workers
from iris_controller.core import states as s
from iris_controller.core.entities import Job, Task
from iris_controller.core.scheduler import Placed, _Floor, _Gangs, _WideGangs
from iris_controller.core.values import AttemptId, Lot, Now, TaskId
from iris_controller.core.world import World
from tests.simulation.mutants.registry import Patch, breaks_a_rule


@breaks_a_rule(seed=9)
def a_gang_is_placed_in_parts(patch: Patch) -> None:
    def place(self: _Gangs, job_id: str, waiting: int) -> list[Placed]:
        while waiting == self._shape.together and not self.at_end:
            shares = self._shares(self._slices[self._here])
            if shares:
                return [self._give(job_id, here, count) for here, count in shares.items()]
            self._here += 1
        return []

    patch.setattr(_Gangs, "place", place)


@breaks_a_rule(seed=14)
def a_gangs_share_goes_where_part_of_it_has_room(patch: Patch) -> None:
    patch.setattr(_WideGangs, "_has_room", lambda self, rooms: bool(self._shares(rooms)))


@breaks_a_rule(seed=64)
def a_gangs_slices_are_anybodys(patch: Patch) -> None:
    patch.setattr(_Floor, "lot", lambda self, slice_: Lot("", ""))


@breaks_a_rule(seed=114)
def what_a_gang_waits_with_is_given_back(patch: Patch) -> None:
    real = demand.route

    def route(*arguments: Any) -> demand.Demand:
        return replace(real(*arguments), kept=frozenset())

    patch.setattr("iris_controller.core.autoscaler.route", route)


@breaks_a_rule(seed=114)
def what_is_silent_for_a_moment_counts_no_more(patch: Patch) -> None:
    patch.setattr(demand, "_offer_silent", lambda offers, groups: None)


@breaks_a_rule(seed=2)
def a_gang_is_released_early(patch: Patch) -> None:
    def release(world: World, job: Job) -> None:
        members = [world.tasks.get(TaskId(job.job_id, index)) for index in range(job.spec.replicas)]
        known = [m.attempt for m in members if m is not None and m.attempt is not None]
        for attempt in known:
            session = world.session(attempt.place)
            if session is not None and isinstance(attempt.state, s.AttemptPreparing):
                session.release[attempt.id] = tuple(a.address for a in known)

    patch.setattr("iris_controller.core.attempts.release_gang", release)


@breaks_a_rule(seed=1)
def a_gang_is_told_its_addresses_in_any_order(patch: Patch) -> None:
    real = orders.release_gang

    def release(world: World, job: Job) -> None:
        real(world, job)
        for session in world.sessions.values():
            for attempt_id, addresses in session.release.items():
                if attempt_id.job_id == job.job_id:
                    session.release[attempt_id] = addresses[::-1]

    patch.setattr("iris_controller.core.attempts.release_gang", release)


@breaks_a_rule(seed=13)
def a_gang_is_released_once(patch: Patch) -> None:
    real = orders.release_gang
    done: dict[AttemptId, None] = {}

    def release(world: World, job: Job) -> None:
        real(world, job)
        for session in world.sessions.values():
            for attempt_id in [a for a in session.release if a in done]:
                del session.release[attempt_id]
            done.update(dict.fromkeys(session.release))

    patch.setattr("iris_controller.core.attempts.release_gang", release)


@breaks_a_rule(seed=1)
def a_member_is_retried_alone(patch: Patch) -> None:
    def settle(world: World, task: Task, now: Now) -> None:
        ends._settle_alone(world, world.jobs[task.id.job_id], task, now)

    patch.setattr("iris_controller.core.attempts.settle", settle)


@breaks_a_rule(seed=36)
def a_gang_is_charged_for_each_member(patch: Patch) -> None:
    real = ends._charged

    def charged(task: Task, fault: ends.Fault, members: Sequence[Task]) -> Task:
        spent = real(task, fault, members)
        if fault is not ends.Fault.PROGRAM or len(members) == 1:
            return spent
        guilty = sum(1 for m in members if ends.fault_of(m.attempt) is fault)
        return replace(spent, failures=spent.failures + guilty - 1)

    patch.setattr(ends, "_charged", charged)


@breaks_a_rule(seed=1)
def a_gang_is_judged_before_all_have_ended(patch: Patch) -> None:
    real = ends._judge_gang

    def judge(world: World, job: Job, now: Now) -> None:
        count = world.live_of.get(job.job_id, 0)
        world.live_of[job.job_id] = 0
        real(world, job, now)
        world.live_of[job.job_id] += count

    patch.setattr(ends, "_judge_gang", judge)


@breaks_a_rule(seed=143)
def half_a_gang_runs_on(patch: Patch) -> None:
    def stop(world: World, attempt_id: AttemptId, reason: str) -> None:
        if reason != ends.GANG_STOP:
            orders.order_stop(world, attempt_id, reason)

    real = workers._settle

    def settle(world: World, *arguments: Any) -> Any:
        verdict = real(world, *arguments)
        return replace(verdict, keep=True) if verdict.reason == ends.GANG_STOP else verdict

    patch.setattr(ends, "order_stop", stop)
    patch.setattr(workers, "_settle", settle)


@breaks_a_rule(seed=1)
def a_hosts_loss_is_the_gangs_failure(patch: Patch) -> None:
    real = ends.fault_of

    def fault_of(attempt: Any) -> ends.Fault:
        fault = real(attempt)
        return ends.Fault.PROGRAM if fault is ends.Fault.HOST else fault

    patch.setattr(ends, "fault_of", fault_of)


@breaks_a_rule(seed=315)
def a_stopped_gang_forgets_who_succeeded(patch: Patch) -> None:
    real, fault_of = ends._judge_gang, ends.fault_of

    def judge(world: World, job: Job, now: Now) -> None:
        faults = {fault_of(member.attempt) for member in world.known_tasks(job)}
        with patch.context() as here:
            if world.statuses[job.job_id].stop is not None and faults != {ends.Fault.NONE}:
                here.setattr(ends, "fault_of", lambda attempt: fault_of(attempt) or ends.Fault.GANG)
            real(world, job, now)

    patch.setattr(ends, "_judge_gang", judge)


@breaks_a_rule(seed=2)
def a_stopped_gang_is_charged(patch: Patch) -> None:
    real = ends._judge_gang

    def judge(world: World, job: Job, now: Now) -> None:
        if world.statuses[job.job_id].stop is not None and not world.live_of.get(job.job_id):
            for member in world.known_tasks(job):
                if member.state.is_live:
                    world.put_task(replace(member, losses=member.losses + 1))
        real(world, job, now)

    patch.setattr(ends, "_judge_gang", judge)
