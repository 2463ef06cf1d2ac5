"""Every benchmark by its name."""

from __future__ import annotations

from bench.bootstrap import BOOTSTRAP
from bench.cli import CLI
from bench.config import CONFIG
from bench.dispatch import DISPATCH
from bench.ready import READY
from bench.recovery import RECOVERY
from bench.remote import REMOTE
from bench.start import START

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (DISPATCH, START, BOOTSTRAP, READY, CLI, REMOTE, RECOVERY, CONFIG)
}
