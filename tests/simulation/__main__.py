"""`python -m tests.simulation`: one seed again, or many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing import get_context

from tests.simulation.simulation import Result, play


def main(arguments: list[str] | None = None) -> int:
    """Plays the seeds that are asked for; 1 if any of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one")
    parser.add_argument("--verbose", action="store_true", help="with --seed: print the whole story")
    parser.add_argument("--seeds", type=int, default=50, help="play so many (default: 50)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes to play them in (default: 1)")
    parser.add_argument("--stories", type=int, default=3, help="print at most so many failures (default: 3)")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return _one(chosen.seed, chosen.verbose)
    return _many(range(chosen.first, chosen.first + chosen.seeds), chosen.jobs, chosen.stories)


def _one(seed: int, verbose: bool) -> int:
    result = play(seed, print if verbose else None)
    if result.failure is not None:
        print(result.failure)
        return 1
    print(f"seed {seed}: {result.simulated_ms / 1000:.0f} simulated seconds, digest {result.digest}")
    return 0


def _many(seeds: range, jobs: int, stories: int) -> int:
    began_s = time.monotonic()
    if jobs > 1:
        with get_context("spawn").Pool(jobs) as pool:
            failed = _summarize(pool.imap(play, seeds, chunksize=4), stories)
    else:
        failed = _summarize(map(play, seeds), stories)
    took_s = time.monotonic() - began_s
    print(f"{len(seeds)} seeds in {took_s:.1f} s ({len(seeds) / took_s:.1f} a second), {failed} failed")
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
        print(f"failed with {code}: {len(seeds)}: seeds {' '.join(map(str, seeds[:12]))}")
    print(f"{simulated_ms / 3_600_000:.1f} simulated hours, {events} events")
    return failed


if __name__ == "__main__":
    sys.exit(main())
