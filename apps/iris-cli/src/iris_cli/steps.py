"""The steps of something that takes a while, shown as they go: a line for each, with how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from iris_cli.output import Output, is_terminal
from iris_cli.text import duration

# A step that took less says nothing of it.
WORTH_TELLING_S = 0.1


class Steps:
    """On a terminal a step's line is there while it goes on; elsewhere it comes when it is done."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._live = is_terminal(sys.stderr)

    @contextmanager
    def step(self, words: str) -> Iterator[None]:
        """One step; a step inside another one has a line of its own."""
        if self._live:
            sys.stderr.write(f"  {words} ...\r")
            sys.stderr.flush()
        began = time.monotonic()
        try:
            yield
        except KeyboardInterrupt:
            self._end(words, "interrupted", began)
            raise
        except BaseException:
            self._end(words, "failed", began)
            raise
        self._end(words, "done", began)

    def _end(self, words: str, how: str, began: float) -> None:
        took_s = time.monotonic() - began
        after = f" after {duration(took_s)}" if took_s >= WORTH_TELLING_S else ""
        self._output.note(f"  {words}: {how}{after}")
