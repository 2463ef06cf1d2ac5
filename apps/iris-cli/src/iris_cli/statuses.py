"""gRPC status codes, and what each means to whoever called `iris`."""

from __future__ import annotations

import grpc

from iris_cli.exits import (
    FAILED,
    NOT_ALLOWED,
    NOT_FOUND,
    STREAM_BROKEN,
    TIMED_OUT,
    UNREACHABLE,
    USAGE,
)

EXIT_STATUS = {
    grpc.StatusCode.OK: STREAM_BROKEN,  # a stream that ended before its end
    grpc.StatusCode.CANCELLED: STREAM_BROKEN,
    grpc.StatusCode.UNKNOWN: FAILED,
    grpc.StatusCode.INVALID_ARGUMENT: USAGE,
    grpc.StatusCode.DEADLINE_EXCEEDED: TIMED_OUT,
    grpc.StatusCode.NOT_FOUND: NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: FAILED,
    grpc.StatusCode.PERMISSION_DENIED: NOT_ALLOWED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: FAILED,
    grpc.StatusCode.FAILED_PRECONDITION: FAILED,
    grpc.StatusCode.ABORTED: FAILED,
    grpc.StatusCode.OUT_OF_RANGE: USAGE,
    grpc.StatusCode.UNIMPLEMENTED: FAILED,
    grpc.StatusCode.INTERNAL: FAILED,
    grpc.StatusCode.UNAVAILABLE: UNREACHABLE,
    grpc.StatusCode.DATA_LOSS: FAILED,
    grpc.StatusCode.UNAUTHENTICATED: NOT_ALLOWED,
}

# A stream that ended with one of these may be opened again: the controller or
# the way to it was lost, not the request refused.
WORTH_ANOTHER_STREAM = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        # A controller that was started again has another token in its file.
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
