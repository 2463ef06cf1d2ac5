"""Long-running operations: begun with a call, ended by whoever does the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.cloud import tpu_v2
from google.longrunning import operations_pb2
from google.rpc import status_pb2

from tests.harness.cloud import errors
from tests.harness.cloud.rules import place_of
from tests.harness.cloud.timeline import Timeline

METADATA: Any = tpu_v2.OperationMetadata.pb()


@dataclass
class Work:
    """One operation. `result` is a protobuf message once it has ended well."""

    name: str
    target: str  # the resource's full name
    verb: str  # create, delete, ...
    begun_ms: int
    ended_ms: int | None = None
    result: Any = None
    error: errors.ApiError | None = None
    cancelled: bool = False

    @property
    def done(self) -> bool:
        return self.ended_ms is not None


class Operations:
    """All that ever were, by name."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._all: dict[str, Work] = {}

    def begin(self, target: str, verb: str) -> Work:
        now = self._timeline.now_ms
        # As Google writes them: a time, and what makes it one of its kind.
        name = f"{place_of(target)}/operations/operation-{now}-{len(self._all):08x}"
        self._all[name] = Work(name, target, verb, now)
        return self._all[name]

    def end(self, work: Work | None, result: Any = None, error: errors.ApiError | None = None) -> None:
        """Nothing if it has ended, or never was one."""
        if work is None or work.done:
            return
        work.ended_ms, work.result, work.error = self._timeline.now_ms, result, error

    def find(self, name: str) -> Work:
        """Raises ApiError NOT_FOUND."""
        if name not in self._all:
            raise errors.ApiError(5, f"Operation '{name}' was not found")
        return self._all[name]

    def forget(self, name: str) -> None:
        del self._all[self.find(name).name]

    def of(self, place: str) -> list[Work]:
        """Those of a place, the oldest first."""
        return [work for work in self._all.values() if work.name.startswith(f"{place}/")]


def as_message(work: Work) -> operations_pb2.Operation:
    """On the wire."""
    metadata = METADATA(target=work.target, verb=work.verb, api_version="v2", cancel_requested=work.cancelled)
    metadata.create_time.FromMilliseconds(work.begun_ms)
    message = operations_pb2.Operation(name=work.name, done=work.done)
    if work.ended_ms is not None:
        metadata.end_time.FromMilliseconds(work.ended_ms)
    message.metadata.Pack(metadata)
    if work.error is not None:
        message.error.CopyFrom(status_pb2.Status(code=work.error.code, message=work.error.message))
    elif work.done:
        message.response.Pack(work.result)
    return message
