"""Leaves word of what went wrong where the operator can read it: the machine's guest attributes.

Nobody waits for the answer of a startup script on a cloud's machine; it goes to the
serial console alone. A platform reads these through its own API, while the machine
lives, as `host_log`.
"""

from __future__ import annotations

from contextlib import suppress

from iris_platform.bootstrap.host.outcome import Failure
from iris_platform.metadata import MetadataError, MetadataServer

NAMESPACE = "iris"
LOG_KEY = "bootstrap-log"
DEAD_MAN_KEY = "dead-man"
# What people are shown of a host's log (`base.HOST_LOG_BYTES`), and a line before it.
MOST_BYTES = 4096
_REASON_BYTES = 1000


def report_failure(failure: Failure) -> None:
    """Leave the step, the reason and the end of the log."""
    reason = " ".join(str(failure).split())[:_REASON_BYTES]
    tail = failure.log_tail.encode("utf-8", "replace")[-(MOST_BYTES - len(reason.encode()) - 1) :]
    _put(LOG_KEY, f"{reason}\n{tail.decode('utf-8', 'ignore')}")


def report_deletion(words: str) -> None:
    """Leave what became of the machine's own deletion."""
    _put(DEAD_MAN_KEY, words[:MOST_BYTES])


def _put(key: str, text: str) -> None:
    # Where they are not enabled, or the server is not there, it is on the console alone.
    with suppress(MetadataError):
        MetadataServer().put(f"instance/guest-attributes/{NAMESPACE}/{key}", text)
