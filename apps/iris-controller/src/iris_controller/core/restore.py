"""Builds the world from its rows, after a start or a failed commit."""

from __future__ import annotations

from collections.abc import Iterable

from iris_controller.core import states as s
from iris_controller.core.entities import (
    ClusterState,
    GroupStanding,
    Job,
    JobStatus,
    PastAttempt,
    Record,
    Row,
    Settings,
    Slice,
    Task,
    Worker,
)
from iris_controller.core.queue import Turn
from iris_controller.core.states import TaskState
from iris_controller.core.values import Now, TaskId
from iris_controller.core.world import World


def restore(settings: Settings, epoch: int, rows: Iterable[Row], now: Now) -> World:
    """The world that these rows describe; every lease counts as just handled."""
    world = World(settings, epoch)
    tasks: list[Task] = []
    for row in rows:
        match row:
            case Job():
                world.index_job(row)
            case JobStatus():
                world.statuses[row.job_id] = row
            case Task():
                tasks.append(row)
            case Slice():
                _restore_slice(world, row, now)
            case Worker():
                world.workers[row.place] = row
                world.clocks.contact[row.place] = now.boot_ms
            case GroupStanding():
                world.standings[row.name] = row
            case ClusterState():
                world.cluster = row
            case Record():
                world.last_event_id = max(world.last_event_id, row.event_id)
            case PastAttempt():
                pass
    for task in tasks:
        _restore_task(world, task)
    for job in world.jobs.values():
        _queue_waiting(world, job)
    world.must_decide = True
    return world


def _restore_slice(world: World, slice_: Slice, now: Now) -> None:
    """A slice's age survives as wall time, clamped so that a clock jump cannot expire it."""
    world.slices[slice_.name] = slice_
    group = world.group(slice_)
    age_ms = now.wall_ms - slice_.changed_ms
    longest_ms = group.boot_timeout_ms if group is not None else 0
    world.clocks.slice_since[slice_.name] = now.boot_ms - min(max(0, age_ms), longest_ms)


def _restore_task(world: World, task: Task) -> None:
    world.index_task(Task(task.id), task)
    world.counts[task.id.job_id][task.state] += 1
    attempt = task.attempt
    if attempt is None or attempt.log_stored:
        return
    if isinstance(attempt.state, s.AttemptSucceeded | s.AttemptFailed | s.AttemptKilled):
        slice_ = world.slices.get(attempt.place.slice_name)
        if attempt.state.end.log_bytes and slice_ is not None and not isinstance(slice_.state, s.SliceGone):
            world.logs_due.setdefault(attempt.place, {})[attempt.id] = None


def _queue_waiting(world: World, job: Job) -> None:
    """Queues the tasks that wait: those without a row, and those that came back."""
    status = world.statuses[job.job_id]
    if status.state.is_terminal:
        return
    waiting: list[int] = []
    fresh = 0
    for index in range(job.spec.replicas):
        task = world.tasks.get(TaskId(job.job_id, index))
        if task is None and job.adopted:
            continue
        fresh += task is None
        if task is None or task.state is TaskState.PENDING:
            waiting.append(index)
    world.counts[job.job_id][TaskState.PENDING] += fresh
    if waiting:
        world.queue.add(job.spec.shape, Turn(job.order, job.job_id), waiting)
