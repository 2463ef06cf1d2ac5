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
        self.gaps: list[tuple[int, int]] = []

    def take(self, chunk: Chunk) -> int:
        end = chunk.offset + chunk.length
        if chunk.dropped_before >= chunk.offset > self.stored:
            self.gaps.append((self.stored, chunk.offset))
            self.stored = chunk.offset
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
    assert converse(cursor, controller) == [Chunk(100, 0, last=True, dropped_before=100)]
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


MIB = 1024 * 1024


def test_log_that_is_too_long_loses_its_beginning() -> None:
    cursor = open_cursor(9 * MIB + 5, ended=False)
    assert cursor.droppable(16 * MIB) == 0
    assert cursor.droppable(9 * MIB) == 0
    cursor.begin = cursor.droppable(4 * MIB)
    assert cursor.begin == 5 * MIB
    controller = Controller()
    cursor.on_end(9 * MIB + 5)
    sent = converse(cursor, controller)
    assert sent[0] == Chunk(5 * MIB, CHUNK_BYTES, last=False, dropped_before=5 * MIB)
    assert [chunk.dropped_before for chunk in sent[1:]] == [0] * (len(sent) - 1)
    assert controller.gaps == [(0, 5 * MIB)]
    assert cursor.done


def test_what_is_dropped_goes_in_steps() -> None:
    cursor = open_cursor(0, ended=False)
    ends = set()
    for size in range(0, 40 * MIB, 100_000):
        cursor.size = size
        cursor.begin = cursor.droppable(8 * MIB)
        ends.add(cursor.begin)
        assert size - cursor.begin <= 9 * MIB + 64 * KIB
    assert len(ends) <= 33


def test_what_the_controller_has_goes_but_for_the_last_of_it() -> None:
    cursor = open_cursor(500 * MIB, ended=False)
    cursor.stored = 300 * MIB
    assert cursor.droppable(1024 * MIB) == 300 * MIB
    cursor.stored = 500 * MIB
    assert cursor.droppable(1024 * MIB) == 436 * MIB
    cursor.begin = 436 * MIB
    # A controller that lost all it had.
    cursor.on_stream()
    controller = Controller()
    cursor.on_end(500 * MIB)
    converse(cursor, controller)
    assert controller.gaps == [(0, 436 * MIB)]
    assert cursor.done


def test_controller_that_has_what_is_dropped_here_has_no_gap() -> None:
    controller = Controller(10 * MIB)
    cursor = open_cursor(12 * MIB)
    cursor.begin = 5 * MIB
    converse(cursor, controller)
    assert controller.gaps == []
    assert cursor.done


def test_log_that_was_cut_short_while_it_runs_waits_for_more() -> None:
    """The same chunk again and again, with nothing to wait for, stopped everything else."""
    cursor = open_cursor(100, ended=False)
    cursor.on_lost()
    assert cursor.next_chunk() is None
    cursor.size = 30
    controller = Controller()
    assert converse(cursor, controller) == [Chunk(0, 30, last=False)]
    cursor.on_lost()
    cursor.on_end(40)
    cursor.on_lost()
    assert converse(cursor, controller) == [Chunk(40, 0, last=True, dropped_before=40)]
    assert cursor.done
