"""Every benchmark runs at a small size and does its work; how fast is not asserted."""

from __future__ import annotations

import json

import pytest

from bench.catalogue import BENCHMARKS
from bench.environments import NoEnvironments
from bench.measure import CannotMeasure, Role, run
from bench.report import document, text
from bench.verdicts import Result, Verdict, conclude


@pytest.fixture(scope="module", params=BENCHMARKS.values(), ids=list(BENCHMARKS))
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What a benchmark says at the size of a test; every sample has proved its work."""
    scratch = tmp_path_factory.mktemp(request.param.name)
    try:
        return conclude(run(request.param, request.param.smoke, scratch, NoEnvironments(), print))
    except CannotMeasure as error:
        pytest.skip(str(error))


def test_the_product_and_a_limit_are_measured_in_every_round(result: Result) -> None:
    series = result.series
    assert {subject.role for subject in series.subjects} == {Role.PRODUCT, Role.LIMIT}
    assert {len(samples) for samples in series.samples.values()} == {series.scale.rounds}


def test_every_floor_is_about_something_that_is_measured_or_missing(result: Result) -> None:
    missing = {one.name for one in result.series.missing}
    for judgement in result.judgements:
        about = {judgement.floor.subject, judgement.floor.against} - {""}
        assert about <= missing | set(result.series.samples)
        assert (judgement.verdict is Verdict.NOT_MEASURED) == bool(about & missing)


def test_it_can_be_read(result: Result) -> None:
    assert result.series.benchmark.title in text(result)
    assert json.loads(json.dumps(document(result)))["floors"]
