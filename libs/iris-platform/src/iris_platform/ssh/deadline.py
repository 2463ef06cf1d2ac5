"""One budget of time for something that takes several steps."""

from __future__ import annotations

import time


class Deadline:
    """`timeout_s` seconds from now."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    def left(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._end
