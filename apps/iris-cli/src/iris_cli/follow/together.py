"""Reads several streams at once, each on a thread, and hands them on as one.

The queue between is bounded: a job that floods its log waits for the terminal.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from iris_cli.client import Controller
from iris_cli.follow.retry import Stopped

# Log messages hold up to 64 KiB or so each.
QUEUED_MESSAGES = 64
JOIN_TIMEOUT_S = 2.0


class Item(NamedTuple):
    """Something that a stream brought; `error` ends it, and so does `over`."""

    source: str
    value: object = None
    error: BaseException | None = None
    over: bool = False


class Together:
    """Streams that are read at once; use as a context."""

    def __init__(
        self,
        controller: Controller,
        streams: Mapping[str, Iterator[object]],
        stopped: threading.Event,
    ) -> None:
        self._controller = controller
        self._stopped = stopped
        self._queue: queue.Queue[Item] = queue.Queue(QUEUED_MESSAGES)
        self._threads = [
            threading.Thread(target=self._pump, args=(name, stream), name=name, daemon=True)
            for name, stream in streams.items()
        ]

    def __enter__(self) -> Together:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._controller.close()
        for thread in self._threads:
            # A thread that has a message to hand on finds the queue full.
            while thread.is_alive() and self._drain():
                thread.join(0.01)
            thread.join(JOIN_TIMEOUT_S)

    def items(self, timeout_s: float | None = None) -> Iterator[Item]:
        """What the streams bring, until each is over.

        Raises:
            CliError: a stream broke for good.
            TimeoutError: `timeout_s` have passed since the first was asked for.
        """
        left = len(self._threads)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while left:
            item = self._next(deadline)
            if item.error is not None:
                raise item.error
            if item.over:
                left -= 1
            yield item

    def _next(self, deadline: float | None) -> Item:
        if deadline is None:
            return self._queue.get()
        try:
            return self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as error:
            raise TimeoutError from error

    def _drain(self) -> bool:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return False
        return True

    def _pump(self, name: str, stream: Iterator[object]) -> None:
        try:
            for value in stream:
                self._queue.put(Item(name, value))
                if self._stopped.is_set():
                    return
        except Stopped:
            return
        except BaseException as error:
            # Not swallowed: `items` raises it in the thread that can report it.
            self._queue.put(Item(name, error=error))
        else:
            self._queue.put(Item(name, over=True))
