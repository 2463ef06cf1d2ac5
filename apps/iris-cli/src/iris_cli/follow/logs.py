"""A job's logs: read over as many connections as it takes, and printed."""

from __future__ import annotations

from collections.abc import Iterator

from iris_cli.client import Connection, Controller, RpcFailed
from iris_cli.exits import STREAM_BROKEN
from iris_cli.follow.lines import LinePrefixer
from iris_cli.follow.positions import AttemptKey, HoleInLog, LogPositions, Piece, attempt_key
from iris_cli.follow.retry import Retry, resilient
from iris_cli.output import Output
from iris_cli.text import plural
from iris_proto.v1.controller_pb2 import LogEnd, StreamLogsRequest, StreamLogsResponse


def read_logs(controller: Controller, request: StreamLogsRequest, retry: Retry) -> Iterator[Piece]:
    """Every piece of a job's logs once, in order within an attempt.

    Raises:
        CliError: the stream broke for good before its end.
    """
    positions = LogPositions(request)

    def open_stream(connection: Connection) -> Iterator[Piece]:
        method = connection.stub.StreamLogs
        for message in connection.stream(method, positions.request()):
            try:
                piece = positions.take(message)
            except HoleInLog as hole:
                raise RpcFailed(STREAM_BROKEN, str(hole), again=True) from hole
            if piece is not None:
                yield piece

    return resilient(controller, open_stream, _is_finished, retry)


def _is_finished(piece: Piece) -> bool:
    return piece.message.WhichOneof("message") == "finished"


class LogPrinter:
    """Writes logs: one task's bytes unchanged, several tasks' lines with a prefix."""

    def __init__(self, output: Output, *, prefixed: bool) -> None:
        self._output = output
        self._prefixer = LinePrefixer() if prefixed else None

    def show(self, piece: Piece) -> None:
        """Print what is new."""
        message: StreamLogsResponse = piece.message
        kind = message.WhichOneof("message")
        if kind == "data":
            key = attempt_key(message.data.id)
            if piece.lost:
                self._show_gap(key, piece.lost)
            data = message.data.data
            self._write(self._prefixer.feed(key, data) if self._prefixer else data)
        elif kind == "end":
            self._show_end(message.end)
        elif kind == "finished":
            self.finish()
            self._show_arriving(message.finished.arriving)

    def finish(self) -> None:
        """Print what was held back."""
        if self._prefixer:
            self._write(self._prefixer.end_all())

    def _show_gap(self, key: AttemptKey, lost: int) -> None:
        if self._prefixer:
            # The line before it has no end any more; what follows is another's.
            self._write(self._prefixer.end(key))
        self._output.note(
            f"iris: {lost} bytes of task {key[0]} were dropped here: its log is over the size limit"
        )

    def _show_arriving(self, tasks: int) -> None:
        if tasks:
            whose = plural(tasks, "ended task")
            self._output.note(f"iris: not all logs of {whose} are here yet; --follow waits for them")

    def _show_end(self, end: LogEnd) -> None:
        if self._prefixer:
            self._write(self._prefixer.end(attempt_key(end.id)))
        if end.truncated:
            self._output.note(
                f"iris: the end of the log of task {end.id.task_index} was lost with its worker"
            )

    def _write(self, data: bytes) -> None:
        if data:
            self._output.task_bytes(data)
