"""The rules of jobs: submission, the wish to stop, and the state that follows from its tasks.

Knows nothing of how agents are reached or slices are made.
"""

from __future__ import annotations

from dataclasses import replace

from iris_controller.core.demand import runs_on
from iris_controller.core.effects import (
    Answer,
    JobAnswer,
    Refusal,
    RefusalKind,
)
from iris_controller.core.entities import Job
from iris_controller.core.events import JobStopRequested, JobSubmitted
from iris_controller.core.explain import nearest_shape, no_such_job, not_one_for_each, state_word
from iris_controller.core.orders import live_attempts, order_stop
from iris_controller.core.states import JobState, TaskState
from iris_controller.core.values import JobSpec, Now, Reason, TaskId
from iris_controller.core.world import World


def submit(world: World, event: JobSubmitted, now: Now) -> Answer:
    """Accepts a job, once for each request."""
    known = world.requests.get(event.request_id)
    if known is not None:
        return JobAnswer(known)
    if world.stopping:
        return Refusal(RefusalKind.NOT_NOW, Reason("cluster_stop", "the cluster is being stopped"))
    spec = _complete(world, event.spec)
    if isinstance(spec, Refusal):
        return spec
    job = Job(event.job_id, event.request_id, spec, now.wall_ms, world.last_order + 1)
    world.put_job(job, range(spec.replicas))
    world.record(now, "job", job.job_id, "SUBMITTED", Reason("", spec.name))
    return JobAnswer(job.job_id)


def _complete(world: World, spec: JobSpec) -> JobSpec | Refusal:
    """What was submitted, if any group could ever run it; on accelerators it is whole slices."""
    groups = world.settings.groups.values()
    sizes = [group.hosts * spec.slices for group in groups if group.accelerator == spec.accelerator]
    if spec.accelerator and sizes:
        if spec.replicas not in (0, *sizes):
            return Refusal(RefusalKind.INVALID, Reason("impossible", not_one_for_each(spec, sizes[0])))
        replicas = spec.replicas or sizes[0]
        spec = replace(spec, replicas=replicas, gang=replicas > 1)
    if not any(runs_on(spec.shape, group) for group in groups):
        return Refusal(RefusalKind.INVALID, Reason("impossible", nearest_shape(spec.shape, groups)))
    return spec


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


def refresh_status(world: World, job_id: str, now: Now) -> None:
    """Derives a job's state from its tasks, after they changed."""
    status = world.statuses[job_id]
    if status.state.is_terminal:
        return
    counts = {state: n for state, n in world.counts[job_id].items() if n}
    state = derive_state(counts)
    if state.is_terminal and world.jobs[job_id].adopted and job_id in world.queue.held:
        # Other tasks of it may still be reported.
        state = JobState.RUNNING
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
