"""Builds the world from its rows, after a start or a failed commit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from iris_controller.core import states as s
from iris_controller.core.calls import open_accounts
from iris_controller.core.ends import is_broken
from iris_controller.core.entities import (
    Attempt,
    ClusterState,
    Job,
    JobStatus,
    PastAttempt,
    Record,
    Row,
    Settings,
    Slice,
    Standing,
    Task,
    Worker,
)
from iris_controller.core.leases import LISTENED_TO, UNHEARD
from iris_controller.core.recovery import hold_jobs
from iris_controller.core.standings import patience
from iris_controller.core.states import TaskState, WorkerState
from iris_controller.core.values import Now, TaskId
from iris_controller.core.world import World
from iris_platform.names import parse_slice_name


def restore(settings: Settings, epoch: int, rows: Iterable[Row], now: Now) -> World:
    """The world that these rows describe; every lease counts as just handled."""
    world = World(settings, epoch)
    jobs: list[Job] = []
    tasks: list[Task] = []
    slices: list[Slice] = []
    for row in rows:
        match row:
            case Job():
                jobs.append(row)
            case JobStatus():
                world.statuses[row.job_id] = row
            case Task():
                tasks.append(row)
            case Slice():
                slices.append(row)
            case Worker():
                _restore_worker(world, row, now)
            case Standing():
                not_before_ms = min(row.not_before_ms, now.wall_ms + patience(row.reason).most_ms)
                world.standings[row.group, row.zone] = replace(row, not_before_ms=not_before_ms)
                wait_ms = max(0, not_before_ms - now.wall_ms)
                world.clocks.backoff_until[row.group, row.zone] = now.boot_ms + wait_ms
            case ClusterState():
                world.cluster = row
            case Record():
                world.last_event_id = max(world.last_event_id, row.event_id)
            case PastAttempt():
                pass
    # Tables are in order of submission and of age, whatever the rows came in.
    for job in sorted(jobs, key=lambda job: job.order):
        world.index_job(job)
        # Of an adopted one more tasks may still be reported.
        if world.statuses[job.job_id].state.is_terminal and not job.adopted:
            world.archived[job.job_id] = None
    for slice_ in sorted(slices, key=lambda v: (v.requested_ms, len(v.name), v.name)):
        _restore_slice(world, slice_, now)
    for task in tasks:
        _restore_task(world, task)
    for job in world.jobs.values():
        _restore_job(world, job)
    open_accounts(world, now)
    world.restored_order = world.last_order
    world.clocks.steady_since = world.clocks.ticked = now.boot_ms
    if world.cluster.incomplete is not None:
        hold_jobs(world)
    world.must_decide = True
    return world


def _restore_worker(world: World, worker: Worker, now: Now) -> None:
    """One that was silent is so still, for a time that begins now."""
    if worker.state is WorkerState.SUSPECT:
        worker = replace(worker, reason=UNHEARD)
    world.workers[worker.place] = worker
    if worker.state in LISTENED_TO:
        world.clocks.contact[worker.place] = now.boot_ms


def _restore_job(world: World, job: Job) -> None:
    """What follows from a job's tasks; of one that had ended, its status knows it."""
    status = world.statuses[job.job_id]
    if job.job_id in world.archived:
        world.counts[job.job_id].update(status.counts)
        return
    _queue_waiting(world, job)
    _restore_gang(world, job)
    counts = {state: n for state, n in world.counts[job.job_id].items() if n}
    world.statuses[job.job_id] = replace(status, counts=counts)


def _restore_gang(world: World, job: Job) -> None:
    if not job.spec.is_gang or not world.live_of.get(job.job_id):
        return
    if is_broken(world.known_tasks(job)):
        world.broken_gangs[job.job_id] = None


def _restore_slice(world: World, slice_: Slice, now: Now) -> None:
    """A slice's age survives as wall time, clamped so that a clock jump cannot expire it."""
    world.index_slice(slice_)
    parts = parse_slice_name(slice_.name)
    if parts is not None and parts.epoch == world.epoch:
        # The same start goes on after a failed commit: its names are never used again.
        used = world.slice_numbers.get(slice_.group, 0)
        world.slice_numbers[slice_.group] = max(used, parts.number)
    group = world.group(slice_)
    coming = isinstance(slice_.state, s.SLICE_COMING)
    age_ms = now.wall_ms - (slice_.requested_ms if coming else slice_.changed_ms)
    if isinstance(slice_.state, s.SliceRequesting):
        # It may have been asked for, with whatever answer.
        world.asked.creations[slice_.name] = 2
    longest_ms = 0
    if group is not None:
        longest_ms = max(group.boot_timeout_ms, group.queued_for_ms or 0)
        if coming and group.queued_for_ms is not None:
            # Its time begins anew once its turn has come.
            age_ms = now.wall_ms - slice_.changed_ms
    world.clocks.slice_since[slice_.name] = now.boot_ms - min(max(0, age_ms), longest_ms)


def _restore_task(world: World, task: Task) -> None:
    due = _log_due(world, task.attempt)
    if due is not None:
        world.logs_due.setdefault(due.place, {})[due.id] = None
    archived = task.id.job_id in world.archived
    if archived and due is None:
        return
    world.index_task(Task(task.id), task)
    if not archived:
        world.counts[task.id.job_id][task.state] += 1


def _log_due(world: World, attempt: Attempt | None) -> Attempt | None:
    """The attempt, if it has ended and some of its log can still come."""
    if attempt is None or attempt.log_stored:
        return None
    if not isinstance(attempt.state, s.AttemptSucceeded | s.AttemptFailed | s.AttemptKilled):
        return None
    slice_ = world.slices.get(attempt.place.slice_name)
    gone = slice_ is None or isinstance(slice_.state, s.SliceGone)
    return attempt if attempt.state.end.log_bytes and not gone else None


def _queue_waiting(world: World, job: Job) -> None:
    """Queues the tasks that wait: those without a row, and those that came back."""
    ids = (TaskId(job.job_id, index) for index in range(job.spec.replicas))
    waiting: list[int] = []
    for task_id in ids:
        task = world.tasks.get(task_id)
        if task is None:
            if job.adopted:
                continue
            task = world.task(task_id)
            world.counts[job.job_id][task.state] += 1
        if task.state is TaskState.PENDING:
            waiting.append(task_id.task_index)
    if waiting:
        world.queue.add(job.spec.shape, job.turn, waiting)
