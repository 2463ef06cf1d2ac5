"""Gangs over several slices, in the seeds that have them."""

from collections import Counter

from tests.simulation.simulation import play

# `test_seeds` plays those before.
SEEDS = range(204, 304, 10)


def test_they_run_and_run_again_on_as_many_slices() -> None:
    deeds: Counter[str] = Counter()
    for seed in SEEDS:
        result = play(seed)
        assert result.failure is None, result.failure
        deeds.update(result.deeds)
    assert deeds["wide gang placed"] > 20, deeds
    assert deeds["wide gang placed again"] > 5, deeds
