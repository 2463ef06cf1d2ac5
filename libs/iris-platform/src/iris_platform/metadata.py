"""Google's metadata server, as a machine of Google's asks it about itself.

Standard library only: it is part of the startup script. Protocol:
https://cloud.google.com/compute/docs/metadata/querying-metadata
"""

from __future__ import annotations

import http.client
import json
import os
import select
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote, urlencode

# As google-auth has it: `HOST` or `HOST:PORT`.
HOST_VARIABLE = "GCE_METADATA_HOST"
DEFAULT_HOST = "metadata.google.internal"
FLAVOR = "Metadata-Flavor"
GOOGLE = "Google"

# For each request; one that waits for a change adds what it waits.
ANSWER_S = 5.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
# More than any value that we ask for: a metadata value holds 256 KiB.
_MOST_BYTES = 512 * 1024


class MetadataError(Exception):
    """The metadata server gave no answer that can be used; the message says what came instead."""


@dataclass(frozen=True)
class Answer:
    """A value, and its mark: `MetadataServer.wait` returns when the value has another."""

    text: str
    etag: str = ""


class MetadataServer:
    """Each call is one connection, with a deadline. Safe to use from any thread."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` (default: the process's own) may name another host."""
        self.host = (os.environ if environ is None else environ).get(HOST_VARIABLE, "") or DEFAULT_HOST

    def get(self, path: str, timeout_s: float = ANSWER_S, **query: str) -> Answer | None:
        """A value, asked for once; None where the server has none.

        Raises:
            MetadataError: no answer, or not the metadata server's.
        """
        found = "?" + urlencode(query) if query else ""
        status, text, etag = self._ask("GET", path + found, timeout_s)
        if status == http.client.NOT_FOUND:
            return None
        if status != http.client.OK:
            raise MetadataError(f"{self.host}: {path}: HTTP status {status}: {text[:200].strip()}")
        return Answer(text, etag)

    def read(self, path: str, deadline_s: float, **query: str) -> str | None:
        """A value, asked for until the server answers; None where it has none.

        It may not be there while a machine boots. `deadline_s` is of the monotonic clock.

        Raises:
            MetadataError: it did not answer before the deadline.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                answer = self.get(path, min(max(left_s, 0.1), ANSWER_S), **query)
                return None if answer is None else answer.text.strip()
            except MetadataError:
                if left_s <= pause_s:
                    raise
            select.select([], [], [], pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def wait(self, path: str, last: Answer, timeout_s: float) -> Answer | None:
        """The value once it is another than `last`, or after `timeout_s` whatever it is; None where there is none.

        Raises:
            MetadataError: no answer, or not the metadata server's.
        """
        query = {"wait_for_change": "true", "timeout_sec": str(int(timeout_s))}
        if last.etag:
            query["last_etag"] = last.etag
        return self.get(path, timeout_s + ANSWER_S, **query)

    def put(self, path: str, value: str, timeout_s: float = ANSWER_S) -> None:
        """Write a guest attribute.

        Raises:
            MetadataError: it was not taken; where they are not enabled, never.
        """
        status, text, _ = self._ask("PUT", path, timeout_s, value.encode("utf-8"))
        if status != http.client.OK:
            raise MetadataError(f"{self.host}: {path}: HTTP status {status}: {text[:200].strip()}")

    def access_token(self, deadline_s: float) -> str:
        """A token of the machine's own service account, for Google's APIs.

        Raises:
            MetadataError: there is none: the machine has no service account, or no answer came.
        """
        text = self.read("instance/service-accounts/default/token", deadline_s)
        try:
            found = json.loads(text or "")
        except ValueError:
            found = None
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise MetadataError(f"{self.host}: this machine's service account has no access token")
        return token

    def _ask(
        self, method: str, path: str, timeout_s: float, body: bytes | None = None
    ) -> tuple[int, str, str]:
        """Status, body and etag of an answer that is the metadata server's."""
        url = "/computeMetadata/v1/" + quote(path, safe="/?&=%")
        try:
            with closing(http.client.HTTPConnection(self.host, timeout=timeout_s)) as connection:
                connection.request(method, url, body, {FLAVOR: GOOGLE})
                with closing(connection.getresponse()) as response:
                    data = response.read(_MOST_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise MetadataError(f"the metadata server {self.host} does not answer: {words}") from error
        # Whoever else answers on that address knows nothing of this machine.
        if response.getheader(FLAVOR) != GOOGLE:
            raise MetadataError(f"{self.host} is no metadata server: its answer has no {FLAVOR}: {GOOGLE}")
        if len(data) > _MOST_BYTES:
            raise MetadataError(f"{self.host}: {path}: more than {_MOST_BYTES} bytes came")
        return response.status, data.decode("utf-8", "replace"), response.getheader("ETag") or ""
