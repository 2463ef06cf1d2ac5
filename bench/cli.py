"""Benchmark 7: what a command line costs before it does anything.

Help and version against the bare interpreter of the same environment; `cluster
status` against a process that makes one call to the same controller and exits.
Each value is one process, from spawn to reaping; its files are in the page cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cold import imported, run_cold
from bench.companion import PROGRAMS
from bench.environments import DASK_RELEASE, RAY_RELEASE
from bench.measure import (
    Benchmark,
    Floor,
    Lineup,
    Missing,
    PeerMissing,
    Role,
    Sample,
    Scale,
    Setting,
    Subject,
    Unit,
    Work,
)
from iris_cli import __version__
from iris_cli._help_text import HELP
from tests.harness.cluster import LocalCluster

BARE = "python -c pass"
UNARY = "one cold gRPC call"
IRIS = str(Path(sys.executable).parent / "iris")

# What must not be imported, and everything below it.
HEAVY = frozenset({"grpc", "google", "asyncio", "yaml", "sqlite3", "subprocess"})
HEAVY_AND_PARSER = HEAVY | {"argparse"}

PEERS = {"ray --help": ("ray", RAY_RELEASE), "dask --help": ("dask", DASK_RELEASE)}


@dataclass(frozen=True)
class Line:
    """A command line, how what it prints begins, and what it must not import."""

    name: str
    argv: tuple[str, ...]
    begins: str
    forbidden: frozenset[str] = frozenset()

    def subject(self, role: Role, against: str, environ: Mapping[str, str], out: Path) -> Subject:
        """This line as a subject."""
        heavy: tuple[str, ...] | None = None

        def measure() -> Sample:
            nonlocal heavy
            ended = run_cold(self.argv, environ, out)
            if heavy is None:
                # Once, in a process that nobody times.
                heavy = tuple(sorted(self._imports_of_forbidden(environ)))
            work = Work(self.name, (0, self.begins, ()), (ended.code, ended.out[: len(self.begins)], heavy))
            return Sample((ended.seconds,), work)

        return Subject(self.name, role, measure, against)

    def _imports_of_forbidden(self, environ: Mapping[str, str]) -> frozenset[str]:
        if not self.forbidden:
            return frozenset()
        top = {name.partition(".")[0] for name in imported(sys.executable, self.argv, environ)}
        return self.forbidden & top


def _lines() -> Sequence[Line]:
    return [
        Line("iris --help", (IRIS, "--help"), HELP, HEAVY_AND_PARSER),
        Line("iris --version", (IRIS, "--version"), f"iris {__version__}\n", HEAVY_AND_PARSER),
        Line("iris job run --help", (IRIS, "job", "run", "--help"), "usage: iris job run", HEAVY),
        Line("iris job --help", (IRIS, "job", "--help"), "usage: iris job", HEAVY),
    ]


@contextmanager
def _lineup(setting: Setting) -> Iterator[Lineup]:
    out = setting.scratch / "out"
    lineup: list[Subject | Missing] = []
    with _cluster(setting) as cluster:
        environ = cluster.environ
        bare = Line(BARE, (sys.executable, "-c", "pass"), "")
        lineup.append(bare.subject(Role.LIMIT, "", environ, out))
        lineup += [line.subject(Role.PRODUCT, BARE, environ, out) for line in _lines()]
        file = str(cluster.state_dir / "controller.json")
        unary = Line(UNARY, (sys.executable, str(PROGRAMS / "cold_unary.py"), file), f"{cluster.name}\n")
        status = Line("iris cluster status", (IRIS, "cluster", "status"), "cluster")
        lineup.append(unary.subject(Role.LIMIT, "", environ, out))
        lineup.append(status.subject(Role.PRODUCT, UNARY, environ, out))
        lineup += [_peer(name, setting, out) for name in PEERS]
        yield lineup


@contextmanager
def _cluster(setting: Setting) -> Iterator[LocalCluster]:
    """A controller of so many scale groups, none of which has a slice; the last one started."""
    home = setting.scratch / "cluster"
    home.mkdir()
    cluster = LocalCluster(home, name="bench")
    groups = "".join(
        f"  group-{number}:\n    provider: {{ local: {{}} }}\n" for number in range(setting.size)
    )
    cluster.config.write_text(f"name: bench\nscale_groups:\n{groups}")
    try:
        cluster.iris("cluster", "start")
        yield cluster
        cluster.iris("cluster", "stop", "-y")
    finally:
        cluster.destroy()


def _peer(name: str, setting: Setting, out: Path) -> Subject | Missing:
    program, requirement = PEERS[name]
    try:
        binaries = setting.peers.environment(program, requirement)
    except PeerMissing as error:
        return Missing(name, str(error))
    line = Line(name, (str(binaries / program), "--help"), "Usage:")
    return line.subject(Role.PEER, BARE, os.environ, out)


CLI = Benchmark(
    name="cli",
    number=7,
    title="a command line, from spawn to exit",
    unit=Unit.SECONDS,
    full=Scale(rounds=51, size=40),
    smoke=Scale(rounds=1, size=2),
    floors=(
        Floor("iris --help", 2.0, against=BARE),
        Floor("iris --version", 2.0, against=BARE),
        Floor("iris job run --help", 4.0, against=BARE),
        Floor("iris job --help", 4.0, against=BARE),
        Floor("iris cluster status", 1.4, against=UNARY),
    ),
    lineup=_lineup,
)
