"""The rules of jobs, tasks and attempts: submission, progress, retries, ends.

Knows nothing of how agents are reached or slices are made.
"""

from __future__ import annotations

from dataclasses import replace

from iris_controller.core import states as s
from iris_controller.core.effects import (
    Answer,
    JobAnswer,
    Refusal,
    RefusalKind,
)
from iris_controller.core.entities import Attempt, Job, Task
from iris_controller.core.events import AttemptReport, JobStopRequested, JobSubmitted
from iris_controller.core.explain import end_reason, nearest_shape, no_such_job, state_word
from iris_controller.core.scheduler import fits
from iris_controller.core.states import JobState, TaskState
from iris_controller.core.values import (
    AttemptId,
    AttemptSpec,
    JobSpec,
    Now,
    Place,
    Reason,
    TaskId,
)
from iris_controller.core.world import World

# Kills on our word that spend no budget: the task goes elsewhere. Any other kill
# (a lease that expired, a host that could not start it) is a loss.
FREE_STOPS = frozenset({"cluster_stop", "draining", "group_removed", "superseded"})

_TASK_OF_LIVE: dict[type, TaskState] = {
    s.AttemptAssigned: TaskState.ASSIGNED,
    s.AttemptPreparing: TaskState.PREPARING,
    s.AttemptRunning: TaskState.RUNNING,
}


def submit(world: World, event: JobSubmitted, now: Now) -> Answer:
    """Accepts a job, once for each request."""
    known = world.requests.get(event.request_id)
    if known is not None:
        return JobAnswer(known)
    refusal = _refuse(world, event.spec)
    if refusal is not None:
        return refusal
    job = Job(event.job_id, event.request_id, event.spec, now.wall_ms, world.last_order + 1)
    world.put_job(job, range(event.spec.replicas))
    world.record(now, "job", job.job_id, "SUBMITTED", Reason("", event.spec.name))
    return JobAnswer(job.job_id)


def _refuse(world: World, spec: JobSpec) -> Refusal | None:
    if world.stopping:
        return Refusal(RefusalKind.NOT_NOW, Reason("cluster_stop", "the cluster is being stopped"))
    if spec.gang and spec.replicas > 1:
        return Refusal(RefusalKind.INVALID, Reason("gang", "gangs are not available in this release"))
    groups = world.settings.groups.values()
    if not any(fits(spec.resources, group.host_resources) for group in groups):
        return Refusal(RefusalKind.INVALID, Reason("impossible", nearest_shape(spec.resources, groups)))
    return None


def request_stop(world: World, event: JobStopRequested, now: Now) -> Answer:
    """Ends a job: waiting tasks at once, live ones as soon as their agents did it."""
    status = world.statuses.get(event.job_id)
    if status is None:
        return Refusal(RefusalKind.NOT_FOUND, Reason("unknown_job", no_such_job(event.job_id)))
    if status.state.is_terminal or status.stop is not None:
        return JobAnswer(event.job_id)
    why = Reason("stopped", "stopped by request")
    world.put_status(replace(status, stop=why))
    for task in world.kill_waiting(world.jobs[event.job_id]):
        world.put_task(replace(task, state=TaskState.KILLED, reason=why))
    for attempt_id in live_attempts(world, event.job_id):
        order_stop(world, attempt_id, "job_stopped")
    world.touched_jobs[event.job_id] = None
    world.record(now, "job", event.job_id, "STOPPING", why)
    return JobAnswer(event.job_id)


def live_attempts(world: World, job_id: str) -> list[AttemptId]:
    """A job's attempts that have not ended."""
    if not any(world.counts[job_id][state] for state in TaskState if state.is_live):
        return []
    return [a for attempts in world.live.values() for a in attempts if a.job_id == job_id]


def order_stop(world: World, attempt_id: AttemptId, reason: str) -> None:
    """Has an attempt's agent end it; told again at the next hello if there is none now."""
    attempt = world.task(attempt_id.task).attempt
    session = world.session(attempt.place) if attempt is not None else None
    if session is not None:
        session.stop[attempt_id] = reason


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
    if task is None or attempt is None or attempt.id != event.id:
        return
    was = attempt.state
    if isinstance(was, s.AttemptSucceeded | s.AttemptFailed | s.AttemptKilled):
        return
    lost = isinstance(was, s.AttemptWorkerLost | s.AttemptPreempted)
    if lost and not (isinstance(event.state, s.AttemptSucceeded) and task.state is TaskState.PENDING):
        return
    if isinstance(was, s.AttemptRunning) and isinstance(event.state, s.AttemptRunning | s.AttemptPreparing):
        return
    attempt = replace(attempt, state=event.state)
    match event.state:
        case s.AttemptPreparing() | s.AttemptRunning():
            state = _TASK_OF_LIVE[type(event.state)]
            world.put_task(replace(task, state=state, attempt=attempt, reason=Reason("")))
            _note_start(world, task.id.job_id, now)
        case _:
            _expect_log(world, attempt, event.state.end.log_bytes)
            _note_start(world, task.id.job_id, now)
            _end(world, replace(task, attempt=attempt), event.state, now)


