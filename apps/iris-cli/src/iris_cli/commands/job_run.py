"""`iris job run`: submit once, whatever the connection does, and follow."""

from __future__ import annotations

import os
import uuid
from argparse import Namespace

from iris_cli.client import Connection, Controller, RpcFailed
from iris_cli.exits import (
    INTERRUPTED,
    TIMED_OUT,
    UNREACHABLE,
    CliError,
    OutputFailed,
    after_submission,
)
from iris_cli.follow.detach import output_lost, say_detached
from iris_cli.follow.job import Follower
from iris_cli.follow.retry import Retry, limit_from_environment
from iris_cli.jobspec import make_spec
from iris_cli.jobwords import replicas
from iris_cli.locate import Cluster, find_cluster
from iris_cli.output import Output
from iris_cli.text import plural
from iris_proto.v1.controller_pb2 import SubmitJobRequest, SubmitJobResponse

# Failures after which it is not known whether the controller has the job.
_UNCERTAIN = frozenset({UNREACHABLE, TIMED_OUT})


def run(options: Namespace) -> int:
    """Submit a job and follow it; exits as the job did."""
    output = Output(options)
    spec = make_spec(options, os.environb)
    cluster = find_cluster(options)
    controller = Controller(cluster)
    limit_s = limit_from_environment()
    # Chosen here: a submission that is repeated makes no second job.
    request = SubmitJobRequest(request_id=str(uuid.uuid4()), spec=spec)
    response = _submit(controller, request, limit_s, output)
    job = response.job
    try:
        if options.detach:
            if output.structured:
                output.message(response)
            else:
                output.line(job.job_id)
            return 0
        output.note(f"iris: submitted job {job.job_id} ({plural(replicas(job), 'task')})")
        return Follower(controller, output, limit_s).run(job, with_logs=True)
    except OutputFailed as error:
        raise output_lost(error, cluster, job.job_id) from error
    except CliError as error:
        raise after_submission(_with_way_back(error, cluster, job.job_id)) from error
    except KeyboardInterrupt:
        say_detached(cluster, job.job_id, output)
        return INTERRUPTED


def _submit(
    controller: Controller, request: SubmitJobRequest, limit_s: float, output: Output
) -> SubmitJobResponse:
    """Submit a job once.

    Raises:
        CliError: refused, out of reach, or interrupted.
    """
    # Without a controller before the first try nothing can have arrived: that
    # is not worth a wait.
    connection = controller.connect()
    retry = Retry(limit_s, patient=True, announce=lambda text: output.note(f"iris: {text}"))
    try:
        while True:
            try:
                with connection:
                    return connection.call(connection.stub.SubmitJob, request)
            except RpcFailed as error:
                connection = _connect_again(controller, retry, error)
    except KeyboardInterrupt:
        interrupted = CliError(INTERRUPTED, "interrupted while submitting")
        raise _maybe_submitted(interrupted, controller.cluster) from None


def _connect_again(controller: Controller, retry: Retry, error: RpcFailed) -> Connection:
    """A connection to try once more, after a try of which nothing is known."""
    if error.status not in _UNCERTAIN:
        raise error
    while True:
        try:
            retry.pause(error)
        except CliError as given_up:
            raise _maybe_submitted(given_up, controller.cluster) from error
        try:
            return controller.connect()
        except RpcFailed as failure:
            error = failure


def _maybe_submitted(error: CliError, cluster: Cluster) -> CliError:
    look = cluster.command("job list")
    message = f"{error.message}; whether the job was submitted is not known"
    return CliError(error.status, message, hint=f"look: {look}")


def _with_way_back(error: CliError, cluster: Cluster, job_id: str) -> CliError:
    """The job exists, and its end is not known: say how to learn it."""
    back = f"the job may go on; come back: {cluster.command(f'job logs -f {job_id}')}"
    hint = f"{error.hint}\n      {back}" if error.hint else back
    return CliError(error.status, error.message, hint=hint)
