"""What is to happen later, in order; and things that remember what they were."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
# How far back lists can lag.
REMEMBERS_MS = 24 * 3600 * 1000


class Timeline:
    """A clock that others wind, and what it sets off. Milliseconds since 1970."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Does it so much later; of two at one moment, the first that was asked for."""
        self._count += 1
        heapq.heappush(self._due, (self.now_ms + max(0, delay_ms), self._count, act))

    def advance(self, now_ms: int) -> None:
        """Does everything that is due until then, each at its own time; never goes back."""
        while self._due and self._due[0][0] <= now_ms:
            at_ms, _, act = heapq.heappop(self._due)
            self.now_ms = max(self.now_ms, at_ms)
            act()
        self.now_ms = max(self.now_ms, now_ms)

    @property
    def next_ms(self) -> int | None:
        """When something is due."""
        return self._due[0][0] if self._due else None


class Shelf(Generic[T]):
    """Resources by name, with what they were before, for lists that lag.

    They are remembered for a day.

    `put` takes the resource as it is from now on, and must not be told later that
    it was another all the time: callers put copies.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._now: dict[str, T] = {}
        self._history: dict[str, list[tuple[int, T | None]]] = {}
        self._forgot_ms = timeline.now_ms

    def put(self, name: str, value: T) -> None:
        self._now[name] = value
        self._history.setdefault(name, []).append((self._timeline.now_ms, value))
        self._forget_old()

    def remove(self, name: str) -> None:
        if self._now.pop(name, None) is not None:
            self._history[name].append((self._timeline.now_ms, None))

    def _forget_old(self) -> None:
        """From time to time: what was no longer true that long ago."""
        before = self._timeline.now_ms - REMEMBERS_MS
        if self._forgot_ms > before:
            return
        self._forgot_ms = self._timeline.now_ms
        for name, history in list(self._history.items()):
            while len(history) > 1 and history[1][0] <= before:
                history.pop(0)
            if history[0][1] is None and history[0][0] <= before:
                del self._history[name]

    def get(self, name: str) -> T | None:
        return self._now.get(name)

    def all(self) -> Iterator[tuple[str, T]]:
        """As it is, by name."""
        yield from sorted(self._now.items())

    def as_it_was(self, at_ms: int) -> Iterator[tuple[str, T]]:
        """As it was at a moment, by name."""
        for name, history in sorted(self._history.items()):
            before = [value for then, value in history if then <= at_ms]
            if before and before[-1] is not None:
                yield name, before[-1]
