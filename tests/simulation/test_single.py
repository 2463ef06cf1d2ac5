"""One fault alone, on one occasion after the other, in a run where nothing else goes wrong.

`python -m tests.simulation --seed 26 --each 1000 --jobs 2` takes all of them.
"""

import pytest

from tests.simulation.faults import CHANCES
from tests.simulation.simulation import play_single, single_faults

SEED = 26
EACH = 3

SINGLES = single_faults(SEED, EACH)


@pytest.mark.parametrize("name", sorted({single.name for single in SINGLES}))
def test_one_fault_alone_is_safe(name: str) -> None:
    for single in SINGLES:
        if single.name == name:
            result = play_single(SEED, single)
            assert result.failure is None, result.failure
            assert result.faults[name] == 1, f"{single} did not happen"


def test_every_kind_has_its_occasion() -> None:
    assert CHANCES.keys() - {single.name for single in SINGLES} == {"call_outlives_crash", "store_stays_full"}
