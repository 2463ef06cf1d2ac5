"""What a host says of itself: its Python, its room, and what of Iris is there."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from iris_platform import processes
from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host.layout import Layout, read_json


def host_facts(layout: Layout) -> dict[str, object]:
    """What a caller wants to know before it sends anything; changes nothing on the host."""
    there = layout.root
    while not there.exists():
        there = there.parent
    disk = os.statvfs(there)
    return {
        "status": "found",
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": platform.machine(),
        "root": str(layout.root),
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "user": os.geteuid(),
        "wall_ms": time.time_ns() // 1_000_000,
        "boot_id": processes.boot_id(),
        # Those that need not be sent: what was broken off, or is of an older Python, is installed again.
        "bundles": sorted(path.name for path in layout.bundles.glob("?" * 64) if installed_programs(path)),
        "labels": {role: places.role_labels(Layout(layout.root, role)) for role in places.ROLES},
    }


def what_runs(layout: Layout) -> dict[str, object]:
    """The bundle or the image of a role's program; both empty where there is none."""
    service = read_json(layout.service_file)
    return {"bundle": service.get("bundle", ""), "image": service.get("image", "")}


def installed_programs(there: Path) -> Sequence[str]:
    """What an installed bundle has for this very interpreter; as `installer.is_finished` has it."""
    found = read_json(there / "installed.json")
    base = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    here = found.get("python") == f"{base} {platform.python_version()}"
    return list(found.get("programs", ())) if here else []
