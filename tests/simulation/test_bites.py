"""Every rule that is broken on purpose makes a seed object.

A mutant that lives says that something is never simulated or never checked.
"""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import play

MOST_SEEDS = 100


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    mutant.apply(monkeypatch)
    seeds = [mutant.seed, *range(MOST_SEEDS)]
    assert any(play(seed).failure is not None for seed in seeds), f"{name} lives"
