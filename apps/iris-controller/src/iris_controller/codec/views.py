"""What readers are shown -> messages for people and their tools."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from iris_controller.codec.settings import NO_ACCELERATOR
from iris_controller.codec.wire import (
    attempt_id_to_proto,
    job_spec_to_proto,
    place_to_proto,
    resources_to_proto,
)
from iris_controller.core import states as s
from iris_controller.core.entities import (
    Attempt,
    GroupPolicy,
    Job,
    JobStatus,
    Record,
    Slice,
    Standing,
    Task,
    Worker,
)
from iris_controller.core.moves import node_name
from iris_controller.core.states import JobState, TaskState, WorkerState
from iris_controller.core.values import NO_REASON, Now, Place, Reason, add_up
from iris_controller.core.view import View
from iris_proto.v1 import controller_pb2, job_pb2

JOB_STATES = {state: job_pb2.JobState.Value(f"JOB_STATE_{state.name}") for state in JobState}
TASK_STATES = {state: job_pb2.TaskState.Value(f"TASK_STATE_{state.name}") for state in TaskState}
WORKER_STATES = {
    state: controller_pb2.WorkerState.Value(f"WORKER_STATE_{state.name}") for state in WorkerState
}


def attempt_state(state: s.AttemptState) -> job_pb2.AttemptState.ValueType:
    """An attempt's state."""
    return job_pb2.AttemptState.Value(f"ATTEMPT_STATE_{node_name('attempt', type(state))}")


def timestamp(wall_ms: int | None) -> Timestamp | None:
    """A wall time; None stays unset."""
    if wall_ms is None:
        return None
    result = Timestamp()
    result.FromMilliseconds(wall_ms)
    return result


def job(view: View, job_: Job) -> job_pb2.Job:
    """A job with its state and why it waits or ended."""
    status = view.statuses[job_.job_id]
    reason = _job_reason(view, job_, status)
    return job_pb2.Job(
        job_id=job_.job_id,
        name=job_.spec.name,
        state=JOB_STATES[status.state],
        reason=reason.code,
        message=reason.message,
        spec=job_spec_to_proto(job_.spec),
        submitted_at=timestamp(job_.submitted_ms),
        started_at=timestamp(status.started_ms),
        finished_at=timestamp(status.finished_ms),
        task_counts=[
            job_pb2.TaskCount(state=TASK_STATES[state], count=n) for state, n in status.counts.items()
        ],
    )


def _job_reason(view: View, job_: Job, status: JobStatus) -> Reason:
    if status.state.is_terminal:
        return status.reason
    if status.stop is not None:
        return Reason("stopping", "its tasks are being stopped")
    return view.why_waits(job_, status)


def task(view: View, task_: Task) -> job_pb2.Task:
    """A task with its latest attempt."""
    reason = task_.reason
    if task_.state is TaskState.PENDING:
        job_ = view.jobs[task_.id.job_id]
        waits = view.why_waits(job_, view.statuses[job_.job_id])
        reason = waits if waits != NO_REASON else reason
    message = job_pb2.Task(
        job_id=task_.id.job_id,
        task_index=task_.id.task_index,
        state=TASK_STATES[task_.state],
        reason=reason.code,
        message=reason.message,
        attempts=task_.attempts,
        failures=task_.failures,
        losses=task_.losses,
    )
    if task_.attempt is not None:
        message.attempt.CopyFrom(attempt(task_.attempt))
    return message


def attempt(attempt_: Attempt) -> job_pb2.Attempt:
    """One run of a task."""
    message = job_pb2.Attempt(
        id=attempt_id_to_proto(attempt_.id),
        state=attempt_state(attempt_.state),
        place=place_to_proto(attempt_.place),
        assigned_at=timestamp(attempt_.assigned_ms),
    )
    match attempt_.state:
        case s.AttemptRunning(started_ms):
            message.started_at.FromMilliseconds(started_ms)
        case (
            s.AttemptSucceeded(started_ms, end)
            | s.AttemptFailed(started_ms, end)
            | s.AttemptKilled(started_ms, end)
        ):
            if started_ms:
                message.started_at.FromMilliseconds(started_ms)
            message.finished_at.FromMilliseconds(end.finished_ms)
            message.reason, message.message = end.reason
            if end.exit_code is not None:
                message.exit_code = end.exit_code
            if end.signal is not None:
                message.signal = end.signal
            message.log_bytes = end.log_bytes or 0
        case s.AttemptWorkerLost(at_ms, reason) | s.AttemptPreempted(at_ms, reason):
            message.finished_at.FromMilliseconds(at_ms)
            message.reason, message.message = reason
        case _:
            pass
    return message


