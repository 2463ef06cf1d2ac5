"""The clock of the model, and things that remember what they were."""

from __future__ import annotations

from tests.harness.cloud.timeline import REMEMBERS_MS, Shelf, Timeline


def test_what_is_due_happens_in_order_and_at_its_own_time() -> None:
    timeline, seen = Timeline(0), []

    def note(word: str) -> None:
        seen.append((timeline.now_ms, word))

    def again() -> None:
        note("b")
        timeline.after(5, lambda: note("c"))

    timeline.after(10, again)
    timeline.after(3, lambda: note("a"))
    timeline.after(10, lambda: note("second"))
    timeline.advance(14)
    assert seen == [(3, "a"), (10, "b"), (10, "second")] and timeline.now_ms == 14
    assert timeline.next_ms == 15
    timeline.advance(100)
    assert seen[-1] == (15, "c") and timeline.next_ms is None
    timeline.advance(50)
    assert timeline.now_ms == 100


def test_things_remember_what_they_were_for_a_day() -> None:
    timeline = Timeline(0)
    shelf: Shelf[str] = Shelf(timeline)
    shelf.put("a", "first")
    timeline.advance(10)
    shelf.put("a", "second")
    shelf.put("b", "other")
    timeline.advance(20)
    shelf.remove("a")
    moments = {at: dict(shelf.as_it_was(at)) for at in (-1, 0, 10, 19, 20)}
    both = {"a": "second", "b": "other"}
    assert moments == {-1: {}, 0: {"a": "first"}, 10: both, 19: both, 20: {"b": "other"}}
    timeline.advance(REMEMBERS_MS + 100)
    shelf.put("c", "new")
    # What still is, is known from when on; what was, no more.
    assert dict(shelf.as_it_was(15)) == {"b": "other"}
