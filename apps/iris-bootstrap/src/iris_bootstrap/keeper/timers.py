"""What is to be done when, in the order of time. Knows no clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]

_FEW = 64


class Timers:
    """Actions by name: setting a name again moves it, and there is one action for each."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, object]] = []
        self._actions: dict[object, tuple[int, Action]] = {}
        self._numbers = count()

    def set(self, name: object, when_s: float, action: Action) -> None:
        """Have `action` done at `when_s`."""
        number = next(self._numbers)
        self._actions[name] = (number, action)
        heapq.heappush(self._heap, (when_s, number, name))

    def cancel(self, name: object) -> None:
        """Have nothing done under this name."""
        if self._actions.pop(name, None) is not None:
            self._drop_stale_when_many()

    def next_s(self) -> float | None:
        """When the next action is due."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_s: float) -> list[Action]:
        """The actions that are due, each for its caller to do once."""
        due = []
        while (when_s := self.next_s()) is not None and when_s <= now_s:
            name = heapq.heappop(self._heap)[2]
            due.append(self._actions.pop(name)[1])
        return due

    def _drop_stale_when_many(self) -> None:
        # A flood of short tasks with a long timeout must not stay here until that is over.
        if len(self._heap) > 2 * len(self._actions) + _FEW:
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    def _is_current(self, entry: tuple[float, int, object]) -> bool:
        _, number, name = entry
        return name in self._actions and self._actions[name][0] == number

    def _drop_stale(self) -> None:
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
