"""Ctrl-C and SIGTERM while a command runs."""

from __future__ import annotations

import os
import signal

import pytest

from iris_cli import signals
from iris_cli.exits import INTERRUPTED, TERMINATED


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_the_first_interrupts_and_one_much_later_ends_it(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int
) -> None:
    now_s = [0.0]
    left: list[int] = []
    monkeypatch.setattr("iris_cli.signals.time.monotonic", lambda: now_s[0])
    monkeypatch.setattr(os, "_exit", left.append)
    with signals.handled() as ending:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        # The same key once more, or the other signal, hits nothing half handled.
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert left == []
        now_s[0] = signals.ONCE_S + 0.1
        signal.raise_signal(signal.SIGINT)
    assert left == [status] and ending.status(INTERRUPTED) == status
    assert ending.status(7) == 7
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_to_be_ignored_stays_ignored() -> None:
    """As in a shell's background jobs."""
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.handled():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, earlier)
