"""One line on stderr for each thing an operator may want to know (`agent.log`).

Knows no levels to switch on and no files: what is not worth a line is not
logged. Never give it a token or a task's environment.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress

Log = Callable[..., None]


def logger(component: str) -> Log:
    """A function `log(event, **facts)` that writes a line for this component."""

    def log(event: str, **facts: object) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        # JSON keeps a value with blanks or line ends in one word and on one line.
        words = (f"{name}={json.dumps(value, default=str)}" for name, value in facts.items())
        line = " ".join([f"{stamp}.{int(now * 1000) % 1000:03d}Z {component}[{os.getpid()}] {event}", *words])
        # One write, so that the lines of both processes do not mix. A full disk
        # must not end the agent for want of a log line.
        with suppress(OSError):
            os.write(2, line.encode("utf-8", "replace") + b"\n")

    return log
