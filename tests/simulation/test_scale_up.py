"""The controller is killed at one moment of a scale-up after the other, on a cloud with several zones.

Its calls outlive it, or do not: never two slices for one intent, never one that nobody knows.
"""

import pytest

from tests.simulation.faults import Single
from tests.simulation.simulation import play_single

# Nodes and requests in a line, gangs on accelerators; and nothing that is not on a cloud.
SEEDS = (21, 55)
MOMENTS = range(1, 21)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("when", ["crash_before_commit", "crash_after_commit", "crash_amid_effects"])
def test_it_may_die_at_any_moment(seed: int, when: str) -> None:
    for moment in MOMENTS:
        result = play_single(seed, Single(when, moment))
        assert result.failure is None, result.failure
        assert result.faults[when] == 1, f"there is no moment {moment}"
