"""Placement, reports, budgets, stops, and the agent's side of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from iris_bootstrap.session.book import Book, is_terminal, key_of
from iris_controller.core import attempts, ends, jobs, workers
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.entities import Task
from iris_controller.core.states import TaskState
from iris_controller.core.values import Now, Place, Reason, Resources, TaskId
from iris_controller.core.world import World
from tests.simulation.mutants.registry import Patch, breaks_a_rule

WHY = Reason("mutant", "a rule was broken on purpose")

# -- tasks and budgets ----------------------------------------------------------------


@breaks_a_rule(seed=8)
def reports_of_older_attempts_count(patch: Patch) -> None:
    real = attempts.report

    def report(world: World, event: e.AttemptReport, now: Now) -> None:
        task = world.tasks.get(event.id.task)
        if task is not None and task.attempt is not None:
            event = replace(event, id=task.attempt.id)
        real(world, event, now)

    patch.setattr(attempts, "report", report)


@breaks_a_rule(seed=1)
def an_attempt_number_comes_twice(patch: Patch) -> None:
    real = attempts.assign

    def assign(world: World, task_id: TaskId, place: Place, now: Now) -> None:
        task = world.task(task_id)
        world.tasks[task_id] = replace(task, attempts=min(task.attempts, 0))
        real(world, task_id, place, now)

    patch.setattr(attempts, "assign", assign)


@breaks_a_rule(seed=1)
def rooms_are_never_full(patch: Patch) -> None:
    patch.setattr(World, "used", lambda self, place: Resources(0))


@breaks_a_rule(seed=2)
def a_stop_is_lost(patch: Patch) -> None:
    def stop(world: World, event: e.JobStopRequested, now: Now) -> fx.Answer:
        return fx.JobAnswer(event.job_id)

    patch.setattr(jobs, "request_stop", stop)


@breaks_a_rule(seed=13)
def a_stop_is_not_told_at_hello(patch: Patch) -> None:
    real = workers._settle

    def settle(world: World, *arguments: Any) -> fx.Verdict:
        return replace(real(world, *arguments), keep=True)

    patch.setattr(workers, "_settle", settle)


@breaks_a_rule(seed=4)
def stopped_jobs_are_retried(patch: Patch) -> None:
    real = ends.settle

    def settle(world: World, task: Task, now: Now) -> None:
        status = world.statuses[task.id.job_id]
        world.statuses[task.id.job_id] = replace(status, stop=None)
        real(world, task, now)
        world.statuses[task.id.job_id] = replace(world.statuses[task.id.job_id], stop=status.stop)

    patch.setattr("iris_controller.core.attempts.settle", settle)


def _charge(patch: Patch, fault: ends.Fault, failures: int, losses: int) -> None:
    """Has an end of this kind cost something else."""
    real = ends._charged

    def charged(task: Task, worst: ends.Fault, members: Sequence[Task]) -> Task:
        if worst is not fault:
            return real(task, worst, members)
        spent = real(task, ends.Fault.NONE, members)
        return replace(spent, failures=spent.failures + failures, losses=spent.losses + losses)

    patch.setattr(ends, "_charged", charged)


@breaks_a_rule(seed=1)
def a_failure_costs_two(patch: Patch) -> None:
    _charge(patch, ends.Fault.PROGRAM, failures=2, losses=0)


@breaks_a_rule(seed=1)
def a_loss_costs_a_failure(patch: Patch) -> None:
    _charge(patch, ends.Fault.HOST, failures=1, losses=0)


@breaks_a_rule(seed=1)
def losses_are_free(patch: Patch) -> None:
    _charge(patch, ends.Fault.HOST, failures=0, losses=0)


@breaks_a_rule(seed=2)
def what_we_take_back_is_charged(patch: Patch) -> None:
    _charge(patch, ends.Fault.OURS, failures=0, losses=1)


@breaks_a_rule(seed=2)
def a_killed_attempt_is_a_success(patch: Patch) -> None:
    real = attempts.report

    def report(world: World, event: e.AttemptReport, now: Now) -> None:
        if isinstance(event.state, s.AttemptKilled):
            event = replace(event, state=s.AttemptSucceeded(event.state.started_ms, event.state.end))
        real(world, event, now)

    patch.setattr(attempts, "report", report)


@breaks_a_rule(seed=1)
def what_succeeded_runs_again(patch: Patch) -> None:
    real = ends.settle

    def settle(world: World, task: Task, now: Now) -> None:
        alone = not world.jobs[task.id.job_id].spec.is_gang
        if alone and task.attempt is not None and isinstance(task.attempt.state, s.AttemptSucceeded):
            world.put_task(replace(task, state=TaskState.PENDING, reason=WHY))
        else:
            real(world, task, now)

    patch.setattr("iris_controller.core.attempts.settle", settle)


# -- the agent ----------------------------------------------------------------


@breaks_a_rule(seed=45)
def a_report_is_sent_once(patch: Patch) -> None:
    def told(self: Book, told: Any) -> None:
        """Believes that everything arrived."""

    patch.setattr(Book, "on_told", told)


@breaks_a_rule(seed=1)
def an_agent_forgets_at_the_end(patch: Patch) -> None:
    real = Book.on_reports

    def on_reports(self: Book, reports: Any) -> None:
        reports = list(reports)
        real(self, reports)
        for report in reports:
            if is_terminal(report):
                self._memory.attempts.pop(key_of(report.id), None)

    patch.setattr(Book, "on_reports", on_reports)
