"""Calls of the Compute Engine API, over REST: Google's own client takes seconds to import.

Every call has a deadline, and every change a request id, so that it can be sent
again where its answer was lost.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import requests
from google.auth.exceptions import GoogleAuthError, TransportError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from iris_platform.base import PermissionMissing, PlatformError, RateLimited, Refused, Unreachable
from iris_platform.gcp.credentials import words_of
from iris_platform.gcp.machine import operation_problem
from iris_platform.gcp.words import kind_of

# For connecting, and for each answer.
CONNECT_S = 10.0
ANSWER_S = 30.0
RETRIES = 4
# A machine takes half a minute to be made and longer to go.
OPERATION_S = 300.0
PAGE_SIZE = 500
# Of a list: more than these many pages is no list of ours.
MOST_PAGES = 100


_VERBS = {"GET": "read", "POST": "make or change", "DELETE": "delete"}


class Gone(Refused):
    """There is no such thing."""


class Exists(Refused):
    """There is a thing of that name already."""


class Compute:
    """One project's machines and disks. Errors are `PlatformError`s that carry Google's words."""

    def __init__(self, endpoint: str, project: str, session: requests.Session) -> None:
        """`session` has the credentials; to `http://` endpoints it must have none."""
        self._project = project
        self._root = f"{endpoint.rstrip('/')}/compute/v1/projects/{project}"
        self._session = session
        retry = Retry(
            total=RETRIES,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            # A change carries a request id: the same one twice is one change.
            allowed_methods=("GET", "POST", "DELETE"),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))

    def get(self, zone: str, kind: str, name: str) -> dict[str, Any] | None:
        """One of the zone's `instances` or `disks`; None where there is none."""
        try:
            return self._call("GET", f"zones/{zone}/{kind}/{name}")
        except Gone:
            return None

    def list(self, zone: str, kind: str, labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """All of them that carry these labels."""
        wanted = " ".join(f"(labels.{key} = {value})" for key, value in labels.items())
        token = ""
        for _ in range(MOST_PAGES):
            query = {"filter": wanted, "maxResults": str(PAGE_SIZE), "pageToken": token}
            page = self._call("GET", f"zones/{zone}/{kind}", query={k: v for k, v in query.items() if v})
            yield from page.get("items") or ()
            token = page.get("nextPageToken", "")
            if not token:
                return
        raise Unreachable(f"zone {zone}: the list of {kind} does not end")

    def insert(self, zone: str, kind: str, body: Mapping[str, Any]) -> None:
        """Make one; returns when it is there.

        Raises:
            Exists: the name is taken, by whomever.
        """
        self._change("POST", zone, f"{kind}", body)

    def delete(self, zone: str, kind: str, name: str) -> None:
        """Remove one; returns when it is gone, also where it was."""
        try:
            self._change("DELETE", zone, f"{kind}/{name}")
        except Gone:
            return

    def set_metadata(self, zone: str, name: str, body: Mapping[str, Any]) -> None:
        """Replace a machine's metadata: `body` has the fingerprint of what it replaces."""
        self._change("POST", zone, f"instances/{name}/setMetadata", body)

    def start(self, zone: str, name: str) -> None:
        """Switch a machine on; returns when it is."""
        self._change("POST", zone, f"instances/{name}/start")

    def _change(self, method: str, zone: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        query = {"requestId": str(uuid.uuid4())}
        operation = self._call(method, f"zones/{zone}/{path}", body, query)
        until = time.monotonic() + OPERATION_S
        while operation.get("status") != "DONE":
            if time.monotonic() >= until:
                raise Unreachable(f"{path}: not done after {OPERATION_S:g} s; it may go on")
            # Answers when it is done, or after at most two minutes.
            waiting = f"zones/{zone}/operations/{operation['name']}/wait"
            operation = self._call("POST", waiting, answer_s=ANSWER_S + 120)
        status, said = operation_problem(operation)
        if status:
            raise problem_of(status, "", said, self._what(method, f"zones/{zone}/{path}"))

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        answer_s: float = ANSWER_S,
    ) -> dict[str, Any]:
        try:
            reply = self._session.request(
                *(method, f"{self._root}/{path}"),
                params=dict(query or {}),
                json=body,
                timeout=(CONNECT_S, answer_s),
                allow_redirects=False,
            )
        except TransportError as error:
            raise Unreachable(f"{path}: no token for Compute Engine: {words_of(error)}") from error
        except GoogleAuthError as error:
            raise PermissionMissing(f"{path}: no token for Compute Engine: {words_of(error)}") from error
        except requests.RequestException as error:
            raise Unreachable(f"{path}: Compute Engine cannot be reached: {_cause(error)}") from error
        try:
            found = reply.json()
        except requests.JSONDecodeError as error:
            raise Unreachable(f"{path}: the answer, status {reply.status_code}, is no JSON") from error
        if reply.status_code != HTTPStatus.OK:
            raise _refusal(reply.status_code, found, self._what(method, path))
        if not isinstance(found, dict):
            raise Unreachable(f"{path}: expected an object")
        return found

    def _what(self, method: str, path: str) -> str:
        """What was tried, for messages: Google's own name neither place nor project."""
        return f"cannot {_VERBS[method]} {path} of project {self._project}"


def _cause(error: Exception) -> str:
    """The last words of a chain of errors, of which each repeats the next."""
    return str(error).rpartition(": ")[2].rstrip("\"')") or type(error).__name__


def _refusal(status: int, found: object, what: str) -> PlatformError:
    error = found.get("error") if isinstance(found, dict) else None
    error = error if isinstance(error, dict) else {}
    reasons = " ".join(str(one.get("reason", "")) for one in error.get("errors") or ())
    return problem_of(status, reasons, str(error.get("message") or f"HTTP status {status}"), what)


def problem_of(status: int, reasons: str, message: str, what: str) -> PlatformError:
    """What an HTTP status and Google's words mean for the caller's next move; `what` was tried."""
    kind = _PLAIN.get(status) or kind_of(f"{reasons} {message}")
    if kind is None:
        kind = _OTHERS.get(status, Unreachable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused)
    helps = "; docs/gcp.md names what your account needs" if kind is PermissionMissing else ""
    return kind(f"{what}: {message}{helps}")


# What these say is plain; a wrong request may speak of quotas too, and is no less wrong.
_PLAIN: Mapping[int, type[PlatformError]] = {
    HTTPStatus.BAD_REQUEST: Refused,
    HTTPStatus.UNAUTHORIZED: PermissionMissing,
    HTTPStatus.NOT_FOUND: Gone,
    HTTPStatus.CONFLICT: Exists,
}
_OTHERS: Mapping[int, type[PlatformError]] = {
    HTTPStatus.FORBIDDEN: PermissionMissing,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
}
