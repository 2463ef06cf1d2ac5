"""Many at once: a bound, an answer for each, an end."""

from __future__ import annotations

import threading
import time

import pytest

from iris_platform import processes
from iris_platform.base import Refused, Unreachable
from iris_platform.ssh import for_each


def test_every_item_has_an_answer_in_order() -> None:
    def work(item: int) -> int | None:
        if item == 3:
            raise Refused("three is not welcome")
        return None if item == 4 else item * 10

    answers = for_each([5, 3, 4, 1, 5], work, 2, 30)
    assert list(answers) == [5, 3, 4, 1]
    assert (answers[5], answers[4], answers[1]) == (50, None, 10)
    assert isinstance(answers[3], Refused)
    assert for_each([], work, 2, 30) == {}


def test_never_more_at_once_than_asked_and_as_many_as_can() -> None:
    lock, now, most = threading.Lock(), 0, 0
    together = threading.Barrier(4)

    def work(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(30)  # passes only if four are here at once
        with lock:
            now -= 1

    assert set(for_each(range(12), work, 4, 60).values()) == {None}
    assert most == 4


def test_one_that_hangs_holds_up_nobody() -> None:
    release = threading.Event()
    late: list[str] = []

    def work(item: str) -> str:
        if item.startswith("hangs"):
            release.wait(60)
        return item

    began = time.monotonic()
    answers = for_each(["hangs1", "a", "hangs2", "b"], work, 2, 0.5, late.append)
    assert time.monotonic() - began < 10
    assert answers["a"] == "a"
    assert isinstance(answers["hangs1"], Unreachable) and isinstance(answers["hangs2"], Unreachable)
    assert str(answers["hangs1"]) == "hangs1: no answer within 0.5 s; it is not known what happened there"
    assert str(answers["b"]) == "b: not tried: the 0.5 s were over before its turn"
    release.set()
    assert processes.wait_until(lambda: sorted(late) == ["hangs1", "hangs2"], 20)


def test_a_mistake_in_the_program_is_raised_when_the_others_are_done() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 0:
            raise KeyError("a mistake")
        done.append(item)

    with pytest.raises(KeyError, match="a mistake"):
        for_each(range(5), work, 2, 30)
    assert sorted(done) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="max_parallel"):
        for_each([1], work, 0, 30)
