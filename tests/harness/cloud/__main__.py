"""Runs a test cloud until it is stopped.

    python -m tests.harness.cloud [--port N] [--address A] [--project ID]... [--vms paper|bench]

Prints its URL as the first line. VMs are on paper (addresses with nothing behind
them) or hosts of the SSH bench, for which this has to run sealed:
`python -m tests.harness.hosts.sealed COMMAND`; it listens on the bench's own network
then, where hosts reach it.
"""

from __future__ import annotations

import argparse
import signal
import threading
from contextlib import ExitStack

from tests.harness.cloud.server import CloudServer
from tests.harness.cloud.settings import Settings
from tests.harness.cloud.vms import Vms

FIRST_NUMBER = 123456789012


def main() -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.cloud", description=__doc__)
    parser.add_argument("--address", default="", help="where to listen; default: loopback, or the bench's")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--project", action="append", help="a project that exists; may be repeated")
    parser.add_argument("--vms", choices=("paper", "bench"), default="paper", help="what machines are")
    chosen = parser.parse_args()
    projects = chosen.project or list(Settings().projects)
    settings = Settings(projects={name: FIRST_NUMBER + n for n, name in enumerate(projects)})
    over = threading.Event()
    # A mask would be inherited by everything that runs on hosts; handlers are not.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, lambda *_: over.set())
    with ExitStack() as undo:
        vms, address = _vms(undo) if chosen.vms == "bench" else (None, "127.0.0.1")
        server = CloudServer(settings, vms, address=chosen.address or address, port=chosen.port)
        cloud = undo.enter_context(server)
        print(cloud.url, flush=True)
        over.wait()
    return 0


def _vms(undo: ExitStack) -> tuple[Vms, str]:
    """Hosts of a lab, and where they reach us. Not imported by who has no use for it."""
    from tests.harness.cloud.bench_vms import BenchVms
    from tests.harness.hosts import Lab

    lab = undo.enter_context(Lab())
    return BenchVms(lab), lab.address


if __name__ == "__main__":
    raise SystemExit(main())
