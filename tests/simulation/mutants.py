"""Rules that are broken on purpose, to see the simulator object.

Each function breaks one rule of the core, of its shell as `controller` has it,
or of a bug that was found here once. `test_bites` plays seeds until one objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import jobs, restore, scaling_group, slices, step, workers
from iris_controller.core import states as s
from iris_controller.core.entities import Job, Slice, Task
from iris_controller.core.scaling_group import GroupView
from iris_controller.core.states import GoneCause, WorkerState
from iris_controller.core.values import Now, Place, Reason, Resources, TaskId
from iris_controller.core.world import World
from tests.simulation import controller
from tests.simulation.controller import Controller

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]

WHY = Reason("mutant", "a rule was broken on purpose")


# -- intent before action, and the store ------------------------------------------


def effects_leave_before_their_commit(patch: Patch) -> None:
    real = Controller._apply

    def apply(self: Controller, events: list[Any]) -> Any:
        batch = real(self, events)
        for effect in batch.effects:
            self._deliver(effect)
        batch.effects.clear()
        return batch

    patch.setattr(Controller, "_apply", apply)


def answers_leave_before_their_commit(patch: Patch) -> None:
    real = Controller._apply

    def apply(self: Controller, events: list[Any]) -> Any:
        batch = real(self, events)
        for reply, answer in batch.answers:
            reply(answer)
        batch.answers.clear()
        return batch

    patch.setattr(Controller, "_apply", apply)


def names_begin_anew_after_a_failed_commit(patch: Patch) -> None:
    real = restore.restore

    def forget_numbers(*arguments: Any) -> World:
        world = real(*arguments)
        world.slice_numbers.clear()
        return world

    patch.setattr(controller, "restore", forget_numbers)


def what_waits_is_not_restored(patch: Patch) -> None:
    def nothing(world: World, job: Job) -> None:
        """Queues nothing."""

    patch.setattr(restore, "_queue_waiting", nothing)


# -- fences ----------------------------------------------------------------------


def silence_is_a_fence(patch: Patch) -> None:
    real = workers.mark_silent

    def mark(world: World, now: Now) -> list[fx.Effect]:
        effects = real(world, now)
        for place, worker in world.workers.items():
            if worker.state is WorkerState.SUSPECT:
                for attempt_id in list(world.live.get(place, ())):
                    jobs.lose(world, attempt_id, WHY, now)
        return effects

    patch.setattr(workers, "mark_silent", mark)


def a_closed_session_is_a_fence(patch: Patch) -> None:
    real = workers.session_closed

    def closed(world: World, event: e.SessionClosed) -> list[fx.Effect]:
        session = world.sessions.get(event.session_id)
        for attempt_id in list(world.live.get(session.place, ())) if session is not None else ():
            jobs.lose(world, attempt_id, WHY, Now(0, 0))
        return real(world, event)

    patch.setattr(workers, "session_closed", closed)


def deleting_is_a_fence(patch: Patch) -> None:
    real = slices.delete

    def delete(world: World, slice_: Slice, why: Reason, cause: GoneCause, now: Now) -> fx.Effect:
        for attempt_id in list(world.live_on(slice_)):
            jobs.lose(world, attempt_id, why, now)
        return real(world, slice_, why, cause, now)

    patch.setattr(slices, "delete", delete)


def a_hello_alone_is_believed(patch: Patch) -> None:
    real = workers._note_unreported

    def note(world: World, event: e.AgentHello) -> None:
        real(world, event)
        workers._believe(world, world.sessions[event.session_id], Now(0, 0))

    patch.setattr(workers, "_note_unreported", note)


# -- slices and the cloud -----------------------------------------------------------


def an_accepted_deletion_is_done(patch: Patch) -> None:
    def answered(world: World, event: e.DeleteAnswered, now: Now) -> list[fx.Effect]:
        slice_ = world.slices.get(event.slice_name)
        if slice_ is not None and event.error is None and isinstance(slice_.state, s.SliceDeleting):
            state = slice_.state
            slices._gone(world, slice_, s.SliceGone(state.reason, state.cause), now)
        return []

    patch.setattr(slices, "delete_answered", answered)


def absence_from_a_list_is_gone(patch: Patch) -> None:
    real = slices.zone_listed

    def listed(world: World, event: e.ZoneListed, now: Now) -> list[fx.Effect]:
        effects = real(world, event, now)
        seen = () if isinstance(event.seen, e.CallFailed) else [info.slice_id for info in event.seen]
        for effect in [x for x in effects if isinstance(x, fx.LookAtSlice) and x.slice_name not in seen]:
            effects += slices._absent(world, world.slices[effect.slice_name], now)
        return effects

    patch.setattr(slices, "zone_listed", listed)


def a_failed_look_is_absence(patch: Patch) -> None:
    real = slices.looked

    def looked(world: World, event: e.SliceLooked, now: Now) -> list[fx.Effect]:
        if isinstance(event.seen, e.CallFailed):
            event = replace(event, seen=None)
        return real(world, event, now)

    patch.setattr(slices, "looked", looked)


def tombstones_are_ignored(patch: Patch) -> None:
    real = slices._seen

    def seen(world: World, slice_: Slice, info: Any, now: Now) -> list[fx.Effect]:
        return [] if isinstance(slice_.state, s.SliceGone) else real(world, slice_, info, now)

    patch.setattr(slices, "_seen", seen)


def a_tombstone_is_looked_at(patch: Patch) -> None:
    def answered(world: World, event: e.DeleteAnswered, now: Now) -> list[fx.Effect]:
        slice_ = world.slices.get(event.slice_name)
        if slice_ is None or event.error is not None:
            return []
        return slices.look(world, [slice_], now, at_once=True)

    patch.setattr(slices, "delete_answered", answered)


def deletions_are_asked_for_once(patch: Patch) -> None:
    real = slices.tick

    def tick(world: World, now: Now) -> list[fx.Effect]:
        known = [name for name, v in world.slices.items() if isinstance(v.state, s.SliceDeleting)]
        return [x for x in real(world, now) if not (isinstance(x, fx.DeleteSlice) and x.slice_name in known)]

    patch.setattr(slices, "tick", tick)


def looks_keep_deletions_waiting(patch: Patch) -> None:
    real = workers.mark_silent

    def mark(world: World, now: Now) -> list[fx.Effect]:
        suspects = {
            w.place.slice_name: None for w in world.workers.values() if w.state is WorkerState.SUSPECT
        }
        return [*real(world, now), *slices.look(world, [world.slices[name] for name in suspects], now)]

    patch.setattr(workers, "mark_silent", mark)


def a_dead_host_goes_unnoticed(patch: Patch) -> None:
    real = slices._seen

    def seen(world: World, slice_: Slice, info: Any, now: Now) -> list[fx.Effect]:
        return real(world, slice_, replace(info, vms=()), now)

    patch.setattr(slices, "_seen", seen)


def what_is_being_deleted_takes_no_room(patch: Patch) -> None:
    real = scaling_group.headroom

    def headroom(view: Any, creates_per_minute: int, now: Now) -> Any:
        return real(replace(view, slices=view.in_service), creates_per_minute, now)

    patch.setattr("iris_controller.core.autoscaler.headroom", headroom)


def a_busy_slice_is_idle(patch: Patch) -> None:
    real = step._note_idle

    def note(world: World, now: Now) -> None:
        since = dict(world.clocks.idle_since)
        real(world, now)
        for slice_ in world.slices.values():
            if isinstance(slice_.state, s.SliceReady):
                world.clocks.idle_since[slice_.name] = since.get(slice_.name, now.boot_ms)

    patch.setattr(step, "_note_idle", note)


def back_off_runs_on_the_wall_clock(patch: Patch) -> None:
    real = step._group_views

    def group_views(world: World, now: Now) -> list[GroupView]:
        return [replace(v, standing=world.standing(v.policy.name)) for v in real(world, now)]

    patch.setattr(step, "_group_views", group_views)


# -- tasks and budgets ----------------------------------------------------------------


def reports_of_older_attempts_count(patch: Patch) -> None:
    real = jobs.report

    def report(world: World, event: e.AttemptReport, now: Now) -> None:
        task = world.tasks.get(event.id.task)
        if task is not None and task.attempt is not None:
            event = replace(event, id=task.attempt.id)
        real(world, event, now)

    patch.setattr(jobs, "report", report)


def an_attempt_number_comes_twice(patch: Patch) -> None:
    real = jobs.assign

    def assign(world: World, task_id: TaskId, place: Place, now: Now) -> None:
        task = world.task(task_id)
        world.tasks[task_id] = replace(task, attempts=min(task.attempts, 0))
        real(world, task_id, place, now)

    patch.setattr(jobs, "assign", assign)


def rooms_are_never_full(patch: Patch) -> None:
    patch.setattr(World, "used", lambda self, place: Resources(0))


def a_stop_is_lost(patch: Patch) -> None:
    def stop(world: World, event: e.JobStopRequested, now: Now) -> fx.Answer:
        return fx.JobAnswer(event.job_id)

    patch.setattr(jobs, "request_stop", stop)


def a_stop_is_not_told_at_hello(patch: Patch) -> None:
    real = workers._settle

    def settle(world: World, *arguments: Any) -> fx.Verdict:
        return replace(real(world, *arguments), keep=True)

    patch.setattr(workers, "_settle", settle)


def stopped_jobs_are_retried(patch: Patch) -> None:
    real = jobs._end

    def end(world: World, task: Task, state: s.AttemptEnded, now: Now) -> None:
        status = world.statuses[task.id.job_id]
        world.statuses[task.id.job_id] = replace(status, stop=None)
        real(world, task, state, now)
        world.statuses[task.id.job_id] = replace(world.statuses[task.id.job_id], stop=status.stop)

    patch.setattr(jobs, "_end", end)


def a_failure_costs_two(patch: Patch) -> None:
    real = jobs._end

    def end(world: World, task: Task, state: s.AttemptEnded, now: Now) -> None:
        spent = int(isinstance(state, s.AttemptFailed))
        real(world, replace(task, failures=task.failures + spent), state, now)

    patch.setattr(jobs, "_end", end)


def a_loss_costs_a_failure(patch: Patch) -> None:
    def charge(world: World, task: Task, why: Reason, now: Now) -> None:
        jobs._again(world, replace(task, failures=task.failures + 1), why, now)

    patch.setattr(jobs, "_charge_loss", charge)


def losses_are_free(patch: Patch) -> None:
    real = jobs.lose

    def lose(*arguments: Any, **options: Any) -> None:
        real(*arguments, **{**options, "charged": False})

    patch.setattr(jobs, "lose", lose)


def a_killed_attempt_is_a_success(patch: Patch) -> None:
    real = jobs.report

    def report(world: World, event: e.AttemptReport, now: Now) -> None:
        if isinstance(event.state, s.AttemptKilled):
            event = replace(event, state=s.AttemptSucceeded(event.state.started_ms, event.state.end))
        real(world, event, now)

    patch.setattr(jobs, "report", report)


def what_succeeded_runs_again(patch: Patch) -> None:
    real = jobs._end

    def end(world: World, task: Task, state: s.AttemptEnded, now: Now) -> None:
        if isinstance(state, s.AttemptSucceeded):
            jobs._again(world, task, WHY, now)
        else:
            real(world, task, state, now)

    patch.setattr(jobs, "_end", end)


MUTANTS: Mapping[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        effects_leave_before_their_commit,
        answers_leave_before_their_commit,
        names_begin_anew_after_a_failed_commit,
        what_waits_is_not_restored,
        silence_is_a_fence,
        a_closed_session_is_a_fence,
        deleting_is_a_fence,
        a_hello_alone_is_believed,
        an_accepted_deletion_is_done,
        absence_from_a_list_is_gone,
        a_failed_look_is_absence,
        tombstones_are_ignored,
        a_tombstone_is_looked_at,
        deletions_are_asked_for_once,
        looks_keep_deletions_waiting,
        a_dead_host_goes_unnoticed,
        what_is_being_deleted_takes_no_room,
        a_busy_slice_is_idle,
        back_off_runs_on_the_wall_clock,
        reports_of_older_attempts_count,
        an_attempt_number_comes_twice,
        rooms_are_never_full,
        a_stop_is_lost,
        a_stop_is_not_told_at_hello,
        stopped_jobs_are_retried,
        a_failure_costs_two,
        a_loss_costs_a_failure,
        losses_are_free,
        a_killed_attempt_is_a_success,
        what_succeeded_runs_again,
    )
}
