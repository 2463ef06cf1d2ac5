"""Everything that can happen to the controller: the inputs of `step`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from iris_controller.core.states import AttemptEnded, AttemptPreparing, AttemptRunning
from iris_controller.core.values import (
    AttemptId,
    AttemptSpec,
    JobSpec,
    Notice,
    Place,
    Reason,
    Resources,
)
from iris_platform.base import Failure, SliceInfo


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """A person submits a job; `job_id` is used if the request is new."""

    request_id: str
    job_id: str
    spec: JobSpec


@dataclass(frozen=True, slots=True)
class JobStopRequested:
    """A person wants a job to end."""

    job_id: str


@dataclass(frozen=True, slots=True)
class ShutdownBegun:
    """`cluster stop`: give back every slice, keep unfinished jobs; with `zones` those of these alone."""

    reason: Reason
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShutdownEnded:
    """The controller was started or restarted: scale again, also where an operator had to mend something."""


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """An agent's word on one attempt: how far it is, or how it ended."""

    id: AttemptId
    state: AttemptPreparing | AttemptRunning | AttemptEnded
    address: str = ""


@dataclass(frozen=True, slots=True)
class ObservedAttempt:
    """An attempt that an agent knows, with enough to take its job over."""

    spec: AttemptSpec
    report: AttemptReport
    job: JobSpec
    request_id: str
    submitted_ms: int


@dataclass(frozen=True, slots=True)
class AgentHello:
    """An agent connected and tells everything that it knows.

    `highest_commit` is the highest number that it was ever given,
    `our_commit` that of the store when it spoke.
    """

    session_id: int
    cluster_id: str
    place: Place
    boot_id: str
    previous_boot_id: str
    highest_epoch: int
    resources: Resources
    version: str
    observed: tuple[ObservedAttempt, ...]
    zone: str = ""
    highest_commit: int = 0
    our_commit: int = 0


@dataclass(frozen=True, slots=True)
class AgentRefused:
    """An agent came to a place that it may be, and cannot be talked to."""

    place: Place
    reason: Reason


@dataclass(frozen=True, slots=True)
class AgentBeat:
    """An agent is alive, and its keeper too."""

    session_id: int
    sequence: int


@dataclass(frozen=True, slots=True)
class AgentReports:
    """Changes of attempts on one worker, in order."""

    session_id: int
    sequence: int
    reports: tuple[AttemptReport, ...]


@dataclass(frozen=True, slots=True)
class AgentNotice:
    """An agent's host was told that it is to go."""

    session_id: int
    notice: Notice


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """An agent's stream ended, for whatever reason."""

    session_id: int


@dataclass(frozen=True, slots=True)
class LogStored:
    """The whole log of an ended attempt is durable here."""

    id: AttemptId


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A platform call's failure, in the provider's words."""

    failure: Failure
    message: str


@dataclass(frozen=True, slots=True)
class CreateAnswered:
    """A creation was accepted (None) or failed."""

    slice_name: str
    error: CallFailed | None


@dataclass(frozen=True, slots=True)
class DeleteAnswered:
    """A deletion was accepted (None) or failed."""

    slice_name: str
    error: CallFailed | None


@dataclass(frozen=True, slots=True)
class SliceLooked:
    """A slice, asked for by name: seen, known to be absent (None), or not looked at.

    `logs` are the last lines of the hosts that were asked for theirs, for people.
    """

    slice_name: str
    seen: SliceInfo | CallFailed | None
    logs: str = ""


@dataclass(frozen=True, slots=True)
class ZoneListed:
    """A provider's slices in one zone: a complete list, or the failure to get one."""

    provider: str
    zone: str
    seen: tuple[SliceInfo, ...] | CallFailed


@dataclass(frozen=True, slots=True)
class StoreFoundOlder:
    """This start found a store that was lost or restored; first of all events."""

    why: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Decide:
    """The batch is complete: schedule, scale, and tell the agents."""


Event: TypeAlias = (
    JobSubmitted
    | JobStopRequested
    | ShutdownBegun
    | ShutdownEnded
    | AgentHello
    | AgentRefused
    | AgentBeat
    | AgentReports
    | AgentNotice
    | SessionClosed
    | LogStored
    | CreateAnswered
    | DeleteAnswered
    | SliceLooked
    | ZoneListed
    | StoreFoundOlder
    | Tick
    | Decide
)
