"""A machine of a TPU slice deletes its own slice, when nobody else is there to do it.

Standard library only: it is part of the startup script. Asks the TPU API's REST
interface, as the machine's own service account; whoever runs on the machine can
ask for the same (docs/gcp-boot.md says what that exposes).
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote, urlsplit

from iris_platform.metadata import MetadataError, MetadataServer

# In the work directory of an agent on such a machine; the same on all hosts of a slice.
FACTS_FILE = "slice-facts.json"

CALL_S = 20.0
# Worker 0 first, the others only if it could not: one call a slice, as a rule.
EACH_WORKER_S = 10.0
MOST_WORKERS_APART = 4
# Between attempts: at first, at most, once it was accepted, and where it is not allowed.
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0
ACCEPTED_PAUSE_S = 60.0
DENIED_PAUSE_S = 600.0
_SAID_BYTES = 300


class Outcome(Enum):
    """Of one attempt, the worst of its calls."""

    GONE = "there is no such slice"
    ACCEPTED = "the deletion was accepted"
    FAILED = "it could not be asked for"
    DENIED = "it is not allowed"


@dataclass(frozen=True)
class OwnSlice:
    """The slice that this machine is of. `queued`: it was delivered by a queued resource of the same name.

    `endpoint` is the TPU API's, `https://HOST[:PORT]`; to `http://` no credentials are sent.
    """

    project: str
    zone: str
    name: str
    endpoint: str
    queued: bool

    def paths(self) -> list[str]:
        """What is to be deleted, in order: a queued resource that is left would deliver again."""
        place = f"/v2/projects/{quote(self.project)}/locations/{quote(self.zone)}"
        queued = [f"{place}/queuedResources/{quote(self.name)}?force=true"] if self.queued else []
        return [*queued, f"{place}/nodes/{quote(self.name)}"]


def own_slice(facts: Mapping[str, object]) -> OwnSlice:
    """The slice that `slice-facts.json` is about.

    Raises:
        ValueError: a field is missing or wrong; says which.
    """

    def text(name: str) -> str:
        value = facts.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name}: expected a non-empty string, found {value!r}")
        return value

    endpoint = text("endpoint")
    address = urlsplit(endpoint)
    if address.scheme not in ("https", "http") or not address.hostname:
        raise ValueError(f"endpoint: expected https://HOST[:PORT], found {endpoint!r}")
    queued = facts.get("queued")
    if not isinstance(queued, bool):
        raise ValueError(f"queued: expected true or false, found {queued!r}")
    return OwnSlice(text("project"), text("zone"), text("slice_name"), endpoint, queued)


def delete_own_slice(
    slice_: OwnSlice,
    say: Callable[[str], None],
    pause: Callable[[float], None],
    server: MetadataServer | None = None,
) -> None:
    """Ask for the slice's deletion until there is none; what ends this is as a rule the machine's own end.

    Never gives up; no more than one attempt in `FIRST_PAUSE_S`, and one in
    `DENIED_PAUSE_S` where it is not allowed. `say` hears what happens, each thing
    once; `pause` waits for so many seconds.
    """
    server = server or MetadataServer()
    if delay_s := _delay_s(server):
        pause(delay_s)
    said, pause_s = "", FIRST_PAUSE_S
    while True:
        outcome, words = _attempt(slice_, server)
        line = f"{slice_.name}: {outcome.value}{f': {words}' if words else ''}"
        if line != said:
            say(line)
            said = line
        if outcome is Outcome.GONE:
            return
        if outcome is Outcome.FAILED:
            pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        else:
            # Accepted is not done: who still runs after a minute asks again.
            pause(ACCEPTED_PAUSE_S if outcome is Outcome.ACCEPTED else DENIED_PAUSE_S)
            pause_s = FIRST_PAUSE_S


def _delay_s(server: MetadataServer) -> float:
    """How long the workers before this one have to do it; one that does not know its number goes last."""
    try:
        number = server.get("instance/attributes/agent-worker-number")
    except MetadataError:
        number = None
    text = number.text.strip() if number is not None else ""
    index = int(text) if text.isascii() and text.isdigit() else MOST_WORKERS_APART
    return EACH_WORKER_S * min(index, MOST_WORKERS_APART)


def _attempt(slice_: OwnSlice, server: MetadataServer) -> tuple[Outcome, str]:
    """Ask once for everything."""
    outcomes: list[tuple[Outcome, str]] = []
    try:
        headers = {}
        if slice_.endpoint.startswith("https://"):
            headers["Authorization"] = f"Bearer {server.access_token(time.monotonic() + CALL_S)}"
        for path in slice_.paths():
            outcomes.append(_delete(slice_.endpoint, path, headers))
    except (MetadataError, OSError, http.client.HTTPException) as error:
        outcomes.append((Outcome.FAILED, str(error) or type(error).__name__))
    order = list(Outcome)
    return max(outcomes, key=lambda outcome: order.index(outcome[0]))


def _delete(endpoint: str, path: str, headers: Mapping[str, str]) -> tuple[Outcome, str]:
    address = urlsplit(endpoint)
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(address.netloc, timeout=CALL_S, context=context)
    else:
        connection = http.client.HTTPConnection(address.netloc, timeout=CALL_S)
    with closing(connection):
        connection.request("DELETE", path, headers=dict(headers))
        with closing(connection.getresponse()) as response:
            body = response.read(_SAID_BYTES).decode("utf-8", "replace")
    said = f"HTTP status {response.status}: {' '.join(body.split())}"
    if response.status == http.client.NOT_FOUND:
        return Outcome.GONE, ""
    if http.client.OK <= response.status < http.client.MULTIPLE_CHOICES:
        return Outcome.ACCEPTED, ""
    if response.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        words = f"{said}; give the slice's service account tpu.nodes.delete"
        return Outcome.DENIED, words
    return Outcome.FAILED, said
