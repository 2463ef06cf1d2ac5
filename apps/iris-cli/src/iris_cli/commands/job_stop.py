"""`iris job stop`."""

from __future__ import annotations

from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.locate import find_cluster
from iris_cli.outcome import is_over
from iris_cli.output import Output
from iris_cli.text import short_name
from iris_proto.v1.controller_pb2 import StopJobRequest
from iris_proto.v1.job_pb2 import JobState


def run(options: Namespace) -> int:
    """Stop a job; returns when the controller has taken it down."""
    output = Output(options)
    cluster = find_cluster(options)
    with Controller(cluster).connect() as connection:
        request = StopJobRequest(job_id=options.job_id)
        response = connection.call(connection.stub.StopJob, request)
    job = response.job
    if output.structured:
        output.message(response)
    elif is_over(job.state):
        output.note(f"iris: job {job.job_id} is {short_name(JobState, job.state)}")
    else:
        wait = cluster.command(f"job wait {job.job_id}")
        output.note(f"iris: job {job.job_id} is being stopped; wait for its end: {wait}")
    return 0
