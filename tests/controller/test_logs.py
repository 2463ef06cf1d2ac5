"""Logs on disk: bytes once each, by offset, however they come in."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_controller.core.values import AttemptId
from iris_controller.shell import logs as logs_module
from iris_controller.shell.logs import TAIL_STEP, Chunk, LogStore, Stored
from tests.controller.drawn import quick

A = AttemptId("j1", 0, 7, 1)
B = AttemptId("j1", 0, 7, 2)


@pytest.fixture
def logs(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


def chunk(offset: int, data: bytes, last: bool = False, attempt: AttemptId = A) -> Chunk:
    return Chunk(attempt, offset, data, last)


def test_chunks_follow_one_another(logs: LogStore) -> None:
    assert logs.append([chunk(0, b"one "), chunk(4, b"two")]) == [Stored(A, 7, False)]
    assert logs.append([chunk(7, b"!", last=True)]) == [Stored(A, 8, True)]
    assert (logs.read(A, 0, 100), logs.length(A)) == (b"one two!", 8)


def test_what_is_here_already_is_skipped(logs: LogStore) -> None:
    logs.append([chunk(0, b"one two")])
    assert logs.append([chunk(0, b"one ")]) == [Stored(A, 7, False)]
    assert logs.append([chunk(4, b"two three", last=True)]) == [Stored(A, 13, True)]
    assert logs.read(A, 0, 100) == b"one two three"


def test_a_chunk_beyond_the_end_is_not_taken_and_says_where_to_go_on(logs: LogStore) -> None:
    logs.append([chunk(0, b"one")])
    assert logs.append([chunk(9, b"late", last=True)]) == [Stored(A, 3, False)]
    assert logs.append([chunk(3, b" two"), chunk(99, b"x"), chunk(7, b" three")]) == [Stored(A, 7, False)]
    assert logs.read(A, 0, 100) == b"one two"


def test_an_empty_log_can_be_complete(logs: LogStore) -> None:
    assert logs.append([chunk(0, b"", last=True)]) == [Stored(A, 0, True)]


def test_a_log_that_is_complete_stays_so_when_its_beginning_comes_again(logs: LogStore) -> None:
    assert logs.append([chunk(0, b"one", last=True), chunk(0, b"o")]) == [Stored(A, 3, True)]


def test_attempts_have_logs_of_their_own(logs: LogStore) -> None:
    stored = logs.append([chunk(0, b"a"), chunk(0, b"bb", attempt=B), chunk(1, b"a")])
    assert stored == [Stored(A, 2, False), Stored(B, 2, False)]
    assert (logs.read(A, 0, 9), logs.read(B, 0, 9)) == (b"aa", b"bb")


def test_a_log_that_nobody_sent_is_empty(logs: LogStore) -> None:
    assert (logs.length(A), logs.read(A, 0, 9), logs.tail_offset(A, 3)) == (0, b"", 0)


def test_a_log_is_read_in_parts(logs: LogStore) -> None:
    logs.append([chunk(0, b"0123456789")])
    assert (logs.read(A, 3, 4), logs.read(A, 8, 99), logs.read(A, 99, 1)) == (b"3456", b"89", b"")


def test_logs_are_for_their_owner_alone(logs: LogStore, tmp_path: Path) -> None:
    logs.append([chunk(0, b"secret")])
    (directory,) = (tmp_path / "logs").iterdir()
    (file,) = directory.iterdir()
    assert (directory.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_disk_that_takes_nothing_is_an_error(logs: LogStore, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a directory should be")
    with pytest.raises(OSError, match="logs"):
        logs.append([chunk(0, b"lost")])


class Meeting(bytes):
    """Bytes that are cut only when two writers have come so far."""

    barrier = threading.Barrier(2, timeout=60)

    def __getitem__(self, part: Any) -> Any:
        self.barrier.wait()
        return bytes(self)[part]


def test_two_streams_of_one_attempt_write_each_byte_once(logs: LogStore) -> None:
    """An agent that dials again may send what its earlier stream is still writing."""
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(logs.append, [chunk(0, Meeting(b"one two"), last=True)]) for _ in range(2)]
    assert [one.result() for one in both] == [[Stored(A, 7, True)]] * 2
    assert logs.read(A, 0, 99) == b"one two"


def test_many_attempts_at_once(logs: LogStore) -> None:
    attempts = [A._replace(task_index=index) for index in range(20)]

    def ship(attempt: AttemptId) -> None:
        for at in range(20):
            logs.append([chunk(at, bytes([at]), attempt=attempt)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ship, attempts))
    assert {logs.read(attempt, 0, 99) for attempt in attempts} == {bytes(range(20))}


@quick
@given(
    st.binary(max_size=20), st.lists(st.lists(st.tuples(st.integers(0, 22), st.integers(0, 22)), max_size=4))
)
def test_it_agrees_with_a_naive_log(truth: bytes, batches: list[list[tuple[int, int]]]) -> None:
    """Chunks are any parts of the true log; the last flag is on those that reach its end."""
    length = 0
    with TemporaryDirectory() as directory:
        logs = LogStore(Path(directory))
        for batch in batches:
            parts = [(start, truth[start : start + size]) for start, size in batch if start <= len(truth)]
            chunks = [chunk(start, data, start + len(data) == len(truth)) for start, data in parts]
            complete = False
            for start, data in parts:
                if start > length:
                    break
                length = max(length, start + len(data))
                complete = complete or start + len(data) == len(truth)
            assert logs.append(chunks) == ([Stored(A, length, complete)] if chunks else [])
        assert logs.read(A, 0, 99) == truth[:length]


@pytest.mark.parametrize("step", [1, 3, TAIL_STEP])
@quick
@given(
    text=st.lists(st.sampled_from([b"\n", b"x", b"yz"]), max_size=12).map(b"".join), lines=st.integers(-1, 5)
)
def test_the_tail_begins_where_the_last_lines_do(step: int, text: bytes, lines: int) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs_module, "TAIL_STEP", step)
        logs = LogStore(Path(directory))
        logs.append([chunk(0, text)])
        assert text[logs.tail_offset(A, lines) :] == naive_tail(text, lines)


def naive_tail(text: bytes, lines: int) -> bytes:
    """The last lines, one by one; a newline ends its line."""
    every = text.splitlines(keepends=True)
    return b"".join(every[max(0, len(every) - max(0, lines)) :])
