"""`python -m bench`: runs benchmarks in full and says which fall short of their floors.

Exit status: 0 every floor was reached; 1 one was not, or could not be measured; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from bench import machine, report
from bench.catalogue import BENCHMARKS
from bench.environments import Environments, NoEnvironments, default_cache
from bench.measure import Benchmark, CannotMeasure, Peers, Scale, run
from bench.verdicts import Result, Verdict, conclude

BUSY = "THE MACHINE IS BUSY WITH OTHER THINGS: do not quote this run"


def main() -> int:
    """Run what the command line names."""
    parser = _parser()
    options = parser.parse_args()
    for name in set(options.benchmark) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    peers = NoEnvironments() if options.no_peers else Environments(options.cache)
    results: list[Result] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="iris-bench-", dir=options.scratch) as scratch:
        here = machine.look(Path(scratch))
        print(report.machine_line(here), flush=True)
        if here.busy:
            print(BUSY, flush=True)
        for name in options.benchmark or BENCHMARKS:
            benchmark = BENCHMARKS[name]
            scale = _scale(benchmark, options)
            try:
                result = _measure(benchmark, scale, Path(scratch), peers)
            except CannotMeasure as error:
                print(f"\n{name}: not measured: {error}", flush=True)
                failed.append(f"not measured: {name}")
                continue
            except AssertionError as error:
                # WorkNotDone, or the harness: a cluster that did not come up.
                print(f"\n{name}: WORK NOT DONE: {error}", flush=True)
                failed.append(f"work not done: {name}")
                continue
            print(f"\n{report.text(result)}\n  load now {machine.load()}", flush=True)
            results.append(result)
    if options.json:
        results_json = {"machine": asdict(here), "results": [report.document(one) for one in results]}
        options.json.write_text(json.dumps(results_json, indent=1) + "\n")
    if here.busy:
        print(f"\n{BUSY}")
    return _summary(results, failed)


def _measure(benchmark: Benchmark, scale: Scale, scratch: Path, peers: Peers) -> Result:
    home = scratch / benchmark.name
    home.mkdir()
    return conclude(run(benchmark, scale, home, peers, lambda words: _progress(benchmark.name, words)))


def _summary(results: list[Result], failed: list[str]) -> int:
    """Says which floors were not reached; the exit status."""
    short = [
        f"{judgement.verdict.value}: {report.floor_words(judgement.floor, result.series.benchmark.unit)}"
        for result in results
        for judgement in result.judgements
        if judgement.verdict is not Verdict.MET
    ] + failed
    print("\n" + "\n".join(short or ["every floor was reached"]))
    return 1 if short else 0


def _scale(benchmark: Benchmark, options: argparse.Namespace) -> Scale:
    scale = benchmark.smoke if options.smoke else benchmark.full
    rounds = options.rounds or scale.rounds
    return replace(scale, rounds=rounds, size=options.size or scale.size)


def _progress(name: str, words: str) -> None:
    print(f"{name}: {words}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    listing = ", ".join(f"{one.name} ({one.number})" for one in BENCHMARKS.values())
    parser.add_argument("benchmark", nargs="*", metavar="BENCHMARK", help=f"all by default: {listing}")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of the benchmark's own number")
    parser.add_argument("--size", type=int, metavar="N", help="work in each measurement, likewise")
    parser.add_argument("--smoke", action="store_true", help="the small scale that `pytest bench` runs")
    parser.add_argument("--no-peers", action="store_true", help="product and limits only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value that was measured")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where clusters live; a disk, not memory")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", default=default_cache(), help="where peers are installed"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
