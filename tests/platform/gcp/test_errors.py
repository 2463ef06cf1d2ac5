"""Which of Google's errors is what to Iris, from code, words and details."""

import grpc
import pytest
from google.api_core import exceptions
from google.rpc import error_details_pb2, status_pb2

from iris_platform.base import (
    Failure,
    NoCapacity,
    PermissionMissing,
    PlatformError,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unreachable,
)
from iris_platform.gcp.errors import CODES, cause_of, classify, to_platform_error

STOCKOUT = (
    'There is no more capacity in the zone "us-central1-a"; you can try in another zone where Cloud TPU'
    " Nodes are offered (see https://cloud.google.com/tpu/docs/regions) [EID: 0x1]"
)
QUOTA = "Quota limit 'TPUV6EPreemptiblePerProjectPerRegionForTPUAPI' has been exceeded. Limit: 0 in region us-east5."
EXHAUSTED = "Quota 'TPUV5sLitepodServingPerProjectPerZoneForTPUAPI' exhausted. Limit 4 in zone us-central1-a"
RATE = (
    "Quota exceeded for quota metric 'Create node requests' and limit 'Create node requests per minute' of"
    " service 'tpu.googleapis.com' for consumer 'project_number:1'."
)
BUSY = "Resource has been exhausted (e.g. check quota)."
RESERVED = "Insufficient reserved capacity. Contact customer support to increase your reservation. [EID: 0x2]"


def test_no_code_is_missing() -> None:
    assert set(CODES) == {code.value[0] for code in grpc.StatusCode}


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (8, STOCKOUT, NoCapacity),
        (8, RESERVED, NoCapacity),
        (8, QUOTA, QuotaExceeded),
        (8, EXHAUSTED, QuotaExceeded),
        (8, RATE, RateLimited),
        (8, BUSY, RateLimited),
        (8, "", RateLimited),
        (10, "The node was preempted while it was being created.", NoCapacity),
        (9, "aborted while in state PREEMPTED [EID: 0x3]", NoCapacity),
        (9, "the node is not in a state that allows this", Refused),
        (3, 'Cloud TPU received a bad request. "v5litepod-3" could not be found in zone "a"', Refused),
        (3, "the quota project is not valid", Refused),
        (5, "The network 'x' was not found", Refused),
        (7, "Permission 'tpu.nodes.create' denied on resource 'x' (or it may not exist).", PermissionMissing),
        (7, "Cloud TPU API has not been used in project 1 before or it is disabled.", PermissionMissing),
        (16, "Request had invalid authentication credentials.", PermissionMissing),
        (
            14,
            "Getting metadata from plugin failed with error: Reauthentication is needed.",
            PermissionMissing,
        ),
        (14, "Getting metadata from plugin failed with error: connection refused", Unreachable),
        (14, "The service is currently unavailable.", Unreachable),
        (14, "failed to connect to all addresses", Unreachable),
        (13, "an internal error has occurred", Unreachable),
        (4, "Deadline Exceeded", Unreachable),
        (99, "a code of a later day", Unreachable),
    ],
)
def test_what_an_error_is(code: int, message: str, kind: type[PlatformError]) -> None:
    assert classify(code, message) is kind


def test_details_tell_where_words_do_not() -> None:
    assert classify(8, "Quota", [error_details_pb2.ErrorInfo(reason="RATE_LIMIT_EXCEEDED")]) is RateLimited
    assert classify(8, "no", [error_details_pb2.ErrorInfo(reason="SOMETHING_ELSE")]) is RateLimited
    assert classify(8, "no", [error_details_pb2.QuotaFailure()]) is QuotaExceeded


def test_an_exception_says_what_was_tried_and_which_quota() -> None:
    failure = error_details_pb2.QuotaFailure(
        violations=[{"subject": "project:1", "description": "CHIPS: 8 of 8"}]
    )
    error = exceptions.ResourceExhausted("Quota exceeded", details=[failure])  # type: ignore[no-untyped-call]
    found = to_platform_error("cannot create TPU node x", error)
    assert isinstance(found, QuotaExceeded)
    assert str(found) == "cannot create TPU node x: Quota exceeded (CHIPS: 8 of 8)"


def test_what_was_tried_in_vain_is_what_its_last_error_was() -> None:
    last = exceptions.PermissionDenied("no")  # type: ignore[no-untyped-call]
    error = exceptions.RetryError("timeout of 25 s exceeded", last)  # type: ignore[no-untyped-call]
    assert isinstance(to_platform_error("cannot look", error), PermissionMissing)
    error = exceptions.RetryError("timeout of 25 s exceeded", None)  # type: ignore[no-untyped-call]
    assert isinstance(to_platform_error("cannot look", error), Unreachable)


@pytest.mark.parametrize(
    ("code", "message", "failure"),
    [
        (8, STOCKOUT, Failure.NO_CAPACITY),
        (8, QUOTA, Failure.QUOTA),
        (8, RATE, Failure.RATE_LIMIT),
        # At the end of an operation that is no throttling.
        (8, BUSY, Failure.NO_CAPACITY),
        (8, "", Failure.NO_CAPACITY),
        (4, "The queued resource was not provisioned before its end time.", Failure.NO_CAPACITY),
        # What is over is known to have failed.
        (13, "an internal error has occurred", Failure.START),
        (1, "The operation was cancelled", Failure.START),
        (6, "Resource 'x' already exists", Failure.START),
        (3, "no such runtime version", Failure.REFUSED),
        (7, "denied", Failure.PERMISSION),
    ],
)
def test_why_a_creation_failed_in_the_end(code: int, message: str, failure: Failure) -> None:
    assert cause_of(status_pb2.Status(code=code, message=message)).failure is failure


def test_the_end_of_an_operation_in_words() -> None:
    status = status_pb2.Status(code=8, message="Quota exceeded")
    status.details.add().Pack(error_details_pb2.QuotaFailure(violations=[{"subject": "project:1"}]))
    status.details.add().Pack(error_details_pb2.RetryInfo())
    assert cause_of(status).words == "Quota exceeded (project:1)"
    assert cause_of(status_pb2.Status(code=13)).words == "code 13"
