"""The only place where the controller reads a clock."""

from __future__ import annotations

import time

from iris_controller.core.values import Now


def now() -> Now:
    """This moment on the boot clock, which suspends count in, and on the wall clock."""
    return Now(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000, time.time_ns() // 1_000_000)
