"""What a reader has to know of the machine and the moment, since only ratios travel."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

FSYNCS = 50
PAGE = 4_096


@dataclass(frozen=True)
class Machine:
    """Taken at the start of a run. `load` is the average over the last minute, in runnable processes."""

    commit: str
    python: str
    kernel: str
    processors: int
    scratch: str
    fdatasync_ms: float
    load: float

    @property
    def busy(self) -> bool:
        """Whether others keep the processors from us: then even ratios mislead."""
        return self.load > self.processors / 2


def look(scratch: Path) -> Machine:
    """The machine as it is now; writes a little to `scratch`."""
    return Machine(
        commit=_commit(),
        python=sys.version.split()[0],
        kernel=platform.release(),
        processors=len(os.sched_getaffinity(0)),
        scratch=_file_system(scratch),
        fdatasync_ms=round(_fdatasync_s(scratch) * 1e3, 3),
        load=load(),
    )


def load() -> float:
    """How busy the machine was during the last minute: ours and everyone's."""
    return round(os.getloadavg()[0], 2)


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _file_system(path: Path) -> str:
    """The type of the file system that holds a path, as `/proc/mounts` has it."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        mount, this = line.split()[1:3]
        inside = path.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(best):
            best, kind = mount, this
    return kind


def _fdatasync_s(scratch: Path) -> float:
    """The median of writing a page durably: what each commit costs at least."""
    file = scratch / "fdatasync"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    took = []
    try:
        for _ in range(FSYNCS):
            started = time.perf_counter()
            os.write(handle, bytes(PAGE))
            os.fdatasync(handle)
            took.append(time.perf_counter() - started)
    finally:
        os.close(handle)
        file.unlink()
    return statistics.median(took)
