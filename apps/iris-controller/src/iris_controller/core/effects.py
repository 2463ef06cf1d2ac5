"""Everything that the controller can want done: the outputs of `step`.

An effect is carried out after the commit of the batch that asked for it, and
makes no choices. Platform effects come back as events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from iris_controller.core.values import AttemptId, AttemptSpec, Notice, Reason


@dataclass(frozen=True, slots=True)
class CreateSlice:
    """Ask the group's provider for a slice of this name; the same name twice is one slice."""

    slice_name: str
    group: str
    zone: str


@dataclass(frozen=True, slots=True)
class DeleteSlice:
    """Delete by name; fine if it is gone already."""

    slice_name: str
    group: str
    zone: str


@dataclass(frozen=True, slots=True)
class LookAtSlice:
    """Ask the provider for this name, and hosts of it for the ends of their logs, by index."""

    slice_name: str
    group: str
    zone: str
    logs_of: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ListZone:
    """Ask the provider for everything of this cluster in one zone."""

    provider: str
    zone: str


@dataclass(frozen=True, slots=True)
class StopOrder:
    """An attempt that must end, and why."""

    id: AttemptId
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """A gang's member that may start now, and where all members are, by task index."""

    id: AttemptId
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an attempt that an agent reported at its hello."""

    id: AttemptId
    keep: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SendWelcome:
    """Accept a session."""

    session_id: int
    task_lease_ms: int
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class SendCommands:
    """Attempts to start, to stop and to release on one worker."""

    session_id: int
    start: tuple[AttemptSpec, ...]
    stop: tuple[StopOrder, ...]
    release: tuple[Release, ...] = ()


@dataclass(frozen=True, slots=True)
class SendNotice:
    """A host of the worker's slice is to go: its tasks shall know."""

    session_id: int
    notice: Notice


@dataclass(frozen=True, slots=True)
class AckBeat:
    """A beat was handled."""

    session_id: int
    sequence: int


@dataclass(frozen=True, slots=True)
class AckReports:
    """Reports are in the store."""

    session_id: int
    sequence: int


@dataclass(frozen=True, slots=True)
class RefuseSession:
    """End a session and say why."""

    session_id: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class StepDown:
    """A newer controller of this cluster exists: leave, and touch nothing."""

    reason: Reason


Effect: TypeAlias = (
    CreateSlice
    | DeleteSlice
    | LookAtSlice
    | ListZone
    | SendWelcome
    | SendCommands
    | SendNotice
    | AckBeat
    | AckReports
    | RefuseSession
    | StepDown
)


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """The job that a request is about."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out."""


class RefusalKind(Enum):
    """What the caller may do about a refusal."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    NOT_NOW = "not_now"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request was not carried out."""

    kind: RefusalKind
    reason: Reason


Answer: TypeAlias = JobAnswer | Done | Refusal
