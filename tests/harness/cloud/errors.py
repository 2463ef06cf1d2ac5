"""What the cloud answers when it does not do it, in Google's words as far as they are known.

Quota, stockout and rate limit all have code 8; only the words tell them apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

# google.rpc.Code -> its name and the HTTP status that it has over REST.
CODES: Mapping[int, tuple[str, int]] = {
    1: ("CANCELLED", 499),
    2: ("UNKNOWN", 500),
    3: ("INVALID_ARGUMENT", 400),
    4: ("DEADLINE_EXCEEDED", 504),
    5: ("NOT_FOUND", 404),
    6: ("ALREADY_EXISTS", 409),
    7: ("PERMISSION_DENIED", 403),
    8: ("RESOURCE_EXHAUSTED", 429),
    9: ("FAILED_PRECONDITION", 400),
    10: ("ABORTED", 409),
    11: ("OUT_OF_RANGE", 400),
    12: ("UNIMPLEMENTED", 501),
    13: ("INTERNAL", 500),
    14: ("UNAVAILABLE", 503),
    16: ("UNAUTHENTICATED", 401),
}
BY_NAME = {name: code for code, (name, _) in CODES.items()}


@dataclass
class ApiError(Exception):
    """An error answer, or the error at the end of an operation.

    `code` is a google.rpc.Code; `http_as` its HTTP status where that is not the usual one. `reason` and `details` become an ErrorInfo;
    `retry_after_s` a RetryInfo, and over REST the header too.
    """

    code: int
    message: str
    reason: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    http_as: int = 0

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"

    @property
    def status(self) -> str:
        """The code's name."""
        return CODES[self.code][0]

    @property
    def http(self) -> int:
        """The HTTP status."""
        return self.http_as or CODES[self.code][1]


def event_id(*words: object) -> str:
    """The `[EID: 0x...]` that ends many messages of the TPU API."""
    return f"[EID: 0x{hashlib.sha256(repr(words).encode()).hexdigest()[:15]}]"


def invalid(message: str) -> ApiError:
    """The request is wrong in itself."""
    return ApiError(3, message)


def bad_request(what: str) -> ApiError:
    """What the TPU API says of a request whose fields do not go together."""
    return ApiError(3, f"Cloud TPU received a bad request. {what} {event_id(what)}")


def not_found(name: str) -> ApiError:
    return ApiError(5, f"Resource '{name}' was not found")


def already_exists(name: str) -> ApiError:
    return ApiError(6, f"Resource '{name}' already exists")


def busy(name: str) -> ApiError:
    """Another operation on the same resource is under way."""
    details = {"resource": name}
    return ApiError(10, "unable to queue the operation", "CONCURRENT_OPERATION", details)


def precondition(message: str) -> ApiError:
    return ApiError(9, message)


def permission(what: str, name: str) -> ApiError:
    message = f"Permission '{what}' denied on resource '{name}' (or it may not exist)."
    return ApiError(7, message, "IAM_PERMISSION_DENIED", {"permission": what, "resource": name})


def stockout(zone: str, name: str) -> ApiError:
    where = "see https://cloud.google.com/tpu/docs/regions"
    return ApiError(
        8,
        f'There is no more capacity in the zone "{zone}"; you can try in another zone where'
        f" Cloud TPU Nodes are offered ({where}) {event_id(zone, name)}",
    )


def quota(limit_name: str, limit: int, zone: str) -> ApiError:
    return ApiError(8, f"Quota limit '{limit_name}' has been exceeded. Limit: {limit} in zone {zone}.")


def rate_limit(metric: str, number: str, limit: int, retry_after_s: float | None = None) -> ApiError:
    details = {
        "service": "tpu.googleapis.com",
        "quota_metric": metric,
        "quota_limit_value": str(limit),
        "consumer": f"projects/{number}",
    }
    return ApiError(
        8,
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per minute' of service"
        f" 'tpu.googleapis.com' for consumer 'project_number:{number}'.",
        "RATE_LIMIT_EXCEEDED",
        details,
        retry_after_s,
    )


def of_code(code: int, message: str = "") -> ApiError:
    """An error that a test asked for, with words that fit the code."""
    words = {
        4: "Deadline exceeded while waiting for the backend.",
        7: "The caller does not have permission",
        8: "Resource has been exhausted (e.g. check quota).",
        13: "Internal error encountered.",
        14: "The service is currently unavailable.",
        16: "Request had invalid authentication credentials.",
    }
    return ApiError(code, message or words.get(code, CODES[code][0].replace("_", " ").capitalize()))
