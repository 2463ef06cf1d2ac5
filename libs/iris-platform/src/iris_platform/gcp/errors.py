"""Google's errors, sorted by the caller's next move (see `iris_platform.base`).

The code alone does not tell: RESOURCE_EXHAUSTED is a quota, a stockout or too many
calls, at once or at the end of an operation. So the words are read, and the details
where there are some.

Knows nothing of calls, requests or slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import grpc
from google.api_core import exceptions as google_exceptions
from google.rpc import error_details_pb2, status_pb2

from iris_platform.base import (
    Failure,
    NoCapacity,
    NotOurs,
    PermissionMissing,
    PlatformError,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unreachable,
)
from iris_platform.gcp.words import kind_of

# What a code means where the words say nothing more. Of a code that leaves open
# whether it happened, the caller has to look.
CODES: Mapping[int, type[PlatformError]] = {
    grpc.StatusCode.OK.value[0]: Unreachable,
    grpc.StatusCode.CANCELLED.value[0]: Unreachable,
    grpc.StatusCode.UNKNOWN.value[0]: Unreachable,
    grpc.StatusCode.INVALID_ARGUMENT.value[0]: Refused,
    grpc.StatusCode.DEADLINE_EXCEEDED.value[0]: Unreachable,
    # Of a creation: the network, the runtime version or the zone that it names.
    grpc.StatusCode.NOT_FOUND.value[0]: Refused,
    grpc.StatusCode.ALREADY_EXISTS.value[0]: NotOurs,
    grpc.StatusCode.PERMISSION_DENIED.value[0]: PermissionMissing,
    grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]: RateLimited,
    grpc.StatusCode.FAILED_PRECONDITION.value[0]: Refused,
    grpc.StatusCode.ABORTED.value[0]: Unreachable,
    grpc.StatusCode.OUT_OF_RANGE.value[0]: Refused,
    grpc.StatusCode.UNIMPLEMENTED.value[0]: Refused,
    grpc.StatusCode.INTERNAL.value[0]: Unreachable,
    grpc.StatusCode.UNAVAILABLE.value[0]: Unreachable,
    grpc.StatusCode.DATA_LOSS.value[0]: Unreachable,
    grpc.StatusCode.UNAUTHENTICATED.value[0]: PermissionMissing,
}
LATE = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
# A wrong request may speak of quotas and zones too; that does not make it right.
_PLAIN = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
    )
)

# google.rpc.ErrorInfo.reason
_REASONS: Mapping[str, type[PlatformError]] = {
    "RATE_LIMIT_EXCEEDED": RateLimited,
    "RESOURCE_POOL_EXHAUSTED": NoCapacity,
    "ZONE_RESOURCE_POOL_EXHAUSTED": NoCapacity,
    "STOCKOUT": NoCapacity,
    "QUOTA_EXCEEDED": QuotaExceeded,
    "RESOURCE_QUOTA_EXCEEDED": QuotaExceeded,
    "SERVICE_DISABLED": PermissionMissing,
    "IAM_PERMISSION_DENIED": PermissionMissing,
}


class Cause(NamedTuple):
    """Why something that was accepted failed later."""

    failure: Failure
    words: str


def classify(code: int, message: str, details: Iterable[Any] = ()) -> type[PlatformError]:
    """The class of an error by its google.rpc code, message and details (protobuf messages)."""
    details = list(details)
    for detail in details:
        if isinstance(detail, error_details_pb2.ErrorInfo) and detail.reason in _REASONS:
            return _REASONS[detail.reason]
    if code not in _PLAIN:
        kind = kind_of(message)
        if kind is not None:
            return kind
    if code == EXHAUSTED and any(isinstance(d, error_details_pb2.QuotaFailure) for d in details):
        return QuotaExceeded
    return CODES.get(code, Unreachable)


def to_platform_error(what: str, error: Exception) -> PlatformError:
    """The error of a call, `what` in words; the caller raises it from the original."""
    match error:
        case google_exceptions.RetryError():
            cause = error.cause
            inner = to_platform_error(what, cause) if isinstance(cause, Exception) else None
            return inner or Unreachable(f"{what}: {error.message}")
        case google_exceptions.GoogleAPICallError():
            code = error.grpc_status_code.value[0] if error.grpc_status_code is not None else 2
            message = str(error.message or "").strip() or type(error).__name__
            kind = classify(code, message, error.details)
            return kind(f"{what}: {message}{_quota_words(error.details, message)}")
    return Unreachable(f"{what}: {type(error).__name__}: {error}")


def cause_of(status: status_pb2.Status) -> Cause:
    """Why an accepted creation failed, from the error at its end.

    An end is known to be one: what reads as "perhaps" is a start that failed.
    """
    details = [message for any_ in status.details if (message := _unpacked(any_)) is not None]
    kind = classify(status.code, status.message, details)
    words = status.message.strip() or f"code {status.code}"
    failure = kind.failure
    spoke_of_calls = failure is Failure.RATE_LIMIT and "per " in words
    # Too late is a queued resource at the end of its validity.
    if status.code == LATE or (failure is Failure.RATE_LIMIT and not spoke_of_calls):
        failure = Failure.NO_CAPACITY
    elif failure in (Failure.UNREACHABLE, Failure.NOT_OURS):
        failure = Failure.START
    return Cause(failure, f"{words}{_quota_words(details, words)}")


def _unpacked(any_: Any) -> Any | None:
    for kind in (error_details_pb2.ErrorInfo, error_details_pb2.QuotaFailure):
        if any_.Is(kind.DESCRIPTOR):
            message = kind()
            any_.Unpack(message)
            return message
    return None


def _quota_words(details: Iterable[Any], message: str) -> str:
    """What a QuotaFailure adds to the message."""
    found = [
        violation.description or violation.subject
        for detail in details
        if isinstance(detail, error_details_pb2.QuotaFailure)
        for violation in detail.violations
    ]
    fresh = [words for words in found if words and words not in message]
    return f" ({'; '.join(fresh)})" if fresh else ""
