"""Runs a test cloud until it is stopped.

    python -m tests.harness.cloud [--port N] [--address A] [--project ID]...

Prints its URL as the first line. VMs are on paper: addresses with nothing behind
them.
"""

from __future__ import annotations

import argparse
import signal

from tests.harness.cloud.server import CloudServer
from tests.harness.cloud.settings import Settings

FIRST_NUMBER = 123456789012


def main() -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.cloud", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--project", action="append", help="a project that exists; may be repeated")
    chosen = parser.parse_args()
    projects = chosen.project or list(Settings().projects)
    settings = Settings(projects={name: FIRST_NUMBER + n for n, name in enumerate(projects)})
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before any thread is started, so that none of them takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with CloudServer(settings, address=chosen.address, port=chosen.port) as cloud:
        print(cloud.url, flush=True)
        signal.sigwait(ends)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
