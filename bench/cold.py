"""Runs a program from its first instruction to its last, and measures that."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RUN_S = 60.0


@dataclass(frozen=True)
class Ended:
    """A program that ran: its time from spawn to reaping, and what it left."""

    seconds: float
    code: int
    out: str


def run_cold(argv: Sequence[str], environ: Mapping[str, str], out: Path) -> Ended:
    """Run one process; `out` takes its stdout, stderr goes to `out` with `.err` behind it.

    Cold means a new process; its files are in the page cache after the first.
    """
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(out), writing, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, f"{out}.err", writing, 0o600),
    ]
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], list(argv), environ, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - started
    return Ended(seconds, os.waitstatus_to_exitcode(status), out.read_text())


def imported(python: str, argv: Sequence[str], environ: Mapping[str, str]) -> frozenset[str]:
    """The modules that a Python program imports, as `-X importtime` tells.

    Raises:
        RuntimeError: it told of none.
    """
    command = [python, "-X", "importtime", *argv]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=RUN_S)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    names = frozenset(line.rpartition("|")[2].strip() for line in lines[1:])
    if not names:
        raise RuntimeError(f"{command} told of no imports: {done.stderr[-500:]}")
    return names
