"""Virtual time: one heap of things to come. Knows nothing of what they are.

There are no threads and no clocks; of two things due at one moment, the one
that was asked for first comes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

Action = Callable[[], None]
Take = Callable[[bytes], None]


class Time(Protocol):
    """Whoever lets time pass: the engine itself, or a machine's idea of it."""

    @property
    def now_ms(self) -> int:
        """This moment."""

    def after(self, delay_ms: int, action: Action) -> None:
        """Has something done later."""


class Engine:
    """The heap and the time, in milliseconds since the beginning."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.handled = 0
        self._heap: list[tuple[int, int, Action]] = []
        self._count = 0

    def after(self, delay_ms: int, action: Action) -> None:
        """Has something done later; 0 comes after what is due already."""
        self._count += 1
        heapq.heappush(self._heap, (self.now_ms + max(0, delay_ms), self._count, action))

    def run(self, until_ms: int) -> None:
        """Lets time pass up to and including this moment."""
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            self.now_ms, _, action = heapq.heappop(heap)
            self.handled += 1
            action()
        self.now_ms = until_ms


class Pipe(Generic[T]):
    """One direction of a connection: in order, with a delay, until it breaks.

    What is on its way when it breaks may still arrive, up to some point.
    """

    def __init__(
        self, engine: Time, delay_ms: Callable[[], int], take: Callable[[T], None], on_end: Action
    ) -> None:
        """`take` gets each item; `on_end` is called once, unless the taker closed first."""
        self._engine = engine
        self._delay_ms = delay_ms
        self._take = take
        self._on_end = on_end
        self._last_due_ms = 0
        self._ending = False
        self._deaf = False
        self.closed = False

    def send(self, item: T) -> None:
        """Sends something; after an end it goes nowhere."""
        if not self._ending and not self.closed:
            self._engine.after(self._next_delay(), lambda: self._arrive(item))

    def delay_next(self, by_ms: int) -> None:
        """What is sent next takes at least so long, and what follows waits for it."""
        self._last_due_ms = max(self._last_due_ms, self._engine.now_ms + by_ms)

    def _next_delay(self) -> int:
        now_ms = self._engine.now_ms
        self._last_due_ms = max(self._last_due_ms, now_ms + self._delay_ms())
        return self._last_due_ms - now_ms

    def _arrive(self, item: T) -> None:
        if not self.closed and not self._deaf:
            self._take(item)

    def finish(self) -> None:
        """The sender is done: everything that was sent arrives, then the end."""
        if not self._ending and not self.closed:
            self._ending = True
            self._engine.after(self._next_delay(), self._end)

    def cut(self, arrive_ms: int, notice_ms: int) -> None:
        """The line breaks: what would arrive later than this is lost; the taker notices later still."""
        self._ending = True
        self._engine.after(arrive_ms, self._go_deaf)
        self._engine.after(arrive_ms + notice_ms, self._end)

    def _go_deaf(self) -> None:
        self._deaf = True

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self._on_end()

    def close(self) -> None:
        """The taker is gone: nothing arrives any more, not even the end."""
        self.closed = True
