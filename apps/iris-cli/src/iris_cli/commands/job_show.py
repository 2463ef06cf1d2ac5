"""`iris job show`."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.documents import message_to_dict
from iris_cli.jobwords import count_words, gang_words, replicas
from iris_cli.listings import list_tasks
from iris_cli.locate import find_cluster
from iris_cli.outcome import SAID_BY_EXIT, exit_code_text
from iris_cli.output import Output
from iris_cli.text import (
    cpus,
    duration,
    moment_text,
    reason_words,
    seconds_of,
    short_name,
    size,
    why_words,
)
from iris_config.units import format_duration
from iris_proto.v1.controller_pb2 import GetJobRequest, GetJobResponse, ListTasksResponse
from iris_proto.v1.job_pb2 import Job, JobSpec, JobState, Task, TaskState

HEADERS = ("TASK", "STATE", "ATTEMPTS", "EXIT", "RAN", "WHERE", "REASON")


def run(options: Namespace) -> int:
    """Show one job and its tasks."""
    output = Output(options)
    with Controller(find_cluster(options)).connect() as connection:
        request = GetJobRequest(job_id=options.job_id)
        response = connection.call(connection.stub.GetJob, request)
        tasks = list_tasks(connection, options.job_id)
    if output.structured:
        output.document(_document(response, tasks))
        return 0
    now = time.time()
    output.fields(job_fields(response.job))
    output.line("")
    rows = [task_row(task, now) for task in tasks.tasks]
    output.table(HEADERS, rows, "its tasks are not known")
    return 0


def _document(response: GetJobResponse, tasks: ListTasksResponse) -> dict[str, object]:
    """Both responses in one document: `job` and `tasks`."""
    return {**message_to_dict(response), "tasks": message_to_dict(tasks)["tasks"]}


def job_fields(job: Job) -> list[tuple[str, str]]:
    """What there is to say about a job as a whole."""
    spec = job.spec
    resources = f"{cpus(spec.resources.cpu_millis)} cpu" if spec.resources.cpu_millis else ""
    if spec.resources.memory_bytes:
        resources += f", {size(spec.resources.memory_bytes)}"
    fields = [
        ("job", job.job_id),
        ("name", job.name),
        ("state", short_name(JobState, job.state)),
        ("reason", reason_words(job.reason, job.message)),
        ("command", shlex.join(spec.command)),
        ("tasks", f"{replicas(job)}{_together(spec)}: {count_words(job)}"),
        ("accelerator", spec.accelerator),
        ("each", resources),
        ("timeout", _timeout(spec)),
    ]
    fields += [
        (word, moment_text(getattr(job, f"{word}_at")))
        for word in ("submitted", "started", "finished")
        if job.HasField(f"{word}_at")  # type: ignore[arg-type]
    ]
    return [(name, value) for name, value in fields if value]


def task_row(task: Task, now: float) -> tuple[str, ...]:
    """A task with its latest attempt as a row of the table."""
    attempt = task.attempt
    place = attempt.place
    where = f"{place.slice_name}/{place.worker_index}" if attempt.HasField("place") else ""
    return (
        str(task.task_index),
        short_name(TaskState, task.state),
        str(task.attempts),
        exit_code_text(attempt),
        _ran(task, now),
        where,
        _why(task),
    )


def _why(task: Task) -> str:
    """Why a task is as it is, where the other columns do not say it."""
    reason, message = task.reason or task.attempt.reason, task.message or task.attempt.message
    if reason in SAID_BY_EXIT:
        reason = ""
    return why_words(short_name(TaskState, task.state), reason, message) or _before(task)


def _before(task: Task) -> str:
    """What became of the attempts before the one that is shown."""
    counts = (("failed", task.failures), ("lost with their machine", task.losses))
    why = ", ".join(f"{count} {word}" for word, count in counts if count)
    return f"attempts before: {why}" if task.attempts > 1 and why else ""


def _together(spec: JobSpec) -> str:
    where = f" {gang_words(spec)}" if spec.slices > 1 else ""
    return f" in a gang{where}" if spec.gang else ""


def _timeout(spec: JobSpec) -> str:
    """As it was written, not rounded as what was measured is."""
    return f"{format_duration(spec.timeout.ToNanoseconds())} an attempt" if spec.HasField("timeout") else ""


def _ran(task: Task, now: float) -> str:
    attempt = task.attempt
    if not attempt.HasField("started_at"):
        return ""
    end = seconds_of(attempt.finished_at) if attempt.HasField("finished_at") else now
    return duration(end - seconds_of(attempt.started_at))
