"""Messages with defaults, so that a test names only what it is about."""

from __future__ import annotations

from iris_proto.v1.controller_pb2 import LogData, LogEnd, LogsFinished, StreamLogsResponse
from iris_proto.v1.job_pb2 import (
    Attempt,
    AttemptId,
    AttemptState,
    Job,
    JobSpec,
    JobState,
    Place,
    Task,
    TaskCount,
    TaskState,
)


def attempt_id(task: int = 0, number: int = 1) -> AttemptId:
    return AttemptId(job_id="j", task_index=task, epoch=7, number=number)


def data(
    offset: int, text: bytes, task: int = 0, number: int = 1, dropped_before: int = 0
) -> StreamLogsResponse:
    return StreamLogsResponse(
        data=LogData(id=attempt_id(task, number), offset=offset, data=text, dropped_before=dropped_before)
    )


def end(length: int, task: int = 0, number: int = 1, truncated: bool = False) -> StreamLogsResponse:
    return StreamLogsResponse(end=LogEnd(id=attempt_id(task, number), length=length, truncated=truncated))


def finished(arriving: int = 0) -> StreamLogsResponse:
    state = JobState.JOB_STATE_SUCCEEDED
    return StreamLogsResponse(finished=LogsFinished(state=state, arriving=arriving))


def job(state: str, reason: str = "", message: str = "", replicas: int = 1, **counts: int) -> Job:
    found = Job(
        job_id="j",
        state=JobState.Value(f"JOB_STATE_{state}"),
        reason=reason,
        message=message,
        spec=JobSpec(replicas=replicas),
        task_counts=[
            TaskCount(state=TaskState.Value(f"TASK_STATE_{name}"), count=count)
            for name, count in counts.items()
        ],
    )
    return found


def task(state: str, reason: str = "", message: str = "", index: int = 0, attempts: int = 0) -> Task:
    return Task(
        job_id="j",
        task_index=index,
        state=TaskState.Value(f"TASK_STATE_{state}"),
        reason=reason,
        message=message,
        attempts=attempts,
    )


def attempt(state: str, number: int = 1, index: int = 0, reason: str = "", **fields: int) -> Attempt:
    found = Attempt(
        id=attempt_id(index, number),
        state=AttemptState.Value(f"ATTEMPT_STATE_{state}"),
        reason=reason,
        place=Place(slice_name="s-1", worker_index=index),
    )
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def with_attempt(of: Task, latest: Attempt) -> Task:
    of.attempt.CopyFrom(latest)
    of.attempts = max(of.attempts, latest.id.number)
    return of
