"""The command that says how a role is."""

from __future__ import annotations

import os

from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host.facts import what_runs
from iris_platform.bootstrap.host.health import seen
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.service import service_of


def status_of(layout: Layout) -> dict[str, object]:
    """Whether its program runs, what it is, and the end of its log; changes nothing."""
    service = service_of(layout, os.environ)
    status = seen(layout, service)
    return {
        "status": "running" if status.is_up else "stopped" if layout.home.exists() else "absent",
        "phase": status.phase,
        "pid": status.pid,
        "detail": status.detail,
        "labels": places.role_labels(layout),
        "manager": service.name,
        **what_runs(layout),
        "log_tail": service.log_tail() if layout.home.exists() else "",
    }
