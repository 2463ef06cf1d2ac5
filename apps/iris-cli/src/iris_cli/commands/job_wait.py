"""`iris job wait`."""

from __future__ import annotations

from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.exits import INTERRUPTED, NOT_FOUND, CliError, OutputFailed, after_submission
from iris_cli.follow.detach import output_lost, say_detached
from iris_cli.follow.job import Follower
from iris_cli.follow.retry import limit_from_environment
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_proto.v1.controller_pb2 import GetJobRequest


def run(options: Namespace) -> int:
    """Wait until a job has ended; exits as the job did."""
    output = Output(options)
    cluster = find_cluster(options)
    controller = Controller(cluster)
    follower = Follower(controller, output, limit_from_environment(), options.timeout)
    try:
        with controller.connect() as connection:
            request = GetJobRequest(job_id=options.job_id)
            job = connection.call(connection.stub.GetJob, request).job
        return follower.run(job, with_logs=False)
    except OutputFailed as error:
        raise output_lost(error, cluster, options.job_id) from error
    except CliError as error:
        # The program's own status may be any small number.
        hint = error.hint
        if not hint and error.status != NOT_FOUND:
            hint = f"wait again: {cluster.command(f'job wait {options.job_id}')}"
        hinted = CliError(error.status, error.message, hint=hint, details=error.details)
        raise after_submission(hinted) from error
    except KeyboardInterrupt:
        say_detached(cluster, options.job_id, output)
        return INTERRUPTED
