"""Ctrl-C and SIGTERM end a command in order: it says what goes on, and how to come back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from iris_cli.exits import INTERRUPTED, TERMINATED

# A key that is pressed twice means it once, and a second exception would hit the
# handling of the first; whoever still presses it after this long wants out.
ONCE_S = 1.0


class Ending:
    """How a command was told to end, and its signal handler."""

    def __init__(self) -> None:
        self._terminated = False
        self._first_s: float | None = None

    def interrupt(self, number: int, frame: object) -> None:
        """Raise `KeyboardInterrupt` at the first signal; see `ONCE_S` for the others."""
        if self._first_s is None:
            self._first_s = time.monotonic()
            self._terminated = number == signal.SIGTERM
            raise KeyboardInterrupt
        if time.monotonic() - self._first_s > ONCE_S:
            os._exit(self.status(INTERRUPTED))

    def status(self, status: int) -> int:
        """The exit status, where SIGTERM has its own."""
        return TERMINATED if self._terminated and status == INTERRUPTED else status


@contextmanager
def handled() -> Iterator[Ending]:
    """While the block runs both signals raise `KeyboardInterrupt`, unless one is to be ignored."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    ours = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}
    for number in ours:
        signal.signal(number, ending.interrupt)
    try:
        yield ending
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
