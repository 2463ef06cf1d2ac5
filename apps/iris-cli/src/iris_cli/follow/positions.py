"""How far each attempt's log has been read, so that no byte comes twice or never.

Pure: takes messages, returns what is new in them, and says where to go on.
"""

from __future__ import annotations

from dataclasses import dataclass

from iris_proto.v1.controller_pb2 import (
    LogData,
    LogEnd,
    LogPosition,
    StreamLogsRequest,
    StreamLogsResponse,
)
from iris_proto.v1.job_pb2 import AttemptId

AttemptKey = tuple[int, int, int]


def attempt_key(attempt: AttemptId) -> AttemptKey:
    """What tells the attempts of one job apart, and orders those of a task."""
    return attempt.task_index, attempt.epoch, attempt.number


class HoleInLog(Exception):
    """Bytes are missing that nobody declared lost: the stream cannot be trusted."""


@dataclass(frozen=True)
class Piece:
    """What is new in a message; `lost` bytes before its data are gone for good."""

    message: StreamLogsResponse
    lost: int = 0


class LogPositions:
    """The logs of one job, as far as they have been read."""

    def __init__(self, request: StreamLogsRequest) -> None:
        self._request = request
        self._offsets: dict[AttemptKey, int] = {}
        self._ended: set[AttemptKey] = set()

    def request(self) -> StreamLogsRequest:
        """The request for what has not been read yet."""
        request = StreamLogsRequest()
        request.CopyFrom(self._request)
        for (task, epoch, number), offset in self._offsets.items():
            attempt = AttemptId(job_id=request.job_id, task_index=task, epoch=epoch, number=number)
            getattr(request, "from").append(LogPosition(id=attempt, offset=offset))
        return request

    def take(self, message: StreamLogsResponse) -> Piece | None:
        """What of a message is new; None where nothing is.

        Raises:
            HoleInLog: bytes before it never came.
        """
        kind = message.WhichOneof("message")
        if kind == "data":
            return self._take_data(message)
        if kind == "end":
            return self._take_end(message)
        # Kinds of a newer release are for newer clients.
        return Piece(message) if kind == "finished" else None

    def _take_data(self, message: StreamLogsResponse) -> Piece | None:
        data = message.data
        key = attempt_key(data.id)
        offset = self._start(key, data)
        lost = 0
        if data.offset > offset:
            if data.dropped_before < data.offset:
                raise HoleInLog(f"task {key[0]}: bytes {offset} to {data.offset} are missing")
            lost = data.offset - offset
            offset = data.offset
        end = data.offset + len(data.data)
        self._offsets[key] = max(offset, end)
        if end <= offset and not lost:
            return None
        if data.offset == offset:
            return Piece(message, lost)
        fresh = LogData(
            id=data.id,
            offset=offset,
            data=data.data[offset - data.offset :],
            dropped_before=data.dropped_before,
        )
        return Piece(StreamLogsResponse(data=fresh), lost)

    def _start(self, key: AttemptKey, data: LogData) -> int:
        """Where an attempt's next byte is; a tail begins wherever it begins."""
        begins = data.offset if self._request.HasField("tail_lines") else 0
        return self._offsets.get(key, begins)

    def _take_end(self, message: StreamLogsResponse) -> Piece | None:
        end: LogEnd = message.end
        key = attempt_key(end.id)
        offset = self._offsets.get(key)
        if offset is None and not self._request.HasField("tail_lines"):
            offset = 0
        if offset is not None and offset < end.length and not end.truncated:
            raise HoleInLog(f"task {key[0]}: bytes {offset} to {end.length} are missing")
        # Where to go on: nowhere. The whole log counts as read.
        self._offsets[key] = max(offset or 0, end.length)
        if key in self._ended:
            return None
        self._ended.add(key)
        return Piece(message)
