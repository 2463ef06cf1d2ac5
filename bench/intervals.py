"""Quantiles and bootstrap intervals. Knows nothing of what the numbers are.

Rounds are resampled whole (Efron & Tibshirani, An Introduction to the Bootstrap,
chapters 8 and 13): the values of one round share the machine's mood, and so do
the two sides of a ratio.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
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
    return _bootstrap(len(rounds), lambda chosen: _pooled(rounds, chosen, share))


def estimate_ratio(above: Rounds, below: Rounds, share: float) -> Estimate:
    """The ratio of two subjects' quantiles over the same rounds."""
    return _bootstrap(
        min(len(above), len(below)),
        lambda chosen: _pooled(above, chosen, share) / _pooled(below, chosen, share),
    )


def _pooled(rounds: Rounds, chosen: Sequence[int], share: float) -> float:
    return quantile([value for number in chosen for value in rounds[number]], share)


def _bootstrap(count: int, figure: Callable[[Sequence[int]], float]) -> Estimate:
    # Seeded: the same measurements give the same report.
    dice = random.Random(20)
    every = range(count)
    figures = [figure(dice.choices(every, k=count)) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    return Estimate(figure(every), quantile(figures, tail), quantile(figures, 1 - tail))
