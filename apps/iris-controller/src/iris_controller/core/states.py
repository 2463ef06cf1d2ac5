"""The states of attempts, tasks, slices and workers: variants that own their facts.

Which moves between them are legal stands in `moves`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from iris_controller.core.values import NO_REASON, AttemptEnd, Reason


@dataclass(frozen=True, slots=True)
class AttemptAssigned:
    """Committed; its agent may not know of it yet."""


@dataclass(frozen=True, slots=True)
class AttemptPreparing:
    """The agent is getting ready to start the program."""


@dataclass(frozen=True, slots=True)
class AttemptRunning:
    """The program runs since `started_ms`."""

    started_ms: int


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    """The program ended with exit code 0."""

    started_ms: int
    end: AttemptEnd


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The program ended badly or could not be started."""

    started_ms: int
    end: AttemptEnd


@dataclass(frozen=True, slots=True)
class AttemptKilled:
    """Stopped on our word, or at the end of a lease."""

    started_ms: int
    end: AttemptEnd


@dataclass(frozen=True, slots=True)
class AttemptWorkerLost:
    """Its worker is known to be gone; how the program ended is not known."""

    at_ms: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class AttemptPreempted:
    """The provider took the machine back."""

    at_ms: int
    reason: Reason


AttemptLive: TypeAlias = AttemptAssigned | AttemptPreparing | AttemptRunning
AttemptEnded: TypeAlias = AttemptSucceeded | AttemptFailed | AttemptKilled
AttemptLost: TypeAlias = AttemptWorkerLost | AttemptPreempted
AttemptState: TypeAlias = AttemptLive | AttemptEnded | AttemptLost

ATTEMPT_LIVE = (AttemptAssigned, AttemptPreparing, AttemptRunning)


class TaskState(Enum):
    """A task's state; what it owns beyond this is in its latest attempt.

    The live states repeat the attempt's, so that a task can be read alone.
    """

    PENDING = "pending"
    ASSIGNED = "assigned"
    PREPARING = "preparing"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    UNSCHEDULABLE = "unschedulable"

    @property
    def is_terminal(self) -> bool:
        """Whether the task will never run again."""
        return self in _TERMINAL_TASKS

    @property
    def is_live(self) -> bool:
        """Whether an attempt of it is out on a worker."""
        return self in _LIVE_TASKS


_LIVE_TASKS = frozenset({TaskState.ASSIGNED, TaskState.PREPARING, TaskState.RUNNING})
_TERMINAL_TASKS = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.KILLED, TaskState.UNSCHEDULABLE}
)


class JobState(Enum):
    """A job's state, derived from its tasks."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    UNSCHEDULABLE = "unschedulable"

    @property
    def is_terminal(self) -> bool:
        """Whether every task of the job has ended."""
        return self not in (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class SliceRequesting:
    """Asked for and not seen yet."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class SliceBooting:
    """Exists; hosts are missing."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class SliceInitializing:
    """All hosts exist; not all have registered."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class SliceReady:
    """Every host has registered."""

    reason: Reason = NO_REASON


@dataclass(frozen=True, slots=True)
class SliceDraining:
    """Takes no new task; what runs on it is ending, and its logs are coming in."""

    reason: Reason


class GoneCause(Enum):
    """Why a slice came to its end."""

    DELETED = "deleted"
    FAILED = "failed"
    PREEMPTED = "preempted"


@dataclass(frozen=True, slots=True)
class SliceDeleting:
    """Being deleted; followed until the provider says that it is gone."""

    reason: Reason
    cause: GoneCause


@dataclass(frozen=True, slots=True)
class SliceGone:
    """The provider, asked by name, does not know it. Also its own tombstone."""

    reason: Reason
    cause: GoneCause


SliceComing: TypeAlias = SliceRequesting | SliceBooting | SliceInitializing
SliceState: TypeAlias = SliceComing | SliceReady | SliceDraining | SliceDeleting | SliceGone

SLICE_COMING = (SliceRequesting, SliceBooting, SliceInitializing)
SLICE_IN_SERVICE = (*SLICE_COMING, SliceReady)


class WorkerState(Enum):
    """A worker's standing with the controller."""

    JOINING = "joining"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    LOST = "lost"
    LEFT = "left"
