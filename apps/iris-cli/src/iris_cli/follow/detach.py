"""What is said where following ends before the job: Ctrl-C, or nowhere to print to."""

from __future__ import annotations

from iris_cli.exits import AFTER_SUBMISSION, STREAM_BROKEN, CliError, OutputFailed
from iris_cli.locate import Cluster
from iris_cli.output import Output


def say_detached(cluster: Cluster, job_id: str, output: Output) -> None:
    """The job goes on; how to come back to it, and how to stop it."""
    output.note("")
    output.note("iris: detached; the job goes on")
    output.note(f"      come back: {cluster.command(f'job logs -f {job_id}')}")
    output.note(f"      stop it:   {cluster.command(f'job stop {job_id}')}")


def output_lost(error: OutputFailed, cluster: Cluster, job_id: str) -> CliError:
    """The same error where a job was followed, which it does not stop."""
    back = cluster.command(f"job logs -f {job_id}")
    return CliError(
        AFTER_SUBMISSION + STREAM_BROKEN,
        f"{error.message}; job {job_id} goes on without it",
        hint=f"come back: {back}",
    )
