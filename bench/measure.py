"""What a benchmark is, and how it is run: interleaved, and only with proof of its work.

Knows nothing of Iris, of processes or of how results are shown.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias


class WorkNotDone(AssertionError):
    """What was timed is not what was asked for; the time says nothing."""


class PeerMissing(Exception):
    """A peer cannot be measured here; the message says why."""


class CannotMeasure(Exception):
    """Nothing of a benchmark can be measured on this machine; the message says why."""


@dataclass(frozen=True)
class Work:
    """Proof that a measurement did its work: what was asked for, and what was found afterwards.

    Any two values that compare. There is no sample without one, and none whose
    work is undone.
    """

    what: str
    asked: object
    done: object

    def __post_init__(self) -> None:
        if not self.asked:
            raise ValueError(f"{self.what}: nothing was asked for, so nothing can be proved")
        if self.asked != self.done:
            raise WorkNotDone(f"{self.what}: asked for {self.asked!r}, found {self.done!r}")


@dataclass(frozen=True)
class Sample:
    """One measurement: its values in the benchmark's unit, and the proof of its work.

    `notes` are figures beside the measured one, such as bytes or CPU time per task.
    """

    values: tuple[float, ...]
    work: Work
    notes: Mapping[str, float] = field(default_factory=dict)


class Role(enum.Enum):
    """What a subject is to the benchmark."""

    PRODUCT = "product"
    LIMIT = "limit"
    PEER = "peer"


class Unit(enum.Enum):
    """What the values of a benchmark are."""

    SECONDS = "s"
    PER_SECOND = "1/s"

    @property
    def more_is_better(self) -> bool:
        """Whether floors are lower bounds."""
        return self is Unit.PER_SECOND


@dataclass(frozen=True)
class Subject:
    """Something that is measured. `against` names the subject that its ratio is to."""

    name: str
    role: Role
    measure: Callable[[], Sample]
    against: str = ""


@dataclass(frozen=True)
class Missing:
    """A peer that would have been measured."""

    name: str
    why: str


@dataclass(frozen=True)
class Scale:
    """How often, and how much work in each measurement."""

    rounds: int
    size: int


class Peers(Protocol):
    """Where peers are: in environments of their own."""

    def allow(self) -> None:
        """For peers that need no environment.

        Raises:
            PeerMissing: this run is without peers.
        """
        ...

    def environment(self, name: str, *requirements: str) -> Path:
        """The directory of the peer's executables, `python` among them.

        Raises:
            PeerMissing: it cannot be had.
        """
        ...


@dataclass(frozen=True)
class Setting:
    """Where a benchmark finds itself. `scratch` is empty and on a disk, and goes away."""

    size: int
    scratch: Path
    peers: Peers


Lineup: TypeAlias = Sequence[Subject | Missing]


@dataclass(frozen=True)
class Floor:
    """What a subject has to reach: a quantile of it, in the unit or as a ratio to another's.

    An upper bound for seconds, a lower one for rates.
    """

    subject: str
    bound: float
    against: str = ""
    quantile: float = 0.5


@dataclass(frozen=True)
class Benchmark:
    """One measure. `number` is the one that issues and reports know it by."""

    name: str
    number: int
    title: str
    unit: Unit
    full: Scale
    smoke: Scale
    floors: tuple[Floor, ...]
    # Sets up what is common to all rounds, and clears it away.
    lineup: Callable[[Setting], AbstractContextManager[Lineup]]
    quantiles: tuple[float, ...] = (0.5,)


@dataclass(frozen=True)
class Series:
    """Everything that was measured: for each subject its samples, one a round."""

    benchmark: Benchmark
    scale: Scale
    subjects: tuple[Subject, ...]
    missing: tuple[Missing, ...]
    samples: Mapping[str, tuple[Sample, ...]]


def run(
    benchmark: Benchmark, scale: Scale, scratch: Path, peers: Peers, say: Callable[[str], None]
) -> Series:
    """Measure everything, round by round, so that a change of the machine's mood meets all alike.

    Raises:
        CannotMeasure: this machine lacks what it needs.
        WorkNotDone: a subject did not do what it was timed for.
    """
    with benchmark.lineup(Setting(scale.size, scratch, peers)) as lineup:
        subjects = tuple(one for one in lineup if isinstance(one, Subject))
        missing = tuple(one for one in lineup if isinstance(one, Missing))
        for one in missing:
            say(f"peer missing: {one.name}: {one.why}")
        samples: dict[str, list[Sample]] = {subject.name: [] for subject in subjects}
        for number in range(scale.rounds):
            for subject in in_turn(subjects, number):
                sample = subject.measure()
                samples[subject.name].append(sample)
            say(f"round {number + 1} of {scale.rounds}")
    series = {name: tuple(values) for name, values in samples.items()}
    return Series(benchmark, scale, subjects, missing, series)


def in_turn(subjects: Sequence[Subject], number: int) -> Sequence[Subject]:
    """The order of a round: A B, B A, A B, …, so that a drift cancels out."""
    return subjects[::-1] if number % 2 else subjects
