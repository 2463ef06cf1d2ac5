"""`iris job logs`."""

from __future__ import annotations

from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.exits import INTERRUPTED, OutputFailed
from iris_cli.follow.detach import output_lost, say_detached
from iris_cli.follow.logs import LogPrinter, read_logs
from iris_cli.follow.retry import Retry, limit_from_environment
from iris_cli.jobwords import replicas
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_proto.v1.controller_pb2 import GetJobRequest, StreamLogsRequest

# What is there already is not worth a longer wait.
SNAPSHOT_LIMIT_S = 10.0


def run(options: Namespace) -> int:
    """Print a job's logs; with --follow until the job has ended."""
    output = Output(options)
    cluster = find_cluster(options)
    controller = Controller(cluster)
    limit_s = limit_from_environment()
    if not options.follow:
        limit_s = min(limit_s, SNAPSHOT_LIMIT_S)
    try:
        _print_logs(options, controller, output, limit_s)
    except OutputFailed as error:
        if not options.follow:
            raise
        raise output_lost(error, cluster, options.job_id) from error
    except KeyboardInterrupt:
        if options.follow:
            say_detached(cluster, options.job_id, output)
        return INTERRUPTED
    return 0


def _print_logs(options: Namespace, controller: Controller, output: Output, limit_s: float) -> None:
    with controller.connect() as connection:
        request = GetJobRequest(job_id=options.job_id)
        job = connection.call(connection.stub.GetJob, request).job
    prefixed = options.task is None and replicas(job) > 1
    printer = LogPrinter(output, prefixed=prefixed)
    retry = Retry(limit_s, patient=True, announce=lambda text: output.note(f"iris: {text}"))
    try:
        for piece in read_logs(controller, _request(options), retry):
            if output.structured:
                output.stream_message(piece.message)
            else:
                printer.show(piece)
    finally:
        # Also where the stream broke: what did come is not held back.
        printer.finish()


def _request(options: Namespace) -> StreamLogsRequest:
    request = StreamLogsRequest(job_id=options.job_id, follow=options.follow)
    # Both have a meaning when they are 0, which is not that of being unset.
    if options.task is not None:
        request.task_index = options.task
    if options.tail is not None:
        request.tail_lines = options.tail
    return request
