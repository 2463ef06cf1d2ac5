"""The process that an orphan's keeper starts on a machine of a TPU slice: it has the slice deleted.

As a rule it does not end; the machine does.
"""

from __future__ import annotations

import json
import select
from pathlib import Path

from iris_bootstrap.log import logger
from iris_platform.self_deletion import FACTS_FILE, delete_own_slice, own_slice


def delete_slice(host_dir: Path) -> int:
    """Have this machine's slice deleted; returns the exit status, 0 once there is none."""
    log = logger("dead_man")
    try:
        facts = json.loads((host_dir / FACTS_FILE).read_bytes())
        slice_ = own_slice(facts)
    except (OSError, ValueError, AttributeError) as error:
        log("failed", error=str(error))
        return 1
    delete_own_slice(slice_, lambda words: log("slice", what=words), _pause)
    return 0


def _pause(seconds: float) -> None:
    # Killed, where a controller is there again.
    select.select([], [], [], seconds)
