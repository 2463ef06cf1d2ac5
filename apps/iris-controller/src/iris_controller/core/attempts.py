"""The rules of attempts: given to a worker, reported by its agent, lost, adopted.

What an end means for the task is for `ends` to say.
"""

from __future__ import annotations

from dataclasses import replace

from iris_controller.core import states as s
from iris_controller.core.ends import settle
from iris_controller.core.entities import Attempt, Job, Task
from iris_controller.core.events import AttemptReport
from iris_controller.core.orders import order_stop, release_gang
from iris_controller.core.states import ATTEMPT_LIVE, TaskState
from iris_controller.core.values import AttemptId, AttemptSpec, Now, Place, Reason, TaskId
from iris_controller.core.world import World

_TASK_OF_LIVE: dict[type, TaskState] = {
    s.AttemptAssigned: TaskState.ASSIGNED,
    s.AttemptPreparing: TaskState.PREPARING,
    s.AttemptRunning: TaskState.RUNNING,
}


def assign(world: World, task_id: TaskId, place: Place, now: Now) -> None:
    """Gives a waiting task to a worker."""
    task = world.task(task_id)
    number = task.attempts + 1
    attempt_id = AttemptId(task_id.job_id, task_id.task_index, world.epoch, number)
    boot_id = world.workers[place].boot_id
    attempt = Attempt(attempt_id, place, boot_id, now.wall_ms, s.AttemptAssigned())
    world.put_task(replace(task, state=TaskState.ASSIGNED, attempts=number, attempt=attempt))
    session = world.session(place)
    if session is not None:
        session.start.append(AttemptSpec(attempt_id, task.failures, task.losses))


def report(world: World, event: AttemptReport, now: Now) -> None:
    """Takes an agent's word on an attempt; older attempts than the current are ignored."""
    task = world.tasks.get(event.id.task)
    attempt = task.attempt if task is not None else None
    if task is None or attempt is None or attempt.id != event.id or not _is_news(world, task, attempt, event):
        return
    job = world.jobs[task.id.job_id]
    attempt = replace(attempt, state=event.state, address=event.address or attempt.address)
    match event.state:
        case s.AttemptPreparing() | s.AttemptRunning():
            state = _TASK_OF_LIVE[type(event.state)]
            if attempt != task.attempt:
                world.put_task(replace(task, state=state, attempt=attempt, reason=Reason("")))
                _note_start(world, job, now)
            if isinstance(event.state, s.AttemptPreparing) and job.spec.is_gang:
                release_gang(world, job)
        case _:
            _expect_log(world, attempt, event.state.end.log_bytes)
            _note_start(world, job, now)
            settle(world, replace(task, attempt=attempt), now)


def _is_news(world: World, task: Task, attempt: Attempt, event: AttemptReport) -> bool:
    match attempt.state:
        case s.AttemptSucceeded() | s.AttemptFailed() | s.AttemptKilled():
            return False
        case s.AttemptWorkerLost() | s.AttemptPreempted():
            # A late success counts, but for a gang, which succeeds as a whole or runs again.
            late = isinstance(event.state, s.AttemptSucceeded) and task.state is TaskState.PENDING
            return late and not world.jobs[task.id.job_id].spec.is_gang
        case s.AttemptRunning():
            return not isinstance(event.state, s.AttemptRunning | s.AttemptPreparing)
        case _:
            return True


def _note_start(world: World, job: Job, now: Now) -> None:
    status = world.statuses[job.job_id]
    if status.started_ms is None:
        world.put_status(replace(status, started_ms=now.wall_ms))
        world.touched_jobs[job.job_id] = None


def lose(world: World, attempt_id: AttemptId, why: Reason, now: Now, *, preempted: bool = False) -> None:
    """Ends an attempt whose worker is known to be gone, or was taken back."""
    task = world.tasks[attempt_id.task]
    assert task.attempt is not None and task.attempt.id == attempt_id
    kind = s.AttemptPreempted if preempted else s.AttemptWorkerLost
    settle(world, replace(task, attempt=replace(task.attempt, state=kind(now.wall_ms, why))), now)


def _expect_log(world: World, attempt: Attempt, length: int | None) -> None:
    if length and not attempt.log_stored:
        world.logs_due.setdefault(attempt.place, {})[attempt.id] = None


def log_stored(world: World, attempt_id: AttemptId) -> None:
    """Notes that an ended attempt's whole log is durable here."""
    task = world.tasks.get(attempt_id.task)
    if task is None or task.attempt is None:
        return
    for due in world.logs_due.values():
        due.pop(attempt_id, None)
    if task.attempt.id == attempt_id and not task.attempt.log_stored:
        world.put_task(replace(task, attempt=replace(task.attempt, log_stored=True)))
    world.must_decide = True


def adopt(world: World, job: Job, spec: AttemptSpec, place: Place, boot_id: str, now: Now) -> None:
    """Makes an attempt that an agent reports current: its task was not known, or only older runs of it."""
    task_id = spec.id.task
    if job.job_id not in world.jobs:
        job = replace(job, order=world.last_order + 1, adopted=True)
        world.put_job(job, ())
        if world.cluster.incomplete is not None:
            # Other places may report more of it.
            world.queue.hold(job.spec.shape, job.turn)
    job = world.jobs[job.job_id]
    if job.adopted and task_id not in world.tasks:
        world.add_tasks(job, (task_id.task_index,))
    task = world.task(task_id)
    if task.attempt is not None and isinstance(task.attempt.state, ATTEMPT_LIVE):
        order_stop(world, task.attempt.id, "superseded")
        over = s.AttemptWorkerLost(now.wall_ms, Reason("superseded", "a newer attempt runs"))
        world.put_task(replace(task, attempt=replace(task.attempt, state=over)))
    attempt = Attempt(spec.id, place, boot_id, now.wall_ms, s.AttemptAssigned())
    world.put_task(
        replace(
            task,
            state=TaskState.ASSIGNED,
            attempts=max(task.attempts, spec.id.number),
            failures=max(task.failures, spec.failures),
            losses=max(task.losses, spec.losses),
            attempt=attempt,
        )
    )
