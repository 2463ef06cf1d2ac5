"""Wakes whoever waits for news of a topic; carries no news itself.

Topics are job ids, and EVENTS for everything that is recorded. Belongs to the
event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EVENTS = "events"


class Hub:
    """Subscriptions by topic."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Event, None]] = {}

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set at every news of the topic; clear it before looking."""
        event = asyncio.Event()
        self._waiting.setdefault(topic, {})[event] = None
        try:
            yield event
        finally:
            del self._waiting[topic][event]
            if not self._waiting[topic]:
                del self._waiting[topic]

    def notify(self, topics: Iterable[str]) -> None:
        """There is news of these topics."""
        for topic in topics:
            for event in self._waiting.get(topic, ()):
                event.set()

    def notify_all(self) -> None:
        """There may be news of anything."""
        self.notify(list(self._waiting))
