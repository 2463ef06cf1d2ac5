"""What the controller believes: frozen rows, replaced whole at every change.

A row that can be in the store holds facts only; what is measured on the boot
clock (leases, idleness) lives beside the tables, in `world`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from iris_controller.core.queue import Turn
from iris_controller.core.states import (
    AttemptState,
    JobState,
    SliceState,
    TaskState,
    WorkerState,
)
from iris_controller.core.values import (
    NO_REASON,
    AttemptId,
    JobSpec,
    Place,
    Reason,
    Resources,
    TaskId,
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was accepted; never changes.

    An `adopted` job was taken over from agents: its tasks that nobody reported
    are unknown and never created.
    """

    job_id: str
    request_id: str
    spec: JobSpec
    submitted_ms: int
    order: int
    adopted: bool = False

    @property
    def turn(self) -> Turn:
        """Its place in the queue."""
        return Turn(self.order, self.job_id)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What has become of a job.

    `stop` is set once somebody asked for its end. `counts` holds the number of
    tasks in each state, without zeros; once the job has ended, it is all that
    most readers need to know of its tasks.
    """

    job_id: str
    state: JobState
    counts: Mapping[TaskState, int]
    reason: Reason = NO_REASON
    stop: Reason | None = None
    started_ms: int | None = None
    finished_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The latest run of a task.

    `log_stored` says that its whole log is on the controller's disk. `address`
    is where other members of its gang reach it, from PREPARING on.
    """

    id: AttemptId
    place: Place
    boot_id: str
    assigned_ms: int
    state: AttemptState
    log_stored: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One replica. One that was never assigned has no row, see `untouched`.

    `failures` and `losses` count what its two retry budgets have spent.
    """

    id: TaskId
    state: TaskState = TaskState.PENDING
    reason: Reason = NO_REASON
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    attempt: Attempt | None = None


def untouched(task_id: TaskId, status: JobStatus | None) -> Task:
    """A task without a row: it follows from its job that it waits, or was killed with it."""
    if status is None or status.stop is None:
        return Task(task_id)
    return Task(task_id, TaskState.KILLED, status.stop)


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that a newer one replaced; kept for the record."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice that we asked for, or `adopted`: it was there and the store did not know it."""

    name: str
    group: str
    zone: str
    hosts: int
    state: SliceState
    requested_ms: int
    changed_ms: int
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Worker:
    """One host of a slice."""

    place: Place
    state: WorkerState
    reason: Reason = NO_REASON
    boot_id: str = ""
    version: str = ""
    capacity: Resources = Resources(0)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a scale group's recent creations in one zone taught us; survives restarts.

    `zone` "" is all of the group's. `failures` in a row, of one class (see
    `standings`); nothing is created before `not_before_ms` (wall).
    """

    group: str
    zone: str
    failures: int = 0
    not_before_ms: int = 0
    reason: Reason = NO_REASON


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Facts about the cluster as a whole: one row.

    `incomplete` says why the store does not know everything that may run
    (DESIGN 3). Commit numbers up to `commits_lost` were given to agents by
    stores that are gone, and are accounted for. `unknown_deleted` counts
    slices that were deleted because nobody knew them. In `paused_zones`, sorted,
    nothing is asked for until the next start.
    """

    stopping: Reason | None = None
    incomplete: Reason | None = None
    commits_lost: int = 0
    unknown_deleted: int = 0
    paused_zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened or was decided, for people and their tools."""

    event_id: int
    at_ms: int
    kind: str
    subject: str
    what: str
    reason: Reason


Row: TypeAlias = Job | JobStatus | Task | PastAttempt | Slice | Worker | Standing | ClusterState | Record


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """A scale group's configuration as the rules need it. Times in milliseconds."""

    name: str
    provider: str
    zones: tuple[str, ...]
    min_slices: int
    max_slices: int
    buffer_slices: int
    priority: int
    hosts: int
    host_resources: Resources
    idle_timeout_ms: int
    boot_timeout_ms: int
    task_lease_ms: int
    # A slice with a host that was silent for so long is deleted, to get a fence;
    # None: the end of its lease is one, since its agent is supervised.
    fence_after_ms: int | None = None
    # What its hosts have, by its one name, such as `v5litepod-16`; "" is nothing but processors.
    accelerator: str = ""
    # Whose limits and calls it counts against; "" where nobody counts them.
    project: str = ""
    capacity: str = ""
    # How long a request waits in the provider's line; None: it is served or refused at once.
    queued_for_ms: int | None = None

    @property
    def is_cloud(self) -> bool:
        """Whether calls about its slices count, and machines take their time to come and go."""
        return bool(self.project)

    @property
    def account(self) -> str:
        """Whose creations it shares a rate with: its project's, or nobody's."""
        return self.project or f"group {self.name}"


@dataclass(frozen=True, slots=True)
class Settings:
    """The cluster's configuration as the rules need it. Times in milliseconds."""

    cluster_id: str
    groups: Mapping[str, GroupPolicy]
    beat_interval_ms: int
    suspect_after_ms: int
    stop_grace_ms: int
    evaluation_interval_ms: int
    creates_per_minute: int
