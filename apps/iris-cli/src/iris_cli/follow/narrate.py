"""Tells what becomes of a job, a line for each change, always with the reason.

Pure: takes what the controller showed and the time since the start, returns
lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from iris_cli.jobwords import count_words, replicas
from iris_cli.outcome import how_it_ended, is_over
from iris_cli.text import between, duration, reason_words, short_name
from iris_proto.v1.job_pb2 import Attempt, AttemptState, Job, JobState, Task, TaskState

# Tasks whose troubles are told one by one; `iris job show` has them all.
MOST_TROUBLES = 20
# Counts of a large job change all the time.
COUNTS_EVERY_S = 2.0

_COUNTDOWN = re.compile(r"\bwaits \d[0-9a-z.]*")

# The reason of a member that has ended while its gang goes on; it stays RUNNING.
GANG = "gang"

_TROUBLES = frozenset(
    {
        AttemptState.ATTEMPT_STATE_FAILED,
        AttemptState.ATTEMPT_STATE_KILLED,
        AttemptState.ATTEMPT_STATE_WORKER_LOST,
        AttemptState.ATTEMPT_STATE_PREEMPTED,
    }
)
_TERMINAL = frozenset(
    {
        TaskState.TASK_STATE_SUCCEEDED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_KILLED,
        TaskState.TASK_STATE_UNSCHEDULABLE,
    }
)


class Narrator:
    """What has been told of one job so far."""

    def __init__(self) -> None:
        # The only task of a job of one, as it was last shown.
        self._task: Task | None = None
        self._told = ""
        self._told_at = float("-inf")
        self._counts = ""
        self._troubles: set[tuple[int, int]] = set()

    def lines(self, job: Job, tasks: Iterable[Task], elapsed_s: float) -> list[str]:
        """What is new, ready to print; how the job ended is `final_line`'s."""
        found = []
        if replicas(job) > 1:
            found += self._trouble_lines(list(tasks))
            found += [] if is_over(job.state) else self._job_lines(job, elapsed_s)
        else:
            for task in tasks:
                self._task = task
            found += [] if is_over(job.state) else self._task_lines(job)
        return [f"{duration(elapsed_s):>8}  {line}" for line in found]

    def _task_lines(self, job: Job) -> list[str]:
        words = _task_words(job, self._task) if self._task else _job_words(job)
        if _gist(words) == self._told:
            return []
        self._told = _gist(words)
        return [words]

    def _job_lines(self, job: Job, elapsed_s: float) -> list[str]:
        words, counts = _job_words(job), count_words(job)
        due = counts != self._counts and elapsed_s - self._told_at >= COUNTS_EVERY_S
        if _gist(words) == self._told and not due:
            return []
        self._told, self._counts, self._told_at = _gist(words), counts, elapsed_s
        return [f"{words} ({counts})" if counts else words]

    def _trouble_lines(self, tasks: list[Task]) -> list[str]:
        found = []
        for task in tasks:
            trouble = _trouble(task)
            if trouble is None or (task.task_index, trouble.ended) in self._troubles:
                continue
            self._troubles.add((task.task_index, trouble.ended))
            if len(self._troubles) <= MOST_TROUBLES:
                found.append(f"task {task.task_index}: {trouble.words}")
            elif len(self._troubles) == MOST_TROUBLES + 1:
                found.append(f"more tasks had troubles: iris job show {task.job_id}")
        return found


class _Trouble(NamedTuple):
    """An end of a task's attempt that was none of a success; `ended` counts its attempts so far."""

    ended: int
    words: str


def _trouble(task: Task) -> _Trouble | None:
    if task.HasField("attempt") and task.attempt.state in _TROUBLES:
        # Whether a gang runs again is decided once all of its members are out.
        decided = not _is_terminal(task) and task.reason != GANG
        again = "; will run again" if decided else ""
        return _Trouble(task.attempts, f"{how_it_ended(task)}{again}")
    if task.attempts < 2:
        return None
    # The next attempt was there before anybody could see how the last one ended.
    counts = (("failed", task.failures), ("lost", task.losses))
    why = ", ".join(f"{count} {word}" for word, count in counts if count)
    words = f"attempt {task.attempts - 1} has ended; attempt {task.attempts} follows"
    return _Trouble(task.attempts - 1, f"{words} ({why} so far)" if why else words)


