"""Fetches the wheels that agents on hosts need, while there is a network.

    python -m tests.harness.hosts.wheels

They go to the cache that `iris_platform.bundle` reads. Where they cannot be had,
tests that start agents skip with the reason.
"""

from __future__ import annotations

import platform
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from iris_platform.base import Refused
from iris_platform.bundle import PROGRAMS, Shelf
from iris_platform.bundle.shelf import AGENT

# Of this machine, of bookworm and of trixie.
PYTHONS = tuple(dict.fromkeys((".".join(map(str, sys.version_info[:2])), "3.11", "3.13")))


@cache
def why_not(python: str = PYTHONS[0], programs: tuple[str, ...] = AGENT) -> str:
    """Why there is no bundle of programs for hosts with this Python; empty where there is one."""
    with TemporaryDirectory(prefix="iris-wheels-") as directory:
        try:
            Shelf(Path(directory), programs).bundle_for(python, platform.machine())
        except Refused as error:
            return str(error)
    return ""


def main() -> int:
    """Fetch agent and controller for every Python; never fails."""
    for python in PYTHONS:
        for programs in (AGENT, PROGRAMS):
            if why := why_not(python, programs):
                sys.stderr.write(f"{why}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
