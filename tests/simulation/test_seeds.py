"""Some seeds in every run of the tests; `python -m tests.simulation --seeds 20000 --jobs 2` plays many.

A seed that fails prints its story and the command that plays it again.
"""

from collections import Counter
from functools import cache

import pytest

from tests.simulation.faults import CHANCES, INTERVALS
from tests.simulation.simulation import play

SEEDS = 200
# Both tests look at the same ones.
played = cache(play)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_seed_is_safe_and_comes_to_rest(seed: int) -> None:
    result = played(seed)
    assert result.failure is None, result.failure


def test_every_fault_happens() -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEEDS):
        happened.update(played(seed).faults)
        if all(happened[name] for name in (*CHANCES, *INTERVALS)):
            return
    assert [name for name in (*CHANCES, *INTERVALS) if not happened[name]] == []