def _note_start(world: World, job_id: str, now: Now) -> None:
    status = world.statuses[job_id]
    if status.started_ms is None:
        world.put_status(replace(status, started_ms=now.wall_ms))
        world.touched_jobs[job_id] = None


def _end(world: World, task: Task, state: s.AttemptEnded, now: Now) -> None:
    """Decides what an attempt's end means for its task."""
    job = world.jobs[task.id.job_id]
    stop = world.statuses[job.job_id].stop
    reason = end_reason(state.end)
    match state:
        case s.AttemptSucceeded():
            world.put_task(replace(task, state=TaskState.SUCCEEDED, reason=Reason("")))
        case _ if stop is not None:
            world.put_task(replace(task, state=TaskState.KILLED, reason=stop))
        case s.AttemptKilled() if reason.code in FREE_STOPS:
            _again(world, task, reason, now)
        case s.AttemptKilled():
            _charge_loss(world, task, reason, now)
        case s.AttemptFailed():
            task = replace(task, failures=task.failures + 1)
            if task.failures <= job.spec.max_failures:
                _again(world, task, reason, now)
            else:
                world.put_task(replace(task, state=TaskState.FAILED, reason=reason))


def lose(
    world: World,
    attempt_id: AttemptId,
    why: Reason,
    now: Now,
    *,
    charged: bool = True,
    preempted: bool = False,
) -> None:
    """Ends an attempt whose worker is known to be gone, or was taken back."""
    task = world.tasks[attempt_id.task]
    assert task.attempt is not None and task.attempt.id == attempt_id
    kind = s.AttemptPreempted if preempted else s.AttemptWorkerLost
    task = replace(task, attempt=replace(task.attempt, state=kind(now.wall_ms, why)))
    stop = world.statuses[task.id.job_id].stop
    if stop is not None:
        world.put_task(replace(task, state=TaskState.KILLED, reason=stop))
    elif charged:
        _charge_loss(world, task, why, now)
    else:
        _again(world, task, why, now)


def _charge_loss(world: World, task: Task, why: Reason, now: Now) -> None:
    task = replace(task, losses=task.losses + 1)
    if task.losses <= world.jobs[task.id.job_id].spec.max_losses:
        _again(world, task, why, now)
    else:
        world.put_task(replace(task, state=TaskState.FAILED, reason=why))


def _again(world: World, task: Task, why: Reason, now: Now) -> None:
    world.put_task(replace(task, state=TaskState.PENDING, reason=why))
    name = f"{task.id.job_id}/{task.id.task_index}"
    world.record(now, "task", name, "RETRY", Reason(why.code, f"attempt {task.attempts}: {why.message}"))


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
        world.put_job(replace(job, order=world.last_order + 1, adopted=True), ())
    job = world.jobs[job.job_id]
    if job.adopted and task_id not in world.tasks:
        world.add_tasks(job, (task_id.task_index,))
    task = world.task(task_id)
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


def refresh_status(world: World, job_id: str, now: Now) -> None:
    """Derives a job's state from its tasks, after they changed."""
    status = world.statuses[job_id]
    if status.state.is_terminal:
        return
    counts = {state: n for state, n in world.counts[job_id].items() if n}
    state = derive_state(counts)
    finished = now.wall_ms if state.is_terminal else None
    reason = _outcome(world, job_id, state) if state.is_terminal else status.reason
    if state is status.state and counts == status.counts and reason == status.reason:
        return
    world.put_status(replace(status, state=state, counts=counts, finished_ms=finished, reason=reason))
    if state is not status.state:
        world.record(now, "job", job_id, state_word(state), reason)


def derive_state(counts: dict[TaskState, int]) -> JobState:
    """The state of a job whose tasks are in these states."""
    if any(not state.is_terminal for state in counts):
        moving = any(state is not TaskState.PENDING for state in counts)
        return JobState.RUNNING if moving else JobState.PENDING
    for state, outcome in _WORST_FIRST:
        if state in counts:
            return outcome
    return JobState.SUCCEEDED


_WORST_FIRST = (
    (TaskState.FAILED, JobState.FAILED),
    (TaskState.UNSCHEDULABLE, JobState.UNSCHEDULABLE),
    (TaskState.KILLED, JobState.KILLED),
)


def _outcome(world: World, job_id: str, state: JobState) -> Reason:
    """The reason of a job that has ended: that of its first task with that end."""
    if state is JobState.SUCCEEDED:
        return Reason("")
    stop = world.statuses[job_id].stop
    if state is JobState.KILLED and stop is not None:
        return stop
    job = world.jobs[job_id]
    for index in range(job.spec.replicas):
        task = world.task(TaskId(job_id, index))
        if task.state.name == state.name:
            prefix = f"task {index} " if job.spec.replicas > 1 else ""
            return Reason(task.reason.code, prefix + task.reason.message)
    return Reason("")
