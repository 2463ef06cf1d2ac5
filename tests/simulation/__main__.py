"""`python -m tests.simulation`: one seed again, or many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

from tests.simulation.faults import CHANCES, INTERVALS, Single
from tests.simulation.simulation import Result, play, play_single, single_faults

T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    """Plays the seeds that are asked for; 1 if any of them failed."""
    faults = ", ".join([*CHANCES, *INTERVALS])
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=__doc__,
        epilog=f"Faults: {faults}. See tests/simulation/README.md.",
    )
    parser.add_argument("--seed", type=int, help="play this one")
    parser.add_argument(
        "--fault", type=_single, metavar="NAME:N", help="with --seed: only this, the Nth time"
    )
    parser.add_argument("--verbose", action="store_true", help="with --seed: print the whole story")
    parser.add_argument("--each", type=int, metavar="N", help="with --seed: each fault alone, N times each")
    parser.add_argument("--seeds", type=int, default=50, help="play so many (default: 50)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes to play them in (default: 1)")
    parser.add_argument("--stories", type=int, default=3, help="print at most so many failures (default: 3)")
    chosen = parser.parse_args(arguments)
    if chosen.seed is None:
        seeds = range(chosen.first, chosen.first + chosen.seeds)
        return _many(play, seeds, chosen.jobs, chosen.stories)
    if chosen.each is None:
        return _one(chosen.seed, chosen.fault, chosen.verbose)
    singles = single_faults(chosen.seed, chosen.each)
    return _many(partial(play_single, chosen.seed), singles, chosen.jobs, chosen.stories)


def _single(text: str) -> Single:
    name, _, occasion = text.partition(":")
    return Single(name, int(occasion))


def _one(seed: int, single: Single | None, verbose: bool) -> int:
    result = play(seed, print if verbose else None, single)
    if result.failure is not None:
        print(result.failure)
        return 1
    print(f"seed {seed}: {result.simulated_ms / 1000:.0f} simulated seconds, digest {result.digest}")
    return 0


def _many(run: Callable[[T], Result], which: Sequence[T], jobs: int, stories: int) -> int:
    began_s = time.monotonic()
    if jobs > 1:
        with get_context("spawn").Pool(jobs) as pool:
            failed = _summarize(pool.imap(run, which, chunksize=4), stories)
    else:
        failed = _summarize(map(run, which), stories)
    took_s = time.monotonic() - began_s
    print(f"{len(which)} runs in {took_s:.1f} s ({len(which) / took_s:.1f} a second), {failed} failed")
    return 1 if failed else 0


def _summarize(results: Iterable[Result], stories: int) -> int:
    faults: Counter[str] = Counter()
    deeds: Counter[str] = Counter()
    codes: dict[str, list[int]] = {}
    simulated_ms = events = failed = 0
    for result in results:
        faults.update(result.faults)
        deeds.update(result.deeds)
        simulated_ms += result.simulated_ms
        events += result.events
        if result.failure is not None:
            failed += 1
            codes.setdefault(result.code, []).append(result.seed)
            if failed <= stories:
                print(result.failure, end="\n\n", flush=True)
    for title, counts in (("what happened:", deeds), ("faults that happened:", faults)):
        print(title)
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            print(f"  {count:8}  {name}{'' if count else '   NEVER'}")
    for code, seeds in codes.items():
        print(f"failed with {code}: {len(seeds)}: seeds {' '.join(map(str, seeds))}")
    print(f"{simulated_ms / 3_600_000:.1f} simulated hours, {events} events")
    return failed


if __name__ == "__main__":
    sys.exit(main())
