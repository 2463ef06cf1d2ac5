"""The two clocks of the keeper, in one place so that tests can give others."""

from __future__ import annotations

import time


def boot_s() -> float:
    """Seconds since boot, time spent suspended included: what leases are counted in."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
