"""Where `iris cluster tunnel` listens, for other commands; of no use when that process is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from iris_platform.files import write_atomic
from iris_platform.paths import ClusterPaths
from iris_platform.processes import is_alive, start_time

TUNNEL_FILE = "tunnel.json"


def read_tunnel(paths: ClusterPaths) -> str | None:
    """The address of a tunnel that is held open; None where there is none."""
    try:
        found = json.loads((paths.state_dir / TUNNEL_FILE).read_bytes())
        address, pid, started = found["address"], found["pid"], found["start_time"]
        return str(address) if is_alive(int(pid), int(started)) else None
    except (OSError, ValueError, TypeError, KeyError):
        # No promise: a command then makes a tunnel of its own.
        return None


@contextmanager
def published(paths: ClusterPaths, address: str) -> Iterator[None]:
    """Others find the tunnel of this process while this is held.

    Raises:
        OSError: the file cannot be written.
    """
    path = paths.state_dir / TUNNEL_FILE
    value = {"address": address, "pid": os.getpid(), "start_time": start_time(os.getpid())}
    write_atomic(path, json.dumps(value).encode("utf-8") + b"\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
