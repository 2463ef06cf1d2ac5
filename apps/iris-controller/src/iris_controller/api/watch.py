"""What of a job changed since it was last shown; for WatchJob."""

from __future__ import annotations

from iris_controller.codec import views
from iris_controller.core.entities import Job, Task
from iris_controller.core.states import TaskState
from iris_controller.core.values import NO_REASON, Reason, TaskId
from iris_controller.core.view import View
from iris_proto.v1 import controller_pb2

# Looking at a task takes about 2 us.
PAUSE_PER_TASK_S = 50e-6


class JobWatch:
    """One watcher's memory of what it was shown."""

    def __init__(self, job: Job, most_tasks: int) -> None:
        self._job = job
        self._most_tasks = most_tasks
        self._tasks: dict[TaskId, Task] = {}
        self._wait: Reason = NO_REASON
        self._last: controller_pb2.WatchJobResponse | None = None

    @property
    def pause_s(self) -> float:
        """How long to wait before looking again, so that looking takes a small part of the time."""
        return min(self._job.spec.replicas, self._most_tasks) * PAUSE_PER_TASK_S

    def news(self, view: View) -> controller_pb2.WatchJobResponse | None:
        """The job with its tasks that changed; None when nothing did."""
        response = controller_pb2.WatchJobResponse(
            job=views.job(view, self._job),
            tasks=[views.task(view, task) for task in self._changed_tasks(view)],
        )
        if self._last is not None and not response.tasks and response.job == self._last.job:
            return None
        self._last = response
        return response

    def _changed_tasks(self, view: View) -> list[Task]:
        """Tasks with a new row, and all that wait when the reason for it changed."""
        wait = view.why_waits(self._job, view.statuses[self._job.job_id])
        waits_anew, self._wait = wait != self._wait, wait
        changed: list[Task] = []
        for index in view.task_indices(self._job)[: self._most_tasks]:
            task_id = TaskId(self._job.job_id, index)
            task = view.task(task_id)
            if task != self._tasks.get(task_id) or (waits_anew and task.state is TaskState.PENDING):
                self._tasks[task_id] = task
                changed.append(task)
        return changed