def final_line(job: Job, tasks: Iterable[Task] = ()) -> str:
    """How a job ended, and how long it waited and ran."""
    known = list(tasks)
    took = between(_moment(job, "submitted_at"), _moment(job, "finished_at"))
    line = f"job {job.job_id} {short_name(JobState, job.state)}"
    if took is not None:
        line += f" after {duration(took)}"
    why = _final_reason(job, known)
    if why:
        line += f": {why}"
    parts = _spans(job, known)
    return f"{line} ({', '.join(parts)})" if parts else line


def _spans(job: Job, tasks: Sequence[Task]) -> list[str]:
    """How long a job waited and ran; of one that ran more than once its last run, it may have waited between."""
    waited = between(_moment(job, "submitted_at"), _moment(job, "started_at"))
    if replicas(job) == 1 and tasks and tasks[-1].attempts > 1:
        ran = _ran(tasks[-1].attempt)
        spans = (("first waited", waited), (f"attempt {tasks[-1].attempts} ran", ran))
    else:
        ran = between(_moment(job, "started_at"), _moment(job, "finished_at"))
        spans = (("waited", waited), ("ran", ran))
    return [f"{words} {duration(span)}" for words, span in spans if span is not None]


def _ran(attempt: Attempt) -> float | None:
    began = attempt.started_at if attempt.HasField("started_at") else None
    ended = attempt.finished_at if attempt.HasField("finished_at") else None
    return between(began, ended)


def _final_reason(job: Job, tasks: list[Task]) -> str:
    if replicas(job) > 1:
        return "; ".join(filter(None, (count_words(job), reason_words(job.reason, job.message))))
    if job.state == JobState.JOB_STATE_SUCCEEDED:
        return ""
    if tasks and tasks[-1].HasField("attempt") and job.state == JobState.JOB_STATE_FAILED:
        return how_it_ended(tasks[-1])
    return reason_words(job.reason, job.message)


def _gist(words: str) -> str:
    """What is worth a line when it changes; how long a wait is still to be is not."""
    return _COUNTDOWN.sub("waits", words)


def _job_words(job: Job) -> str:
    why = reason_words(job.reason, job.message)
    if job.state == JobState.JOB_STATE_PENDING:
        return _with_reason("waiting", why)
    state = short_name(JobState, job.state).lower()
    # A running job's reason is that of its tasks which wait.
    waiting = sum(c.count for c in job.task_counts if c.state == TaskState.TASK_STATE_PENDING)
    if job.state == JobState.JOB_STATE_RUNNING:
        return f"{state}; {waiting} wait: {why}" if waiting and why else state
    return _with_reason(state, why)


def _task_words(job: Job, task: Task) -> str:
    why = reason_words(task.reason, task.message) or reason_words(job.reason, job.message)
    state = short_name(TaskState, task.state).lower()
    if task.state == TaskState.TASK_STATE_PENDING:
        if task.HasField("attempt") and task.attempt.state in _TROUBLES:
            state = f"attempt {task.attempts}: {how_it_ended(task)}; waiting"
        else:
            state = "waiting"
        return _with_reason(state, why)
    if task.HasField("attempt") and task.attempt.HasField("place"):
        place = task.attempt.place
        state += f" on {place.slice_name} worker {place.worker_index}"
    if task.attempts > 1:
        state += f" (attempt {task.attempts})"
    return _with_reason(state, reason_words(task.reason, task.message))


def _with_reason(words: str, why: str) -> str:
    return f"{words}: {why}" if why else words


def _is_terminal(task: Task) -> bool:
    return task.state in _TERMINAL


def _moment(job: Job, field: Literal["submitted_at", "started_at", "finished_at"]) -> Timestamp | None:
    moment: Timestamp = getattr(job, field)
    return moment if job.HasField(field) else None
