"""Everything that may go wrong, how often it does, and how often it did.

Each seed has some faults and not others, at rates of its own: what hides
between two faults shows when one of them is away (swarm testing).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

# By occasion: the share of occasions on which it happens.
CHANCES: Mapping[str, float] = {
    # Controller and store.
    "crash_before_commit": 0.0025,
    "crash_after_commit": 0.0025,
    "crash_amid_effects": 0.0025,
    "commit_fails": 0.003,
    "commit_in_doubt": 0.002,
    "commit_slow": 0.004,
    "store_stays_full": 0.5,
    "group_dropped": 0.2,
    # Users.
    "answer_lost": 0.15,
    "request_twice": 0.15,
    "copied_at_submit": 0.3,
    # The cloud's answers.
    "create_lost_before": 0.06,
    "create_lost_after": 0.08,
    "create_lands_late": 0.12,
    "create_refused": 0.05,
    "create_over_quota": 0.05,
    "create_rate_limited": 0.04,
    "create_not_allowed": 0.01,
    "create_fails_late": 0.08,
    "line_is_long": 0.3,
    "delete_rate_limited": 0.04,
    "delete_lost_before": 0.06,
    "delete_lost_after": 0.06,
    "delete_lands_late": 0.05,
    "delete_comes_to_nothing": 0.05,
    "look_fails": 0.05,
    "list_fails": 0.1,
    "list_lags": 0.6,
    "list_misses": 0.2,
    "call_slow": 0.05,
    "call_outlives_crash": 0.5,
    # The cloud's machines.
    "create_fails_half_way": 0.08,
    "host_never_boots": 0.03,
    "host_never_registers": 0.04,
    # Agents and their lines.
    "message_stalls": 0.004,
    "hello_stalls": 0.1,
    "dial_fails": 0.1,
    "stale_controller": 0.05,
    "session_dies_amid_orders": 0.004,
    "keeper_is_slow": 0.004,
    "log_not_shipped": 0.1,
    "start_fails": 0.02,
    "no_port": 0.02,
    "clock_drifts": 0.5,
}

# By themselves: milliseconds between two, on average, while it can happen.
INTERVALS: Mapping[str, int] = {
    "controller_killed": 100_000,
    "controller_stalls": 150_000,
    "wall_clock_jumps": 80_000,
    "cloud_unreachable": 200_000,
    "cloud_full": 150_000,
    "slice_preempted": 150_000,
    "zone_preempted": 300_000,
    "slice_vanishes": 250_000,
    "slice_fails": 250_000,
    "host_dies": 150_000,
    "host_reboots": 150_000,
    "agent_killed": 120_000,
    "agent_leaves_tasks": 150_000,
    "session_killed": 60_000,
    "line_breaks": 30_000,
    "host_cut_off": 90_000,
    "host_suspended": 150_000,
    "network_out": 250_000,
    "store_copied": 30_000,
    "store_lost": 350_000,
    "store_restored": 150_000,
    "cluster_stopped": 350_000,
}


class Single(NamedTuple):
    """One fault alone, on one occasion (counted from 1); 0 for none at all."""

    name: str
    occasion: int


class Faults:
    """The faults of one seed. Each draws from its own stream, so that a new one changes no other."""

    def __init__(self, seed: int, single: Single | None = None) -> None:
        """With `single` that fault and no other happens."""
        self.counts: dict[str, int] = dict.fromkeys([*CHANCES, *INTERVALS], 0)
        self.occasions: Counter[str] = Counter()
        self._single = single
        self._on = True
        self._streams = {name: Random(f"{seed}/fault/{name}") for name in self.counts}
        self._factors = {name: _factor(Random(f"{seed}/swarm/{name}")) for name in self.counts}

    def off(self) -> None:
        """From now on nothing goes wrong."""
        self._on = False

    @property
    def are_on(self) -> bool:
        """Whether anything may still go wrong."""
        return self._on

    def hits(self, name: str) -> bool:
        """Whether this fault happens on this occasion."""
        if self._single is not None:
            return self._hits_single(name, self._single)
        factor = self._factors[name]
        if not self._on or not factor or self._streams[name].random() >= CHANCES[name] * factor:
            return False
        self.counts[name] += 1
        return True

    def _hits_single(self, name: str, single: Single) -> bool:
        self.occasions[name] += self._on
        hit = self._on and single == (name, self.occasions[name])
        self.counts[name] += hit
        return hit

    def next_ms(self, name: str) -> int | None:
        """How long until this fault comes by itself; None if this seed does not have it."""
        factor = self._factors[name]
        if not self._on or not factor or self._single is not None:
            return None
        return round(self._streams[name].expovariate(factor / INTERVALS[name]))

    def happened(self, name: str) -> None:
        """Counts a fault that came by itself, or followed from others, and found something to hit."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def between(self, name: str, least: int, most: int) -> int:
        """How long, or how much, as this fault has it."""
        return self._streams[name].randint(least, most)

    def pick(self, name: str, among: int) -> int:
        """Which of so many this fault hits."""
        return self._streams[name].randrange(among)


def _factor(random: Random) -> float:
    """How much more often than usual; 0 for never."""
    return random.choice((0.5, 1.0, 1.0, 3.0)) if random.random() < 0.6 else 0.0
