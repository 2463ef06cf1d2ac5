"""Follows one job to its end: changes on stderr, its logs if wanted, the result."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from iris_cli.client import Controller, RpcFailed
from iris_cli.exits import TIMED_OUT, CliError
from iris_cli.follow.logs import LogPrinter, read_logs
from iris_cli.follow.narrate import Narrator, final_line
from iris_cli.follow.positions import Piece
from iris_cli.follow.retry import Retry
from iris_cli.follow.together import Together
from iris_cli.follow.watch import read_changes
from iris_cli.jobwords import replicas
from iris_cli.listings import list_tasks
from iris_cli.outcome import exit_status
from iris_cli.output import Output
from iris_cli.text import duration
from iris_proto.v1.controller_pb2 import (
    GetJobRequest,
    GetJobResponse,
    StreamLogsRequest,
    WatchJobResponse,
)
from iris_proto.v1.job_pb2 import Job, Task

LOGS = "logs"
CHANGES = "changes"


@dataclass
class Follower:
    """Follows a job; `run` returns the exit status that its end means."""

    controller: Controller
    output: Output
    limit_s: float
    timeout_s: float | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, job: Job, *, with_logs: bool) -> int:
        """Follow to the end and report it.

        Raises:
            CliError: the end is not known: out of reach, out of time, broken.
        """
        streams: dict[str, Iterator[object]] = {CHANGES: self._changes(job.job_id)}
        if with_logs:
            streams[LOGS] = self._logs(job.job_id)
        printer = LogPrinter(self.output, prefixed=replicas(job) > 1)
        teller = _Teller(self.output)
        try:
            with Together(self.controller, streams, self._stopped) as together:
                for item in together.items(self.timeout_s):
                    if item.source == CHANGES and item.value is not None:
                        job = teller.tell(cast("WatchJobResponse", item.value))
                    elif item.source == LOGS and item.value is not None:
                        printer.show(cast("Piece", item.value))
        except TimeoutError as error:
            waited = duration(self.timeout_s or 0)
            raise CliError(TIMED_OUT, f"job {job.job_id} had not ended after {waited}; it goes on") from error
        finally:
            printer.finish()
        return self._report(job.job_id)

    def _changes(self, job_id: str) -> Iterator[WatchJobResponse]:
        return read_changes(self.controller, job_id, self._retry(announce=True))

    def _logs(self, job_id: str) -> Iterator[Piece]:
        request = StreamLogsRequest(job_id=job_id, follow=True)
        return read_logs(self.controller, request, self._retry(announce=False))

    def _retry(self, *, announce: bool) -> Retry:
        def say(text: str) -> None:
            # Both streams break together; one of them says so.
            if announce:
                self.output.note(f"iris: {text}")

        return Retry(self.limit_s, patient=True, announce=say, stopped=self._stopped)

    def _report(self, job_id: str) -> int:
        response, tasks = self._read_result(job_id)
        job = response.job
        task = tasks[-1] if tasks else None
        self.output.note(f"iris: {final_line(job, tasks)}")
        if self.output.structured:
            self.output.message(response)
        return exit_status(job, task)

    def _read_result(self, job_id: str) -> tuple[GetJobResponse, list[Task]]:
        """The job as it ended, and the task of a job of one, whose status counts."""
        # The followers' streams asked to stop; this asks on its own account.
        retry = Retry(self.limit_s, patient=True, announce=self.output.note)
        while True:
            try:
                with self.controller.connect() as connection:
                    request = GetJobRequest(job_id=job_id)
                    response = connection.call(connection.stub.GetJob, request)
                    single = replicas(response.job) == 1
                    tasks = list_tasks(connection, job_id).tasks if single else []
                    return response, list(tasks)
            except RpcFailed as error:
                retry.pause(error)


class _Teller:
    """Prints the changes of a job as they come."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._narrator = Narrator()
        self._began = time.monotonic()

    def tell(self, change: WatchJobResponse) -> Job:
        """Print what is new; returns the job as it is now."""
        elapsed_s = time.monotonic() - self._began
        for line in self._narrator.lines(change.job, change.tasks, elapsed_s):
            self._output.note(line)
        return change.job
