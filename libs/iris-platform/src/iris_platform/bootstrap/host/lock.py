"""One command at a time works on what is below a host's root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from iris_platform import file_lock
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.outcome import UNREACHABLE, Failure

LOCK_S = 900.0


@contextmanager
def hold(layout: Layout, timeout_s: float = LOCK_S) -> Iterator[None]:
    """Hold everything below the root, for one command at a time."""
    try:
        with file_lock.hold(layout.root / "lock", timeout_s):
            yield
    except TimeoutError as error:
        raise Failure("lock", f"another command is at work on this host: {error}", UNREACHABLE) from error
