"""What the store holds, as the oracle has read it from the commits."""

from __future__ import annotations

from collections.abc import Iterable

from iris_controller.core.entities import ClusterState, Job, JobStatus, Row, Slice, Task
from iris_controller.core.states import TaskState
from iris_controller.core.values import AttemptId, Place, TaskId


class Rows:
    """The tables by key."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.jobs: dict[str, Job] = {}
        self.statuses: dict[str, JobStatus] = {}
        self.tasks: dict[TaskId, Task] = {}
        self.slices: dict[str, Slice] = {}
        self.cluster = ClusterState()
        for row in rows:
            self.put(row)

    def put(self, row: Row) -> Row | None:
        """Takes a row; returns the one that it replaces."""
        was: Row | None = None
        match row:
            case Job():
                was, self.jobs[row.job_id] = self.jobs.get(row.job_id), row
            case JobStatus():
                was, self.statuses[row.job_id] = self.statuses.get(row.job_id), row
            case Task():
                was, self.tasks[row.id] = self.tasks.get(row.id), row
            case Slice():
                was, self.slices[row.name] = self.slices.get(row.name), row
            case ClusterState():
                was, self.cluster = self.cluster, row
            case _:
                pass
        return was

    def members(self, job_id: str) -> list[Task]:
        """A job's tasks; of an adopted one only those that were reported."""
        job = self.jobs[job_id]
        ids = [TaskId(job_id, index) for index in range(job.spec.replicas)]
        known = [task_id for task_id in ids if task_id in self.tasks or not job.adopted]
        # One without a row waits, or was killed with its job.
        status = self.statuses.get(job_id)
        state = TaskState.PENDING if status is None or status.stop is None else TaskState.KILLED
        return [self.tasks.get(task_id) or Task(task_id, state) for task_id in known]


def task_name(task_id: TaskId) -> str:
    """A task in the story."""
    return f"{task_id.job_id}/{task_id.task_index}"


def attempt_name(attempt_id: AttemptId) -> str:
    """An attempt in the story."""
    return f"{task_name(attempt_id.task)} attempt {attempt_id.number} of epoch {attempt_id.epoch}"


def place_name(place: Place) -> str:
    """A worker in the story."""
    return f"{place.slice_name}/{place.worker_index}"
