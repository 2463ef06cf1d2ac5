"""What is done when."""

from __future__ import annotations

from functools import partial

from iris_bootstrap.keeper.timers import Timers


def test_actions_are_due_in_order_and_once() -> None:
    timers = Timers()
    done: list[str] = []
    for name, when_s in (("late", 3.0), ("first", 1.0), ("second", 2.0)):
        timers.set(name, when_s, partial(done.append, name))
    assert timers.next_s() == 1.0
    for action in timers.take_due(2.0):
        action()
    assert done == ["first", "second"]
    assert timers.take_due(2.5) == []
    assert timers.next_s() == 3.0


def test_name_is_moved_and_cancelled() -> None:
    timers = Timers()
    timers.set("a", 1.0, lambda: None)
    timers.set("a", 5.0, lambda: None)
    assert timers.take_due(4.0) == []
    assert timers.next_s() == 5.0
    timers.cancel("a")
    timers.cancel("never set")
    assert timers.next_s() is None


def test_what_was_cancelled_does_not_stay() -> None:
    """A flood of short tasks with a timeout of hours."""
    timers = Timers()
    for number in range(10_000):
        timers.set(number, 3600.0 + number, lambda: None)
        timers.cancel(number)
    timers.set("last", 1.0, lambda: None)
    assert len(timers._heap) < 200
    assert timers.next_s() == 1.0
    assert len(timers.take_due(1e9)) == 1
