"""Jobs that a test plays: it writes their output and ends them when it likes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

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

EPOCH = 1_700_000_000_000


@dataclass
class Log:
    """The log of one attempt."""

    id: AttemptId
    data: bytearray = field(default_factory=bytearray)
    state: AttemptState.ValueType = AttemptState.ATTEMPT_STATE_RUNNING
    ended: bool = False
    dropped_before: int = 0


class FakeJob:
    """A job whose every change is announced to whoever waits on `changed`."""

    def __init__(self, job_id: str, spec: JobSpec, changed: threading.Condition) -> None:
        self.changed = changed
        self.version = 0
        self.job = Job(job_id=job_id, name=spec.name, spec=spec, state=JobState.JOB_STATE_PENDING)
        self.job.submitted_at.FromSeconds(1_700_000_000)
        self.tasks = [
            Task(job_id=job_id, task_index=index, state=TaskState.TASK_STATE_PENDING)
            for index in range(max(1, spec.replicas))
        ]
        self.logs: list[Log] = []
        self._count()

    @property
    def over(self) -> bool:
        return self.job.state >= JobState.JOB_STATE_SUCCEEDED

    def wait(self, reason: str, message: str) -> None:
        """The job waits, and why."""
        with self.changed:
            self.job.reason, self.job.message = reason, message
            self._announce()

    def run(self, index: int = 0) -> None:
        """A task starts another attempt."""
        with self.changed:
            task = self.tasks[index]
            task.attempts += 1
            attempt = AttemptId(job_id=self.job.job_id, task_index=index, epoch=EPOCH, number=task.attempts)
            place = Place(slice_name="iris-abcdefghij-here-1-1", worker_index=index)
            task.attempt.CopyFrom(Attempt(id=attempt, state=AttemptState.ATTEMPT_STATE_RUNNING, place=place))
            task.state = TaskState.TASK_STATE_RUNNING
            task.reason = task.message = ""
            self.logs.append(Log(attempt))
            self.job.state = JobState.JOB_STATE_RUNNING
            self.job.reason = self.job.message = ""
            self.job.started_at.FromSeconds(1_700_000_002)
            self._announce()

    def write(self, data: bytes, index: int = 0) -> None:
        """The current attempt of a task writes."""
        with self.changed:
            self._log(index).data += data
            self._announce()

    def fail_attempt(self, exit_code: int, index: int = 0) -> None:
        """An attempt fails, and the task waits for another."""
        with self.changed:
            self._end_attempt(index, exit_code=exit_code)
            self.tasks[index].state = TaskState.TASK_STATE_PENDING
            self.tasks[index].failures += 1
            self._announce()

    def end(
        self, index: int = 0, *, exit_code: int | None = 0, signal: int | None = None, reason: str = "exit"
    ) -> None:
        """A task ends; with the last one the job does."""
        with self.changed:
            self._end_attempt(index, exit_code=exit_code, signal=signal, reason=reason)
            good = exit_code == 0
            task = self.tasks[index]
            task.state = TaskState.TASK_STATE_SUCCEEDED if good else TaskState.TASK_STATE_FAILED
            if all(task.state >= TaskState.TASK_STATE_SUCCEEDED for task in self.tasks):
                failed = any(task.state == TaskState.TASK_STATE_FAILED for task in self.tasks)
                self.job.state = JobState.JOB_STATE_FAILED if failed else JobState.JOB_STATE_SUCCEEDED
                self.job.finished_at.FromSeconds(1_700_000_005)
            self._announce()

    def stop(self) -> None:
        """The job is stopped before anything of it ran to its end."""
        with self.changed:
            for log in self.logs:
                log.ended = True
            for task in self.tasks:
                task.state = TaskState.TASK_STATE_KILLED
            self.job.state, self.job.reason = JobState.JOB_STATE_KILLED, "job_stopped"
            self.job.finished_at.FromSeconds(1_700_000_005)
            self._announce()

    def _end_attempt(
        self, index: int, *, exit_code: int | None = None, signal: int | None = None, reason: str = "exit"
    ) -> None:
        attempt = self.tasks[index].attempt
        attempt.reason = reason
        good = exit_code == 0
        attempt.state = AttemptState.ATTEMPT_STATE_SUCCEEDED if good else AttemptState.ATTEMPT_STATE_FAILED
        if signal is not None:
            attempt.signal = signal
        elif exit_code is not None:
            attempt.exit_code = exit_code
        log = self._log(index)
        log.ended, log.state = True, attempt.state

    def _log(self, index: int) -> Log:
        return [log for log in self.logs if log.id.task_index == index][-1]

    def _announce(self) -> None:
        self._count()
        self.version += 1
        self.changed.notify_all()

    def _count(self) -> None:
        states = [task.state for task in self.tasks]
        del self.job.task_counts[:]
        self.job.task_counts.extend(
            TaskCount(state=state, count=states.count(state)) for state in sorted(set(states))
        )


Program = Callable[[FakeJob], None]


def echo(job: FakeJob) -> None:
    """Prints its arguments and ends well."""
    job.run()
    job.write(" ".join(job.job.spec.command[1:]).encode() + b"\n")
    job.end()


def fail(job: FakeJob) -> None:
    """Ends with the code that its argument names."""
    job.run()
    job.end(exit_code=int(job.job.spec.command[1]))


def killed(job: FakeJob) -> None:
    """Is ended by SIGKILL."""
    job.run()
    job.end(exit_code=None, signal=9, reason="signal")


def missing(job: FakeJob) -> None:
    """Is no program at all."""
    job.run()
    job.end(exit_code=None, reason="not_found")


def hold(job: FakeJob) -> None:
    """Waits for the test to play it."""


PROGRAMS: dict[str, Program] = {
    "echo": echo,
    "fail": fail,
    "killed": killed,
    "missing": missing,
    "hold": hold,
}
