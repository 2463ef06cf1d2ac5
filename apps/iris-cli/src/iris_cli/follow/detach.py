"""What is said when somebody stops following with Ctrl-C."""

from __future__ import annotations

from iris_cli.locate import Cluster
from iris_cli.output import Output


def say_detached(cluster: Cluster, job_id: str, output: Output) -> None:
    """The job goes on; how to come back to it, and how to stop it."""
    output.note("")
    output.note("iris: detached; the job goes on")
    output.note(f"      come back: {cluster.command(f'job logs -f {job_id}')}")
    output.note(f"      stop it:   {cluster.command(f'job stop {job_id}')}")
