"""What the store of a controller holds that ran for months; made of the core's own rows.

Of so many slices all are gone, and still looked for, as they are for a day. There
is a job for each; it ended long ago, but for one in a hundred, which waits. A job
has ten tasks, a task ten attempts.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from iris_controller.codec.rows import writes
from iris_controller.core import states as s
from iris_controller.core.entities import (
    Attempt,
    Job,
    JobStatus,
    PastAttempt,
    Record,
    Row,
    Slice,
    Task,
    Worker,
)
from iris_controller.core.states import GoneCause, JobState, TaskState, WorkerState
from iris_controller.core.values import (
    NO_REASON,
    AttemptEnd,
    AttemptId,
    JobSpec,
    Place,
    Reason,
    Resources,
    TaskId,
)
from iris_controller.core.world import RECORDS_KEPT, Changes, Key
from iris_controller.shell.memory import open_store
from iris_platform import ClusterPaths
from iris_platform.names import slice_name

TASKS_A_JOB = 10
ATTEMPTS_A_TASK = 10
# One job in so many waits.
WAITING_EVERY = 100
ROWS_A_COMMIT = 20_000
HOUR_MS = 3_600_000
LETTERS = "bcdfghjkmnpqrstvwxz23456789"
Keyed: TypeAlias = tuple[Key, Row]


@dataclass(frozen=True)
class Past:
    """How much there was, for whom, and what the jobs ask for that wait."""

    slices: int
    cluster_id: str
    group: str
    zone: str
    wanted: Resources
    # The epoch of the start that did it all, and when it began.
    epoch: int
    began_ms: int

    @property
    def a_job(self) -> str:
        """A job that has ended."""
        return job_name(1)

    @property
    def waiting_jobs(self) -> int:
        """How many jobs wait."""
        return len(range(0, self.slices, WAITING_EVERY))


def job_name(number: int) -> str:
    """The id of a job; in no order, as they are."""
    return "j" + "".join(random.Random(number).choices(LETTERS, k=9))


def fill(paths: ClusterPaths, past: Past) -> int:
    """Adds it to the store of a controller that does not run; returns how many rows."""
    store = open_store(paths.store_file, paths.pki_dir, past.cluster_id, os.urandom)
    try:
        (last,) = store.db.execute("SELECT coalesce(max(event_id), 0) FROM events").fetchone()
        rows = _rows(past, last)
        count = 0
        while batch := list(islice(rows, ROWS_A_COMMIT)):
            changes: Changes = dict(batch)
            store.commit(writes(changes))
            count += len(changes)
        return count
    finally:
        store.close()


def _rows(past: Past, last_event_id: int) -> Iterator[Keyed]:
    for number in range(past.slices):
        job_id = job_name(number)
        name = slice_name(past.cluster_id, past.group, past.epoch, 1_000 + number)
        place = Place(name, 0)
        yield from _slice(past, place)
        yield from _job(past, job_id, number, place)
    for event_id in range(last_event_id + 1, RECORDS_KEPT + 1):
        why = Reason("exit", "attempt 3: the program ended with exit code 1")
        yield ("event", event_id), Record(event_id, past.began_ms, "task", f"{job_id}/0", "RETRY", why)


def _slice(past: Past, place: Place) -> Iterator[Keyed]:
    gone = s.SliceGone(Reason("idle", "no task for 300 s"), GoneCause.DELETED)
    since = past.began_ms + HOUR_MS
    row = Slice(place.slice_name, past.group, past.zone, 1, gone, past.began_ms, since)
    left = Reason("idle", "its slice is gone")
    yield ("slice", row.name), row
    yield ("worker", place), Worker(place, WorkerState.LEFT, left, "b" * 36, "0.1.0", Resources(64_000))


def _job(past: Past, job_id: str, order: int, place: Place) -> Iterator[Keyed]:
    waits = order % WAITING_EVERY == 0
    command = ("python", "-m", "train", "--config", "configs/base.yaml")
    env = {"RUN": job_id, "DATA": "gs://somewhere/data"}
    given = past.wanted if waits else Resources(4_000)
    spec = JobSpec("train", command, env, TASKS_A_JOB, given, max_failures=ATTEMPTS_A_TASK)
    # Orders below those of the cluster's own jobs, which were submitted later.
    yield ("job", job_id), Job(job_id, f"r{job_id}", spec, past.began_ms, order - past.slices)
    counts = {TaskState.SUCCEEDED: TASKS_A_JOB}
    ended = JobStatus(
        job_id, JobState.SUCCEEDED, counts, NO_REASON, None, past.began_ms, past.began_ms + HOUR_MS
    )
    yield ("status", job_id), JobStatus(job_id, JobState.PENDING, {}) if waits else ended
    for index in range(TASKS_A_JOB):
        yield from _task(past, TaskId(job_id, index), place, waits=waits)


def _task(past: Past, task_id: TaskId, place: Place, *, waits: bool) -> Iterator[Keyed]:
    """Every attempt failed but the last one, and that too if the task waits for another."""
    attempts: list[Attempt] = []
    for number in range(1, ATTEMPTS_A_TASK + 1):
        started = past.began_ms + number * 60_000
        last = number == ATTEMPTS_A_TASK and not waits
        why = Reason("exit", "exit code 0" if last else "exit code 1")
        end = AttemptEnd(started + 30_000, why, 0 if last else 1, None, 4_096)
        state = s.AttemptSucceeded(started, end) if last else s.AttemptFailed(started, end)
        attempt_id = AttemptId(*task_id, past.epoch, number)
        attempts.append(Attempt(attempt_id, place, "b" * 36, started, state, True, "10.0.0.1"))
    for attempt in attempts[:-1]:
        yield ("past", attempt.id), PastAttempt(attempt)
    outcome = TaskState.PENDING if waits else TaskState.SUCCEEDED
    reason = Reason("exit", "exit code 1") if waits else NO_REASON
    failures = ATTEMPTS_A_TASK - (not waits)
    yield ("task", task_id), Task(task_id, outcome, reason, ATTEMPTS_A_TASK, failures, 0, attempts[-1])
