"""Short pieces of work that Ctrl-C and SIGTERM must not cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the block has ended; then they are delivered.

    For what is short and has a deadline of its own. Programs that are started
    meanwhile get the default handlers. Signals whose default or disregard is
    wanted keep it; in any thread but the main one nothing can come in between
    that way, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in earlier.items() if callable(handler)]
    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, earlier[number])
        for which in dict.fromkeys(came):
            signal.raise_signal(which)
