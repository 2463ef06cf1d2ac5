"""What the script answers: one JSON object on standard output, and an exit status.

Knows nothing of how anything is done.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

# Exit statuses, by whose move it is.
DONE = 0
UNHEALTHY = 1  # it was started and is not well: the tail of its log says why
REFUSED = 2  # the host or the document has to change first
HOST_TROUBLE = 3  # mend the host (disk, permissions), then the same again
UNREACHABLE = 4  # the same again later: something did not answer
UNWANTED = 5  # its slice is being deleted: nothing is wrong, and nothing is to be done

TAIL_BYTES = 8192


class Failure(Exception):
    """A step that did not succeed. `status` is one of the exit statuses above."""

    def __init__(self, step: str, reason: str, status: int, log_tail: str = "") -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason
        self.status = status
        self.log_tail = log_tail


def write_outcome(facts: Mapping[str, object]) -> None:
    """Print the one document. Whoever started us may be gone: that ends nothing."""
    try:
        sys.stdout.write(json.dumps(facts, ensure_ascii=True) + "\n")
        sys.stdout.flush()
    except OSError:
        # Else the interpreter tries once more when it ends, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def failed(failure: Failure) -> dict[str, object]:
    """The document of a failure."""
    return {
        "status": "failed",
        "step": failure.step,
        "reason": failure.reason,
        "log_tail": failure.log_tail[-TAIL_BYTES:],
    }
