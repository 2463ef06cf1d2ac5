"""A job's changes, read over as many connections as it takes."""

from __future__ import annotations

from collections.abc import Iterator

from iris_cli.client import Connection, Controller
from iris_cli.follow.retry import Retry, resilient
from iris_cli.outcome import is_over
from iris_proto.v1.controller_pb2 import WatchJobRequest, WatchJobResponse


def read_changes(controller: Controller, job_id: str, retry: Retry) -> Iterator[WatchJobResponse]:
    """The job now and at every change, until it is over.

    After a break everything that changed meanwhile comes at once.

    Raises:
        CliError: the stream broke for good before the job's end.
    """

    def open_stream(connection: Connection) -> Iterator[WatchJobResponse]:
        return connection.stream(connection.stub.WatchJob, WatchJobRequest(job_id=job_id))

    def is_last(change: WatchJobResponse) -> bool:
        return is_over(change.job.state)

    return resilient(controller, open_stream, is_last, retry)
