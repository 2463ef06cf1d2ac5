"""What an error has to say for programs: google.rpc.ErrorInfo and RetryInfo."""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2

from tests.harness.cloud.errors import ApiError


def details_of(error: ApiError) -> list[any_pb2.Any]:
    """ErrorInfo and RetryInfo, where there is something to say."""
    said: list[Any] = []
    if error.reason:
        info = error_details_pb2.ErrorInfo(
            reason=error.reason, domain="googleapis.com", metadata=dict(error.details)
        )
        said.append(info)
    if error.retry_after_s is not None:
        wait = duration_pb2.Duration()
        wait.FromMilliseconds(int(error.retry_after_s * 1000))
        said.append(error_details_pb2.RetryInfo(retry_delay=wait))
    packed = []
    for each in said:
        detail = any_pb2.Any()
        detail.Pack(each)
        packed.append(detail)
    return packed
