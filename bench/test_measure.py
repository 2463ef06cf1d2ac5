"""The measuring itself: order, proof, intervals, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.environments import NoEnvironments
from bench.intervals import estimate, estimate_ratio, quantile
from bench.measure import (
    Benchmark,
    Floor,
    Lineup,
    Missing,
    Role,
    Sample,
    Scale,
    Series,
    Setting,
    Subject,
    Unit,
    Work,
    WorkNotDone,
    run,
)
from bench.report import text
from bench.verdicts import Verdict, conclude

DONE = Work("tasks", 1, 1)


def constant(name: str, role: Role, value: float, ran: list[str], against: str = "") -> Subject:
    """A subject that always takes the same, and says that it ran."""

    def measure() -> Sample:
        ran.append(name)
        return Sample((value,), DONE)

    return Subject(name, role, measure, against)


def benchmark(lineup: Lineup, *floors: Floor, unit: Unit = Unit.SECONDS) -> Benchmark:
    """A benchmark of these subjects."""

    @contextmanager
    def opened(setting: Setting) -> Iterator[Lineup]:
        yield lineup

    scale = Scale(rounds=3, size=1)
    return Benchmark("test", 0, "a test", unit, scale, scale, floors, opened)


def series_of(one: Benchmark, tmp_path: Path) -> Series:
    """What it measures."""
    return run(one, one.full, tmp_path, NoEnvironments(), lambda words: None)


def test_rounds_turn_their_order_around(tmp_path: Path) -> None:
    ran: list[str] = []
    lineup = [constant("a", Role.PRODUCT, 1, ran), constant("b", Role.LIMIT, 1, ran)]
    series_of(benchmark(lineup), tmp_path)
    assert "".join(ran) == "abbaab"


@pytest.mark.parametrize(("asked", "done"), [(20, 19), ({"SUCCEEDED": 2}, {"SUCCEEDED": 1, "FAILED": 1})])
def test_work_that_is_not_done_is_no_sample(asked: object, done: object) -> None:
    with pytest.raises(WorkNotDone, match="asked for"):
        Work("tasks", asked, done)


@pytest.mark.parametrize("nothing", [0, "", {}, None])
def test_nothing_asked_for_proves_nothing(nothing: object) -> None:
    with pytest.raises(ValueError, match="nothing was asked for"):
        Work("tasks", nothing, nothing)


def test_quantiles_lie_between_neighbours() -> None:
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([1, 2], 1) == 2
    assert quantile([7], 0.99) == 7


def test_an_interval_is_as_wide_as_what_was_seen() -> None:
    steady = estimate([[2.0]] * 15, 0.5)
    assert (steady.low, steady.value, steady.high) == (2, 2, 2)
    rough = estimate([[float(number)] for number in range(15)], 0.5)
    assert 0 < rough.low < rough.value == 7 < rough.high < 14


def test_a_mood_that_both_share_leaves_their_ratio_alone() -> None:
    mood = [1.0, 5.0, 2.0, 9.0, 4.0]
    ratio = estimate_ratio([[2 * one] for one in mood], [[one] for one in mood], 0.5)
    assert (ratio.low, ratio.value, ratio.high) == (2, 2, 2)


@pytest.mark.parametrize(
    ("unit", "value", "verdict"),
    [
        (Unit.SECONDS, 1.5, Verdict.MET),
        (Unit.SECONDS, 2.5, Verdict.SHORT),
        (Unit.PER_SECOND, 2.5, Verdict.MET),
        (Unit.PER_SECOND, 1.5, Verdict.SHORT),
    ],
)
def test_a_floor_is_a_bound_from_the_right_side(
    unit: Unit, value: float, verdict: Verdict, tmp_path: Path
) -> None:
    lineup = [constant("iris", Role.PRODUCT, value, []), constant("bare", Role.LIMIT, 1, [])]
    floors = (Floor("iris", 2, against="bare"), Floor("iris", 2))
    result = conclude(series_of(benchmark(lineup, *floors, unit=unit), tmp_path))
    assert [judgement.verdict for judgement in result.judgements] == [verdict, verdict]


def test_a_missing_peer_is_said_and_its_floor_is_not_met(tmp_path: Path) -> None:
    lineup: Lineup = [constant("iris", Role.PRODUCT, 1, []), Missing("ray", "no wheel for this machine")]
    said: list[str] = []
    say: Callable[[str], None] = said.append
    one = benchmark(lineup, Floor("iris", 2, against="ray"))
    result = conclude(run(one, one.full, tmp_path, NoEnvironments(), say))
    assert said[0] == "peer missing: ray: no wheel for this machine"
    assert [judgement.verdict for judgement in result.judgements] == [Verdict.NOT_MEASURED]
    assert "peer missing: ray: no wheel for this machine" in text(result)
