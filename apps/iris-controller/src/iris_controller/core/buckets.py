"""Token buckets: how fast calls that change something may follow each other.

A provider counts calls in windows that we do not see, so a bucket that must not
be exceeded gives no more in *any* minute than it may. What finds no token waits
for the next; nothing is dropped. Times in milliseconds on the boot clock.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_MS = 60_000


@dataclass(slots=True)
class Bucket:
    """So many tokens at most, and how fast new ones come. Counted in parts, so that nothing is rounded away."""

    burst: int
    per_minute: int
    parts: int
    since_ms: int

    def tokens(self, now_ms: int) -> int:
        """How many may be taken now."""
        self._fill(now_ms)
        return self.parts // MINUTE_MS

    def take(self, now_ms: int) -> bool:
        """Takes one if there is one."""
        if not self.tokens(now_ms):
            return False
        self.parts -= MINUTE_MS
        return True

    def pause(self, now_ms: int, for_ms: int) -> None:
        """The provider says that this is too fast: nothing for so long, and then from nothing."""
        self._fill(now_ms)
        self.parts = 0
        self.since_ms = max(self.since_ms, now_ms + for_ms)

    def _fill(self, now_ms: int) -> None:
        if now_ms > self.since_ms:
            self.parts = min(self.burst * MINUTE_MS, self.parts + (now_ms - self.since_ms) * self.per_minute)
            self.since_ms = now_ms


def strict(most: int, now_ms: int) -> Bucket:
    """Gives `most` in any minute and no more; begins empty, since what came before is not known."""
    burst = max(1, most // 4)
    return Bucket(burst, most - burst + 1, 0, now_ms)


def loose(most: int, now_ms: int) -> Bucket:
    """Gives `most` at once, and as many in a minute from then on; begins full."""
    return Bucket(most, most, most * MINUTE_MS, now_ms)
