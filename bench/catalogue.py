"""Every benchmark by its name."""

from __future__ import annotations

from bench.cli import CLI
from bench.config import CONFIG
from bench.dispatch import DISPATCH
from bench.recovery import RECOVERY
from bench.start import START

BENCHMARKS = {benchmark.name: benchmark for benchmark in (DISPATCH, START, CLI, RECOVERY, CONFIG)}