def scale_group(view: View, policy: GroupPolicy) -> controller_pb2.ScaleGroup:
    """A group with what the last evaluation found."""
    present = [
        v for v in view.slices.values() if v.group == policy.name and not isinstance(v.state, s.SliceGone)
    ]
    availability, reason = view.findings.availability.get(policy.name, ("AVAILABLE", NO_REASON))
    return controller_pb2.ScaleGroup(
        name=policy.name,
        provider=policy.provider,
        availability=controller_pb2.GroupAvailability.Value(f"GROUP_AVAILABILITY_{availability}"),
        reason=reason.code,
        message=reason.message,
        min_slices=policy.min_slices,
        max_slices=policy.max_slices,
        slice_size=policy.hosts,
        slices=len(present),
        ready_slices=sum(1 for v in present if isinstance(v.state, s.SliceReady)),
        wanted_slices=view.findings.wanted.get(policy.name, 0),
        accelerator_type=policy.accelerator or NO_ACCELERATOR,
        zones=[_zone(view, policy.name, zone) for zone in policy.zones],
    )


def _zone(view: View, group: str, zone: str) -> controller_pb2.ZoneStanding:
    """Where a group stands in one of its zones."""
    of_all = view.standings.get((group, ""), Standing(group, ""))
    own = view.standings.get((group, zone), Standing(group, zone))
    worst = max(own, of_all, key=lambda one: one.not_before_ms)
    return controller_pb2.ZoneStanding(
        zone=zone,
        paused=zone in view.cluster.paused_zones,
        failures=worst.failures,
        reason=worst.reason.code,
        message=worst.reason.message,
        retry_at=timestamp(worst.not_before_ms or None),
    )


def slice_(view: View, row: Slice) -> controller_pb2.Slice:
    """A slice."""
    places = [Place(row.name, index) for index in range(row.hosts)]
    name = f"SLICE_STATE_{node_name('slice', type(row.state))}"
    waits = isinstance(row.state, s.SliceRequesting)
    reason = view.findings.in_line.get(row.name, row.state.reason) if waits else row.state.reason
    return controller_pb2.Slice(
        name=row.name,
        scale_group=row.group,
        zone=row.zone,
        state=controller_pb2.SliceState.Value(name),
        reason=reason.code,
        message=reason.message,
        hosts=row.hosts,
        hosts_registered=sum(1 for p in places if p in view.workers and view.workers[p].boot_id),
        requested_at=timestamp(row.requested_ms),
        changed_at=timestamp(row.changed_ms),
        live_attempts=sum(len(view.live.get(p, ())) for p in places),
    )


def worker(view: View, row: Worker, now: Now) -> controller_pb2.Worker:
    """A worker; its last contact is shown as wall time."""
    where = view.slices.get(row.place.slice_name)
    contact = view.findings.contact.get(row.place)
    given = list(view.live.get(row.place, {}).values())
    used = add_up(given)
    return controller_pb2.Worker(
        place=place_to_proto(row.place),
        scale_group=where.group if where else "",
        zone=where.zone if where else "",
        state=WORKER_STATES[row.state],
        reason=row.reason.code,
        message=row.reason.message,
        boot_id=row.boot_id,
        version=row.version,
        capacity=resources_to_proto(row.capacity),
        used=resources_to_proto(used),
        live_attempts=len(given),
        last_contact_at=timestamp(None if contact is None else now.wall_ms - (now.boot_ms - contact)),
    )


def event(record: Record) -> controller_pb2.Event:
    """Something that happened or was decided."""
    return controller_pb2.Event(
        event_id=record.event_id,
        at=timestamp(record.at_ms),
        kind=record.kind,
        subject=record.subject,
        what=record.what,
        reason=record.reason.code,
        message=record.reason.message,
    )
