"""The small words that every other module of the core speaks with.

Knows no entity and no rule. Times are integers in milliseconds; a name says
which clock: `_boot_ms` counts from this machine's boot, `_ms` is wall time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Now(NamedTuple):
    """One moment on both clocks.

    Leases, ages and idleness use `boot_ms`, which no one can set; `wall_ms` is
    for people and for what must survive a restart.
    """

    boot_ms: int
    wall_ms: int


class TaskId(NamedTuple):
    """One replica of a job."""

    job_id: str
    task_index: int

    @property
    def name(self) -> str:
        """`JOB/INDEX`, as people read it."""
        return f"{self.job_id}/{self.task_index}"


class AttemptId(NamedTuple):
    """One run of a task; newer means that `(epoch, number)` is larger."""

    job_id: str
    task_index: int
    epoch: int
    number: int

    @property
    def task(self) -> TaskId:
        """The task that this is a run of."""
        return TaskId(self.job_id, self.task_index)

    @property
    def round(self) -> tuple[int, int]:
        """What orders the runs of a task; the same for all members of a gang that start together."""
        return (self.epoch, self.number)

    def is_newer_than(self, other: AttemptId) -> bool:
        """Whether this attempt was assigned after `other`, of the same task."""
        return self.round > other.round


class Place(NamedTuple):
    """Where a worker stands: its slice and its index in it."""

    slice_name: str
    worker_index: int

    @property
    def name(self) -> str:
        """`SLICE/INDEX`, as people read it."""
        return f"{self.slice_name}/{self.worker_index}"


class Resources(NamedTuple):
    """Accounted capacity: thousandths of a core, and bytes.

    In a request, 0 bytes means no limit; in an offer, that memory is not
    accounted.
    """

    cpu_millis: int
    memory_bytes: int = 0


def add_up(given: Iterable[Resources]) -> Resources:
    """What so many tasks were given together."""
    all_of_it = list(given)
    return Resources(sum(r.cpu_millis for r in all_of_it), sum(r.memory_bytes for r in all_of_it))


class Reason(NamedTuple):
    """Why: a stable code for programs and a sentence for people."""

    code: str
    message: str = ""


NO_REASON = Reason("")


class Notice(NamedTuple):
    """A provider's word that a host, and with it its slice, is to go in `left_ms`."""

    kind: str
    message: str
    left_ms: int


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a person submitted, unchanged.

    With an `accelerator`, no `replicas` mean as many as its `slices` have hosts; filled in
    when it is submitted. Only a gang has more than one slice.
    """

    name: str
    command: tuple[str, ...]
    # In no text that is made of this: such texts end up in logs.
    env: Mapping[str, str] = field(repr=False)
    replicas: int
    resources: Resources
    gang: bool = False
    max_failures: int = 0
    max_losses: int = 100
    stop_grace_ms: int | None = None
    timeout_ms: int | None = None
    accelerator: str = ""
    slices: int = 1

    @property
    def is_gang(self) -> bool:
        """Whether its tasks start, end and are retried together; one task alone is none."""
        return self.gang and self.replicas > 1

    @property
    def shape(self) -> Shape:
        """What the scheduler needs to know of a task of this job."""
        if not self.is_gang:
            return Shape(self.resources, accelerator=self.accelerator)
        return Shape(self.resources, self.replicas, self.accelerator, self.slices)


class Shape(NamedTuple):
    """Tasks of one shape are interchangeable to the scheduler.

    `together` of them go on so many `slices`, or none does: the size of a gang, and a
    `share` of it on each. Those with an `accelerator` take a whole host each that has it,
    those without go where there is none.
    """

    resources: Resources
    together: int = 1
    accelerator: str = ""
    slices: int = 1

    @property
    def share(self) -> int:
        """How many of them go on each of their slices."""
        return self.together // self.slices


class Lot(NamedTuple):
    """One zone of a scale group: the slices of a gang are all of one lot."""

    group: str
    zone: str


class AcceleratorName(NamedTuple):
    """`v5litepod-16` is 16 of the kind `v5litepod`; a name of another form is a kind by itself."""

    kind: str
    size: int

    @classmethod
    def of(cls, accelerator: str) -> AcceleratorName:
        """The parts of a name."""
        kind, _, size = accelerator.rpartition("-")
        return cls(kind, int(size)) if kind and size.isdecimal() else cls(accelerator, 0)


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """An attempt as its agent is told of it."""

    id: AttemptId
    failures: int
    losses: int


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended, as its agent reports it."""

    finished_ms: int
    reason: Reason
    exit_code: int | None = None
    signal: int | None = None
    log_bytes: int | None = None
