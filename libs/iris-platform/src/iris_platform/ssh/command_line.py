"""Words for the shell at the other end: the one place where they are quoted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

# The server hands the command line to the user's shell as one argument, which
# Linux limits to 128 KiB (MAX_ARG_STRLEN).
MAX_COMMAND_BYTES = 100_000


def command_line(argv: Sequence[str]) -> bytes:
    """`argv` as text that a POSIX shell splits into the same words.

    Raises:
        ValueError: it is empty, has a NUL, or is too long.
    """
    if isinstance(argv, str) or not argv:
        raise ValueError("argv: expected a sequence of at least one word")
    # As os.fsencode: names of files that are no UTF-8 pass unchanged.
    line = shlex.join(argv).encode("utf-8", "surrogateescape")
    if b"\0" in line:
        raise ValueError("argv: a NUL character cannot be passed to a command")
    if len(line) > MAX_COMMAND_BYTES:
        raise ValueError(f"argv: {len(line)} bytes, at most {MAX_COMMAND_BYTES}; hand data over as input")
    return line
