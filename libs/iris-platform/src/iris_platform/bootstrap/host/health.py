"""Is the program well? Knows what to look at; not how the program was started."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from iris_platform.bootstrap.host.keeper import keeper_is_up
from iris_platform.bootstrap.host.layout import Layout, read_json
from iris_platform.bootstrap.host.outcome import REFUSED, UNHEALTHY, UNWANTED, Failure
from iris_platform.bootstrap.host.service import Service, ServiceStatus

# With nothing else to look at: it has been up for so long.
SETTLED_S = 3.0
CONNECT_S = 2.0
# Between two looks: a share of what it has taken so far, in this range.
_LOOK_S, _MOST_LOOK_S, _LOOK_SHARE = 0.05, 0.5, 8


def await_health(
    layout: Layout, service: Service, wanted: Mapping[str, Any], timeout_s: float
) -> ServiceStatus:
    """Wait until the program is well; returns what it looks like then.

    `wanted["kind"]` is `notify` (it says so itself), `keeper` (the agent's keeper
    has written who it is), `port` (something listens on `wanted["port"]` of this
    host), or `up` (it has run for a few seconds).

    Raises:
        Failure: it gave up, left, or was not well in time; with its log's tail.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    up_since: tuple[int, float] = (0, 0.0)
    while True:
        status = service.status()
        if status.pid != up_since[0]:
            up_since = (status.pid, time.monotonic())
        # Of two programs the one that we started has to be it: first up, then well.
        up_s = time.monotonic() - up_since[1] if status.pid else 0.0
        if status.phase in ("running", "ready") and _is_well(layout, status, wanted, up_s):
            return status
        if status.phase == "unwanted":
            raise Failure("health", "it was not let in: its slice is being deleted", UNWANTED)
        if not status.is_up:
            words = f"it {_WORDS.get(status.phase, status.phase)}"
            raise Failure("health", _with(words, status.detail), UNHEALTHY, service.log_tail())
        if time.monotonic() >= deadline:
            words = (
                f"it was not well within {timeout_s:g} s (it is {status.phase}; looked at: {wanted['kind']})"
            )
            raise Failure("health", _with(words, status.detail), UNHEALTHY, service.log_tail())
        # Nobody tells us: the program is not our child.
        share_s = (time.monotonic() - began) / _LOOK_SHARE
        select.select([], [], [], min(max(_LOOK_S, share_s), _MOST_LOOK_S))


_WORDS = {
    "gave_up": "crashed again and again",
    "left": "ended by itself",
    "stopped": "was stopped",
    "absent": "was never started",
}


def _with(words: str, detail: str) -> str:
    return f"{words}: {detail}" if detail else words


def _is_well(layout: Layout, status: ServiceStatus, wanted: Mapping[str, Any], up_s: float) -> bool:
    kind = wanted["kind"]
    if kind == "notify":
        return status.phase == "ready"
    if kind == "keeper":
        return keeper_is_up(layout)
    if kind == "port":
        return _listens(int(wanted["port"]))
    return up_s >= SETTLED_S


def health_port(layout: Layout) -> int:
    """The port on which what a role was last started from says that it is well; 0: on none."""
    wanted = read_json(layout.service_file).get("health", {})
    return int(wanted.get("port", 0)) if isinstance(wanted, dict) else 0


def check_port(wanted: Mapping[str, Any]) -> None:
    """Refuse a port on which somebody else would say that we are well."""
    port = int(wanted.get("port", 0))
    if port and _listens(port):
        words = f"port {port} of this host is in use: free it, or give the container another health_port"
        raise Failure("health", words, REFUSED)


def seen(layout: Layout, service: Service) -> ServiceStatus:
    """What the service says, and what its program says on its health port."""
    status, port = service.status(), health_port(layout)
    return replace(status, phase="ready") if status.phase == "running" and port and _listens(port) else status


def _listens(port: int) -> bool:
    for address in ("127.0.0.1", "::1"):
        with suppress(OSError), socket.create_connection((address, port), timeout=CONNECT_S):
            return True
    return False
