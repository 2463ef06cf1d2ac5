"""`iris job list`."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.jobwords import gang_words, replicas
from iris_cli.listings import list_jobs
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import (
    clip,
    duration,
    moment_text,
    safe,
    seconds_of,
    short_name,
    why_words,
)
from iris_proto.v1.job_pb2 import Job, JobState, TaskState

HEADERS = ("JOB ID", "NAME", "STATE", "TASKS", "AGE", "RAN", "REASON")
WIDE_HEADERS = (*HEADERS, "ACCELERATOR", "GANG", "SUBMITTED", "COMMAND")
NAME_WIDTH = 24
NONE = "no jobs; submit one: iris job run -- COMMAND"
NONE_ACTIVE = "no job is active; those that have ended: iris job list"


def run(options: Namespace) -> int:
    """List jobs, newest first."""
    output = Output(options)
    with Controller(find_cluster(options)).connect() as connection:
        response = list_jobs(connection, active_only=options.active)
    if output.structured:
        output.message(response)
        return 0
    now = time.time()
    rows = [job_row(job, now, wide=output.wide, cut=output.cuts) for job in response.jobs]
    headers = WIDE_HEADERS if output.wide else HEADERS
    output.table(headers, rows, NONE_ACTIVE if options.active else NONE)
    if response.next_page_token:
        output.note(f"iris: only the newest {len(rows)} jobs are shown")
    return 0


def job_row(job: Job, now: float, *, wide: bool, cut: bool) -> tuple[str, ...]:
    """A job as a row of the table."""
    state = short_name(JobState, job.state)
    age = duration(now - seconds_of(job.submitted_at)) if job.HasField("submitted_at") else ""
    name = safe(job.name)
    row = (
        job.job_id,
        clip(name, NAME_WIDTH) if cut else name,
        state,
        _progress(job),
        age,
        _ran(job, now),
        why_words(state, job.reason, job.message),
    )
    if not wide:
        return row
    submitted = moment_text(job.submitted_at) if job.HasField("submitted_at") else ""
    gang = gang_words(job.spec) or "no"
    return (*row, job.spec.accelerator, gang, submitted, shlex.join(job.spec.command))


def _progress(job: Job) -> str:
    """How many tasks are done: `3/4`."""
    counts = {entry.state: entry.count for entry in job.task_counts}
    return f"{counts.get(TaskState.TASK_STATE_SUCCEEDED, 0)}/{replicas(job)}"


def _ran(job: Job, now: float) -> str:
    # One that waits again does not run.
    if not job.HasField("started_at") or job.state == JobState.JOB_STATE_PENDING:
        return ""
    end = seconds_of(job.finished_at) if job.HasField("finished_at") else now
    return duration(end - seconds_of(job.started_at))
