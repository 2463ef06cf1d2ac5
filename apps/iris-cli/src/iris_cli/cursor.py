"""Whether the terminal's cursor stands behind a line that a task left unfinished.

A line of ours begins on a new one then. Imports little: every error passes here.
"""

import os
import sys

# The descriptor that the unfinished line was written to; None where there is none.
_unfinished: int | None = None


def wrote(data: bytes, descriptor: int) -> None:
    """A task's output was printed."""
    global _unfinished
    if data:
        _unfinished = None if data.endswith(b"\n") else descriptor


def fresh_line() -> str:
    """What has to be written to stderr before a line of ours: nothing, or a newline."""
    global _unfinished
    descriptor, _unfinished = _unfinished, None
    return "\n" if descriptor is not None and _same_terminal(descriptor) else ""


def _same_terminal(descriptor: int) -> bool:
    try:
        own = sys.stderr.fileno()
        return os.isatty(own) and os.path.sameopenfile(own, descriptor)
    except (OSError, ValueError, AttributeError):
        return False
