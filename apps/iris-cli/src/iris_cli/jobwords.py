"""What can be said of a job as it stands. Pure."""

from __future__ import annotations

from iris_cli.text import short_name
from iris_proto.v1.job_pb2 import Job, JobSpec, TaskState


def count_words(job: Job) -> str:
    """`12 running, 8 pending`."""
    return ", ".join(
        f"{entry.count} {short_name(TaskState, entry.state).lower()}" for entry in job.task_counts
    )


def gang_words(spec: JobSpec) -> str:
    """How the tasks of a job belong together; empty if they do not."""
    if spec.slices > 1:
        return f"over {spec.slices} slices"
    return "yes" if spec.gang else ""


def replicas(job: Job) -> int:
    """How many tasks a job has."""
    return max(1, job.spec.replicas)
