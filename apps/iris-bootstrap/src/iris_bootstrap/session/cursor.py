"""How far an attempt's log has been shipped. Pure: knows no files, no streams and no clock."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from iris_bootstrap.attempt import AttemptKey
from iris_platform.holes import ALIGN_BYTES

CHUNK_BYTES = 256 * 1024
# Chunks of one log that were sent and not answered.
_WINDOW = 4
# Of what the controller has, so much stays here.
_KEEP_SHIPPED_BYTES = 64 * 1024 * 1024
# What is dropped goes in steps of so much, or an eighth of what is kept.
_DROP_STEP_BYTES = 8 * 1024 * 1024
# Where the controller takes nothing (its disk is full), how long to wait before it is asked again.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class Chunk(NamedTuple):
    """Bytes to send. What is below `dropped_before` is gone from this host and cannot be had."""

    offset: int
    length: int
    last: bool
    dropped_before: int = 0


class Cursor:
    """One log on its way.

    Until the controller has answered on a stream it is not known where it is,
    so one chunk goes out at a time; then several do.
    """

    def __init__(self, key: AttemptKey) -> None:
        self.key = key
        self.size = 0
        self.stored = 0
        # What is below is gone from this host.
        self.begin = 0
        # Nothing of it can be dropped here.
        self.keeps_all = False
        # The final length, once the attempt has ended.
        self._final: int | None = None
        self._sent = 0
        self._last_sent = False
        self._lost = False
        self._agreed = False
        self._in_flight: deque[tuple[int, int]] = deque()
        self._wait_until_s = 0.0
        self._pause_s = _FIRST_PAUSE_S

    @property
    def running(self) -> bool:
        """Whether the log may still grow."""
        return self._final is None

    @property
    def done(self) -> bool:
        """Whether the controller has all of it and knows that it is all."""
        return (
            self._last_sent and not self._in_flight and self._final is not None and self.stored >= self._final
        )

    @property
    def waiting(self) -> bool:
        """Whether something was sent and not answered."""
        return bool(self._in_flight)

    def on_end(self, log_bytes: int) -> None:
        """The attempt has ended with a log of this length."""
        self._final = self.size = log_bytes

    def on_lost(self) -> None:
        """The log has vanished from this host, or is shorter than it was a moment ago.

        Its task may have cut it short, and goes on: what comes after is still worth sending.
        """
        if self._final is None:
            self.size = self._sent
        else:
            self._lost = True

    def on_stream(self) -> None:
        """A new stream: where its controller is has to be found out."""
        self._sent = self.stored
        self._last_sent = False
        self._agreed = False
        self._in_flight.clear()
        self._wait_until_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long to hold back, because the controller would not take what it was sent."""
        return max(self._wait_until_s - now_s, 0.0)

    def droppable(self, most: int) -> int:
        """Up to where the log is to go from this host, of which at most `most` bytes are kept.

        That is what the controller has, but for the last of it: a controller
        that lost its store asks again. And it is the oldest there is when all
        is too much. `begin` where it is not worth the trouble yet.
        """
        if self.keeps_all:
            return self.begin
        shipped = min(self.stored, self.size - min(most, _KEEP_SHIPPED_BYTES))
        end = max(shipped, self.size - most) // ALIGN_BYTES * ALIGN_BYTES
        step = max(min(most // 8, _DROP_STEP_BYTES), ALIGN_BYTES)
        return end if end - self.begin >= step else self.begin

    def next_chunk(self) -> Chunk | None:
        """What to send next; `on_sent` follows. None while there is nothing to send."""
        if len(self._in_flight) >= (_WINDOW if self._agreed else 1):
            return None
        final = self._final
        if self._lost and final is not None:
            return None if self._last_sent else Chunk(final, 0, True, dropped_before=final)
        offset = max(self._sent, self.begin)
        if offset < self.size:
            length = min(CHUNK_BYTES, self.size - offset)
            dropped_before = offset if offset == self.begin else 0
            return Chunk(offset, length, offset + length == final, dropped_before)
        # By itself, so that its answer cannot be taken for another's.
        if final is not None and not self._last_sent and not self._in_flight:
            return Chunk(final, 0, last=True)
        return None

    def on_sent(self, chunk: Chunk) -> None:
        """A chunk is on its way."""
        self._sent = max(self._sent, chunk.offset + chunk.length)
        self._last_sent = chunk.last
        self._in_flight.append((chunk.offset, chunk.offset + chunk.length))

    def on_stored(self, stored: int, now_s: float) -> None:
        """The controller says how much it has."""
        expected = [end for _, end in self._in_flight]
        self.stored = stored
        if self._in_flight and (stored in expected or self._is_last_answered(stored)):
            self._agreed = True
            self._pause_s = _FIRST_PAUSE_S
            while self._in_flight and self._in_flight[0][1] <= stored:
                self._in_flight.popleft()
            return
        # Elsewhere than we thought: forward, back, or it took nothing.
        if self._in_flight and stored <= self._in_flight[0][0]:
            self._wait_until_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._sent = stored
        self._last_sent = False
        self._agreed = False
        self._in_flight.clear()

    def _is_last_answered(self, stored: int) -> bool:
        """Whether this answers the end mark of a log of which the controller has more than we do."""
        return self._last_sent and self._final is not None and stored > self._final
