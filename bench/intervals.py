"""Quantiles and bootstrap intervals. Knows nothing of what the numbers are.

Rounds are resampled whole (Efron & Tibshirani, An Introduction to the Bootstrap,
chapters 8 and 13), and a ratio is taken within each round: what is measured within
seconds shares the machine's mood.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 1_000
CONFIDENCE = 0.95

# The values of one subject, round by round.
Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval; the interval is the figure where there is one round only."""

    value: float
    low: float
    high: float


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of all lies below, between neighbours where it falls between.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values have no quantile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def estimate(rounds: Rounds, share: float) -> Estimate:
    """A quantile over all rounds."""
    return _bootstrap(rounds, share)


def estimate_ratio(above: Rounds, below: Rounds, share: float) -> Estimate:
    """The median, over the rounds, of the ratio of two subjects' quantiles in that round."""
    ratios = [
        [quantile(own, share) / quantile(other, share)] for own, other in zip(above, below, strict=True)
    ]
    return _bootstrap(ratios, 0.5)


def _bootstrap(rounds: Rounds, share: float) -> Estimate:
    # Seeded: the same measurements give the same report.
    dice = random.Random(20)
    drawn = [_pooled(dice.choices(rounds, k=len(rounds)), share) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    return Estimate(_pooled(rounds, share), quantile(drawn, tail), quantile(drawn, 1 - tail))


def _pooled(rounds: Rounds, share: float) -> float:
    return quantile([value for one in rounds for value in one], share)
