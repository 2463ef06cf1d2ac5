"""What keeper and session say to each other over their socket pair.

A frame is a length (4 bytes, big-endian) and a JSON array of messages; a
message is an array of its kind and its fields in the order of its class below.
Both ends are of one release: there is no version. Attempts are named as
`JOB/INDEX/EPOCH/NUMBER`. Documents are the session's own, in base64: the keeper
stores them and gives them back. Times that end in `_s` are of the boot-time
clock, in `_ms` of the wall clock.

The session speaks once it has read `State`, pings aside; the keeper answers in any
order.
Knows no sockets: bytes in, messages out.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from iris_bootstrap.attempt import SeenRange

# One job's argv and environment can be this large (gRPC's limit for a message).
MAX_FRAME_BYTES = 64 * 1024 * 1024
# A frame is closed when it has grown to this size.
FRAME_BYTES = 256 * 1024

_LENGTH = struct.Struct(">I")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class FrameError(ValueError):
    """The other end does not speak this language; nothing after it can be read."""


class Report(NamedTuple):
    """How an attempt is doing: `AttemptReport` of the protos."""

    id: str
    # PREPARING (members of gangs only), RUNNING, SUCCEEDED, FAILED or KILLED.
    state: str
    reason: str
    message: str
    started_at_ms: int
    finished_at_ms: int
    exit_code: int | None
    signal: int | None
    # Final length of the log; 0 before the end.
    log_bytes: int
    # That was reserved for a member of a gang; 0 for others.
    port: int = 0


# From the session.


class Ping(NamedTuple):
    """Are you there? Answered by `Pong` as soon as the keeper's loop comes round."""

    sequence: int


class Job(NamedTuple):
    """What the attempts of a job run. Sent before the first `Start` of the job.

    An attempt of a gang waits in PREPARING, with a port of its own, for its
    `Release`. An attempt that has run for `timeout_s` is ended; 0 for never.
    """

    job_id: str
    document: str
    argv: Sequence[str]
    env: dict[str, str]
    grace_s: float
    is_gang: bool = False
    timeout_s: float = 0.0


class Start(NamedTuple):
    """Run an attempt, unless its id was ever seen here. `env` comes after the job's."""

    id: str
    document: str
    env: dict[str, str]


class Release(NamedTuple):
    """Start the program of an attempt that is PREPARING; any other is left as it is.

    `env` comes after that of its `Start`.
    """

    id: str
    env: dict[str, str]


class Stop(NamedTuple):
    """End an attempt with all its processes; one that is not known is never to start."""

    id: str
    reason: str


class Lease(NamedTuple):
    """Tasks may run until `deadline_s`; without another one they are dead by then.

    Nothing runs before the first. The keeper takes itself away when nothing
    has run and no lease has come for `orphan_timeout_s`. It replaces a session
    that has said nothing for `suspect_after_s`; 0 for never.
    """

    deadline_s: float
    lease_s: float
    orphan_timeout_s: float
    suspect_after_s: float = 0.0


class Notice(NamedTuple):
    """This machine is to go at `deadline_s`: tell every attempt. `kind` as in worker.proto."""

    kind: str
    message: str
    deadline_s: float


class Forget(NamedTuple):
    """The ends of these attempts are settled: keep nothing but their ids; nothing of the jobs.

    `spares` are directories in `spare/`, with nothing in them but an empty
    `work` and perhaps an empty `log`, that attempts to come may have.
    """

    ids: Sequence[str]
    jobs: Sequence[str]
    spares: Sequence[str]


# From the keeper. `KnownJob`, `Known` and `Seen` come at connect only.


class KnownJob(NamedTuple):
    """A job whose attempts are not all forgotten."""

    job_id: str
    document: str


class Known(NamedTuple):
    """An attempt that is not forgotten; no report before its process was started."""

    id: str
    document: str
    report: Report | None


class Seen(NamedTuple):
    """Ids that were ever seen here, forgotten ones too: they are never started again."""

    ranges: Sequence[SeenRange]


class State(NamedTuple):
    """That was everything; from here on the keeper sends what changes.

    `previous_boot_id` is the last other boot that this host's file knows of.
    """

    boot_id: str
    previous_boot_id: str


class Pong(NamedTuple):
    """The answer to the `Ping` of that sequence."""

    sequence: int


class Reports(NamedTuple):
    """The latest state of attempts that changed."""

    reports: Sequence[Report]


class Bye(NamedTuple):
    """All tasks are dead and the keeper leaves: deliver what you have, soon, and exit."""

    reason: str


FromSession = Ping | Job | Start | Release | Stop | Lease | Notice | Forget
FromKeeper = KnownJob | Known | Seen | State | Pong | Reports | Bye
Message = FromSession | FromKeeper

_CLASSES = (
    *(Ping, Job, Start, Release, Stop, Lease, Notice, Forget),
    *(KnownJob, Known, Seen, State, Pong, Reports, Bye),
)
_NAMES: dict[type, str] = {kind: kind.__name__.lower() for kind in _CLASSES}
_KINDS: dict[str, Callable[..., Message]] = {kind.__name__.lower(): kind for kind in _CLASSES}


def encode(messages: Iterable[Message]) -> bytes:
    """One frame.

    Raises:
        FrameError: it would be longer than the other end accepts.
    """
    body = _encode([(_NAMES[type(message)], *message) for message in messages])
    # Escapes leave nothing but ASCII, so the length in characters is that in bytes.
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes; at most {MAX_FRAME_BYTES} are accepted")
    return _LENGTH.pack(len(body)) + body.encode("ascii")


def decode(body: bytes | bytearray) -> list[Message]:
    """The messages of a frame without its length.

    Raises:
        FrameError: they are not of this language.
    """
    try:
        return [_message(kind, fields) for kind, *fields in json.loads(body)]
    except (ValueError, TypeError, KeyError) as error:
        raise FrameError(f"not a frame: {error!r}") from error


def body_length(header: bytes | bytearray) -> int:
    """The length that the first four bytes of a frame announce.

    Raises:
        FrameError: longer than any frame may be.
    """
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are accepted")
    return int(length)


class FrameReader:
    """Cuts a stream of bytes into messages; holds at most one unfinished frame and one read."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with `data`.

        Raises:
            FrameError: the stream cannot be read from here on.
        """
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        at = 0
        while len(buffer) - at >= _LENGTH.size:
            begin = at + _LENGTH.size
            end = begin + body_length(buffer[at:begin])
            if len(buffer) < end:
                break
            messages += decode(buffer[begin:end])
            at = end
        del buffer[:at]
        return messages


def _message(name: str, fields: list[object]) -> Message:
    message = _KINDS[name](*fields)
    match message:
        case Reports(reports):
            return Reports([Report(*report) for report in reports])
        case Known(id=key, document=document, report=report) if report is not None:
            return Known(key, document, Report(*report))
        case Seen(ranges):
            return Seen([SeenRange(*seen) for seen in ranges])
    return message
