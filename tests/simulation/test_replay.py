"""A seed is the same run, word for word, in every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.simulation import play

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3)


def digests(hash_seed: str) -> list[str]:
    """The digests of the seeds, played in a process of their own."""
    program = f"from tests.simulation.simulation import play\nfor s in {SEEDS}: print(play(s).digest)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


def test_twice_is_the_same() -> None:
    assert [play(seed).digest for seed in SEEDS] == [play(seed).digest for seed in SEEDS]


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_order_of_hashes_does_not_matter(hash_seed: str) -> None:
    assert digests(hash_seed) == [play(seed).digest for seed in SEEDS]


def test_other_seeds_are_other_runs() -> None:
    assert len({play(seed).digest for seed in SEEDS}) == len(SEEDS)
