"""`iris job list`."""

from __future__ import annotations

import time
from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.jobwords import replicas
from iris_cli.listings import list_jobs
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import (
    clip,
    duration,
    moment_text,
    reason_words,
    safe,
    seconds_of,
    short_name,
)
from iris_proto.v1.job_pb2 import Job, JobState, TaskState

HEADERS = ("JOB ID", "NAME", "STATE", "TASKS", "AGE", "RAN", "REASON")
WIDE_HEADERS = (*HEADERS, "SUBMITTED", "COMMAND")
NAME_WIDTH = 24
REASON_WIDTH = 60


def run(options: Namespace) -> int:
    """List jobs, newest first."""
    output = Output(options)
    with Controller(find_cluster(options)).connect() as connection:
        response = list_jobs(connection, active_only=options.active)
    if output.structured:
        output.message(response)
        return 0
    now = time.time()
    rows = [job_row(job, now, wide=output.wide) for job in response.jobs]
    headers = WIDE_HEADERS if output.wide else HEADERS
    output.table(headers, rows, "no jobs; submit one: iris job run -- COMMAND")
    if response.next_page_token:
        output.note(f"iris: only the newest {len(rows)} jobs are shown")
    return 0


def job_row(job: Job, now: float, *, wide: bool) -> tuple[str, ...]:
    """A job as a row of the table."""
    why = reason_words(job.reason, job.message)
    age = duration(now - seconds_of(job.submitted_at)) if job.HasField("submitted_at") else ""
    name = safe(job.name)
    row = (
        job.job_id,
        name if wide else clip(name, NAME_WIDTH),
        short_name(JobState, job.state),
        _progress(job),
        age,
        _ran(job, now),
        why if wide else clip(why, REASON_WIDTH),
    )
    if not wide:
        return row
    submitted = moment_text(job.submitted_at) if job.HasField("submitted_at") else ""
    return (*row, submitted, " ".join(job.spec.command))


def _progress(job: Job) -> str:
    """How many tasks are done: `3/4`."""
    counts = {entry.state: entry.count for entry in job.task_counts}
    return f"{counts.get(TaskState.TASK_STATE_SUCCEEDED, 0)}/{replicas(job)}"


def _ran(job: Job, now: float) -> str:
    if not job.HasField("started_at"):
        return ""
    end = seconds_of(job.finished_at) if job.HasField("finished_at") else now
    return duration(end - seconds_of(job.started_at))
