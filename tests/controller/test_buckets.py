"""Token buckets: never more than may be, in any minute, and nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from iris_controller.core.buckets import MINUTE_MS, loose, strict
from tests.controller.drawn import quick

STEPS = st.lists(st.integers(0, 30_000), min_size=1, max_size=200)


@quick
@given(st.integers(1, 100), STEPS)
def test_no_minute_ever_has_more_than_may_be(most: int, steps: list[int]) -> None:
    now_ms, bucket, taken = 1_000, strict(most, 1_000), []
    for step in steps:
        now_ms += step
        while bucket.take(now_ms):
            taken.append(now_ms)
    for at_ms in taken:
        assert sum(1 for other in taken if at_ms <= other < at_ms + MINUTE_MS) <= most


def test_what_came_before_is_not_known_so_it_begins_empty() -> None:
    bucket = strict(60, 5_000)
    assert (bucket.tokens(5_000), bucket.tokens(6_305)) == (0, 1)


def test_asked_for_steadily_it_gives_three_in_four_of_the_limit() -> None:
    bucket = strict(60, 0)
    assert sum(bucket.take(ms) for ms in range(0, 10 * MINUTE_MS, 100)) == 10 * 46 - 1


def test_time_is_not_lost_to_rounding() -> None:
    seldom, often = strict(7, 0), strict(7, 0)
    for ms in range(0, 17_000, 7):
        often.tokens(ms)
    assert often.tokens(17_000) == seldom.tokens(17_000)


def test_a_pause_takes_what_was_left() -> None:
    bucket = loose(6, 0)
    bucket.pause(0, 15_000)
    bucket.pause(1_000, 1_000)
    assert [bucket.tokens(ms) for ms in (15_000, 24_999, 25_000)] == [0, 0, 1]
