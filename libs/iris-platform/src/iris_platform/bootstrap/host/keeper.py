"""What an agent's keeper wrote into its file, read from outside.

The file is described in `iris_bootstrap.keeper.journal`; only its lines about
the agent itself matter here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from iris_platform import processes
from iris_platform.bootstrap.host.layout import Layout


def last_note(layout: Layout, *kinds: str) -> Mapping[str, Any]:
    """The last line of one of the kinds; empty when there is none."""
    try:
        lines = (layout.work / processes.KEEPER_FILE).read_bytes().splitlines()
    except OSError:
        return {}
    marks = [f'"{kind}"'.encode("ascii") for kind in kinds]
    for line in reversed(lines):
        # Most lines are about tasks: not worth parsing.
        if not any(mark in line for mark in marks):
            continue
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and found.get("kind") in kinds:
                return found
    return {}


def keeper_is_up(layout: Layout) -> bool:
    """Whether the host's keeper has begun in this boot, and lives."""
    note = last_note(layout, "boot", "left")
    pid, started = note.get("pid"), note.get("start_time")
    if note.get("kind") != "boot" or note.get("boot_id") != processes.boot_id():
        return False
    return isinstance(pid, int) and isinstance(started, int) and processes.is_alive(pid, started)


def is_orphan(layout: Layout) -> bool:
    """Whether the agent took itself away because no controller answered for too long.

    Its exit status does not tell: that is 0 whenever an agent leaves in order.
    """
    note = last_note(layout, "boot", "left")
    return note.get("kind") == "left" and note.get("reason") == "orphan_timeout"
