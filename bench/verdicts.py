"""What the measurements say: figures with their intervals, and which floors were reached."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from bench.intervals import Estimate, Rounds, estimate, estimate_ratio, quantile
from bench.measure import Floor, Role, Series


class Verdict(enum.Enum):
    """What became of a floor. Only MET is good enough."""

    MET = "met"
    SHORT = "SHORT"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Figure:
    """One quantile of one subject, and its ratio to the subject that it is held against."""

    subject: str
    role: Role
    quantile: float
    value: Estimate
    against: str
    ratio: Estimate | None
    notes: Mapping[str, float]


@dataclass(frozen=True)
class Judgement:
    """A floor, what was reached and what that makes. `sure`: the whole interval says so."""

    floor: Floor
    reached: Estimate | None
    verdict: Verdict
    sure: bool


@dataclass(frozen=True)
class Result:
    """A benchmark's figures and judgements."""

    series: Series
    figures: tuple[Figure, ...]
    judgements: tuple[Judgement, ...]


def conclude(series: Series) -> Result:
    """Everything that there is to say about a series."""
    figures = tuple(
        _figure(series, subject.name, subject.role, subject.against, share)
        for subject in series.subjects
        for share in series.benchmark.quantiles
    )
    return Result(series, figures, tuple(_judge(series, floor) for floor in series.benchmark.floors))


def _figure(series: Series, name: str, role: Role, against: str, share: float) -> Figure:
    own = _rounds(series, name)
    ratio = estimate_ratio(own, _rounds(series, against), share) if against else None
    return Figure(name, role, share, estimate(own, share), against, ratio, _notes(series, name))


def _judge(series: Series, floor: Floor) -> Judgement:
    if not all(name in series.samples for name in (floor.subject, floor.against or floor.subject)):
        return Judgement(floor, None, Verdict.NOT_MEASURED, sure=True)
    own = _rounds(series, floor.subject)
    if floor.against:
        reached = estimate_ratio(own, _rounds(series, floor.against), floor.quantile)
    else:
        reached = estimate(own, floor.quantile)

    def holds(value: float) -> bool:
        return value >= floor.bound if series.benchmark.unit.more_is_better else value <= floor.bound

    verdict = Verdict.MET if holds(reached.value) else Verdict.SHORT
    sure = holds(reached.low) == holds(reached.high)
    return Judgement(floor, reached, verdict, sure)


def _rounds(series: Series, name: str) -> Rounds:
    return [sample.values for sample in series.samples[name]]


def _notes(series: Series, name: str) -> dict[str, float]:
    samples = series.samples[name]
    return {note: quantile([sample.notes[note] for sample in samples], 0.5) for note in samples[0].notes}
