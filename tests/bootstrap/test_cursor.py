"""How a log gets across, whatever the controller has of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.cursor import CHUNK_BYTES, Chunk, Cursor

KEY = AttemptKey("j", 0, 1, 1)
KIB = 1024


class Controller:
    """Keeps what follows on what it has, and says how much that is."""

    def __init__(self, stored: int = 0) -> None:
        self.stored = stored
        self.finished = False

    def take(self, chunk: Chunk) -> int:
        end = chunk.offset + chunk.length
        if chunk.lost:
            self.stored = max(self.stored, end)
        if chunk.offset <= self.stored < end:
            self.stored = end
        self.finished |= chunk.last and self.stored >= end
        return self.stored


def open_cursor(size: int, ended: bool = True) -> Cursor:
    cursor = Cursor(KEY)
    cursor.size = size
    if ended:
        cursor.on_end(size)
    cursor.on_stream()
    return cursor


def send_all(cursor: Cursor) -> list[Chunk]:
    sent = []
    while (chunk := cursor.next_chunk()) is not None:
        cursor.on_sent(chunk)
        sent.append(chunk)
    return sent


def converse(cursor: Cursor, controller: Controller, now: Callable[[], float] = lambda: 0.0) -> list[Chunk]:
    """Send and answer until there is nothing left to send."""
    sent: list[Chunk] = []
    for _ in range(1000):
        batch = send_all(cursor)
        if not batch:
            return sent
        sent += batch
        for chunk in batch:
            cursor.on_stored(controller.take(chunk), now())
    raise AssertionError(f"never at rest: {sent[-5:]}")


def test_short_log_is_one_chunk() -> None:
    cursor = open_cursor(100)
    assert converse(cursor, Controller()) == [Chunk(0, 100, last=True)]
    assert cursor.done


def test_first_chunk_goes_alone_then_several() -> None:
    cursor = open_cursor(9 * CHUNK_BYTES)
    assert len(send_all(cursor)) == 1
    cursor.on_stored(CHUNK_BYTES, 0.0)
    assert len(send_all(cursor)) == 4
    cursor.on_stored(2 * CHUNK_BYTES, 0.0)
    assert len(send_all(cursor)) == 1


def test_growing_log_is_followed_and_then_ended_by_itself() -> None:
    cursor = open_cursor(10, ended=False)
    controller = Controller()
    assert converse(cursor, controller) == [Chunk(0, 10, last=False)]
    cursor.size = 30
    assert converse(cursor, controller) == [Chunk(10, 20, last=False)]
    assert not cursor.done
    cursor.on_end(30)
    assert converse(cursor, controller) == [Chunk(30, 0, last=True)]
    assert cursor.done


def test_end_mark_waits_for_answers_so_that_its_own_is_known() -> None:
    cursor = open_cursor(10, ended=False)
    send_all(cursor)
    cursor.on_end(10)
    assert send_all(cursor) == []
    cursor.on_stored(10, 0.0)
    assert not cursor.done
    assert send_all(cursor) == [Chunk(10, 0, last=True)]
    cursor.on_stored(10, 0.0)
    assert cursor.done


@pytest.mark.parametrize("has", [0, 50 * KIB, 256 * KIB, 700 * KIB, 1000 * KIB])
def test_new_session_goes_on_from_where_the_controller_is(has: int) -> None:
    controller = Controller(has)
    cursor = open_cursor(1000 * KIB)
    sent = converse(cursor, controller)
    assert cursor.done
    assert controller.finished
    assert sum(chunk.length for chunk in sent) <= 1000 * KIB - has + CHUNK_BYTES


def test_controller_that_lost_some_gets_it_again() -> None:
    controller = Controller()
    cursor = open_cursor(1000 * KIB, ended=False)
    converse(cursor, controller)
    cursor.on_stream()
    controller.stored = 300 * KIB
    cursor.size = 1100 * KIB
    cursor.on_end(1100 * KIB)
    converse(cursor, controller)
    assert cursor.done
    assert controller.stored == 1100 * KIB


def test_controller_that_takes_nothing_is_not_pestered() -> None:
    cursor = open_cursor(100)
    pauses = []
    for _ in range(8):
        send_all(cursor)
        cursor.on_stored(0, 1000.0)
        pauses.append(cursor.wait_s(1000.0))
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    send_all(cursor)
    cursor.on_stored(100, 1000.0)
    assert cursor.done


def test_log_that_vanished_is_a_gap_to_its_end() -> None:
    cursor = open_cursor(100)
    cursor.on_lost()
    controller = Controller(40)
    assert converse(cursor, controller) == [Chunk(100, 0, last=True, lost=True)]
    assert cursor.done


def test_controller_that_has_more_than_we_do() -> None:
    controller = Controller(500)
    cursor = open_cursor(100)
    converse(cursor, controller)
    assert cursor.done


@given(
    st.integers(1, 5 * CHUNK_BYTES),
    st.lists(st.tuples(st.integers(0, 6 * CHUNK_BYTES), st.booleans()), max_size=5),
)
def test_whatever_happens_in_between_it_ends(size: int, turns: list[tuple[int, bool]]) -> None:
    controller = Controller()
    cursor = open_cursor(size // 2, ended=False)
    for stored, new_stream in turns:
        batch = send_all(cursor)
        controller.stored = min(stored, size)
        for chunk in batch[: len(batch) // 2]:
            cursor.on_stored(controller.take(chunk), 0.0)
        if new_stream:
            cursor.on_stream()
        else:
            for chunk in batch[len(batch) // 2 :]:
                cursor.on_stored(controller.take(chunk), 0.0)
    cursor.size = size
    cursor.on_end(size)
    cursor.on_stream()
    converse(cursor, controller)
    assert cursor.done
    assert controller.finished
    assert controller.stored >= size
