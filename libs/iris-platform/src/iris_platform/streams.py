"""Standard streams that somebody closed before he started us."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> None:
    """Let numbers 0, 1 and 2 be taken, by the null device where they are free.

    Else the next file that is opened gets one of them: a lock, a journal, a
    database, and whatever writes to standard error writes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, since those below are taken by now.
            os.open(os.devnull, os.O_RDWR)
            # Programs that take our place find them there too.
            os.set_inheritable(number, True)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
