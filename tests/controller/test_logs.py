"""Logs on disk: bytes once each, by offset, however they come in."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_controller.core.values import AttemptId
from iris_controller.shell import logs as logs_module
from iris_controller.shell.gaps import Gap, kept_parts, with_gap
from iris_controller.shell.logs import TAIL_STEP, Chunk, LogStore, Part, Stored
from tests.controller.drawn import quick

A = AttemptId("j1", 0, 7, 1)
B = AttemptId("j1", 0, 7, 2)


@pytest.fixture
def logs(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


def chunk(offset: int, data: bytes, last: bool = False, attempt: AttemptId = A) -> Chunk:
    return Chunk(attempt, offset, data, last)


def read(logs: LogStore, attempt: AttemptId = A) -> bytes:
    """The whole of a short log."""
    return logs.read(attempt, 0, 99)


def test_chunks_follow_one_another(logs: LogStore) -> None:
    assert logs.append([chunk(0, b"one "), chunk(4, b"two")]) == [Stored(A, 7, False)]
    assert logs.append([chunk(7, b"!", last=True)]) == [Stored(A, 8, True)]
    assert (read(logs), logs.length(A)) == (b"one two!", 8)


def test_what_is_here_already_is_skipped(logs: LogStore) -> None:
    logs.append([chunk(0, b"one two")])
    assert logs.append([chunk(0, b"one ")]) == [Stored(A, 7, False)]
    assert logs.append([chunk(4, b"two three", last=True)]) == [Stored(A, 13, True)]
    assert read(logs) == b"one two three"


def test_a_chunk_beyond_the_end_is_not_taken_and_says_where_to_go_on(logs: LogStore) -> None:
    logs.append([chunk(0, b"one")])
    assert logs.append([chunk(9, b"late", last=True)]) == [Stored(A, 3, False)]
    assert logs.append([chunk(3, b" two"), chunk(99, b"x"), chunk(7, b" three")]) == [Stored(A, 7, False)]
    assert read(logs) == b"one two"


def test_an_empty_log_can_be_complete(logs: LogStore) -> None:
    assert logs.append([chunk(0, b"", last=True)]) == [Stored(A, 0, True)]


def test_a_log_that_is_complete_stays_so_when_its_beginning_comes_again(logs: LogStore) -> None:
    assert logs.append([chunk(0, b"one", last=True), chunk(0, b"o")]) == [Stored(A, 3, True)]


def test_attempts_have_logs_of_their_own(logs: LogStore) -> None:
    stored = logs.append([chunk(0, b"a"), chunk(0, b"bb", attempt=B), chunk(1, b"a")])
    assert stored == [Stored(A, 2, False), Stored(B, 2, False)]
    assert (read(logs), read(logs, B)) == (b"aa", b"bb")


def test_a_log_that_nobody_sent_is_empty(logs: LogStore) -> None:
    assert (logs.length(A), read(logs), logs.tail_offset(A, 3)) == (0, b"", 0)


def test_a_log_is_read_in_parts(logs: LogStore) -> None:
    logs.append([chunk(0, b"0123456789")])
    assert logs.read_on(A, 3, 4) == Part(3, b"3456")
    assert logs.read_on(A, 8, 99) == Part(8, b"89")
    assert logs.read_on(A, 99, 1) == Part(99, b"")
    assert logs.read_on(A, 3, 99, end=5) == Part(3, b"34")
    assert logs.read_on(A, 7, 99, end=5) == Part(7, b"")


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
    assert read(logs) == b"one two"


def test_many_attempts_at_once(logs: LogStore) -> None:
    attempts = [A._replace(task_index=index) for index in range(20)]

    def ship(attempt: AttemptId) -> None:
        for at in range(20):
            logs.append([chunk(at, bytes([at]), attempt=attempt)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ship, attempts))
    assert {read(logs, attempt) for attempt in attempts} == {bytes(range(20))}


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
        assert read(logs) == truth[:length]


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


# -- gaps ------------------------------------------------------------------------------

KIB = 1024
MIB = 1024 * KIB


def gone(offset: int, data: bytes, last: bool = False) -> Chunk:
    """A chunk before which everything that is missing was dropped on the host."""
    return Chunk(A, offset, data, last, dropped_before=offset)


def parts(logs: LogStore) -> list[Part]:
    """All that a reader gets from the beginning on."""
    found, offset = [], 0
    while (part := logs.read_on(A, offset, 99)).data or part.offset > offset:
        found.append(part)
        offset = part.offset + len(part.data)
    return found


def test_what_was_dropped_on_the_host_is_a_gap(logs: LogStore, tmp_path: Path) -> None:
    logs.append([chunk(0, b"one")])
    assert logs.append([gone(9, b"late")]) == [Stored(A, 13, False)]
    assert logs.append([chunk(13, b"r", last=True)]) == [Stored(A, 14, True)]
    assert parts(logs) == [Part(0, b"one"), Part(9, b"later")]
    assert (logs.read(A, 0, 99), logs.read(A, 3, 99), logs.read(A, 5, 99)) == (b"one", b"", b"")
    # Another controller, on the same disk.
    assert parts(LogStore(tmp_path / "logs")) == [Part(0, b"one"), Part(9, b"later")]


def test_what_was_dropped_on_the_host_and_is_here_is_no_gap(logs: LogStore) -> None:
    logs.append([chunk(0, b"one two")])
    assert logs.append([gone(4, b"two three", last=True)]) == [Stored(A, 13, True)]
    assert parts(logs) == [Part(0, b"one two three")]


def test_gap_before_what_was_dropped_is_not_taken(logs: LogStore) -> None:
    """The host still has bytes 5 to 9: it is to send them."""
    assert logs.append([chunk(0, b"one"), Chunk(A, 9, b"late", False, 5)]) == [Stored(A, 3, False)]


def test_log_whose_end_was_lost_is_complete(logs: LogStore) -> None:
    logs.append([chunk(0, b"one")])
    assert logs.append([gone(9, b"", last=True)]) == [Stored(A, 9, True)]
    assert parts(logs) == [Part(0, b"one"), Part(9, b"")]
    assert logs.length(A) == 9


def on_disk(tmp_path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in (tmp_path / "logs").rglob("*.log"))


def test_log_that_is_too_long_loses_its_beginning(tmp_path: Path) -> None:
    logs = LogStore(tmp_path / "logs", MIB)
    block = b"0123456789abcde\n" * (256 * KIB // 16)
    for at in range(40):
        logs.append([chunk(at * len(block), block)])
        assert on_disk(tmp_path) <= MIB + 512 * KIB
    end = 40 * len(block)
    assert logs.length(A) == end
    first = logs.read_on(A, 0, 16)
    assert first.data == block[:16]
    assert end - MIB - 256 * KIB <= first.offset <= end - MIB
    assert logs.read(A, end - MIB, 99) == block[:99]
    assert LogStore(tmp_path / "logs", MIB).read_on(A, 0, 16) == first
    # The agent's earlier stream, which is late.
    assert logs.append([chunk(0, block)]) == [Stored(A, end, False)]
    assert logs.read_on(A, 0, 16) == first


def test_file_system_without_holes_keeps_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "punch_hole", lambda fd, begin, end: False)
    logs = LogStore(tmp_path / "logs", MIB)
    for at in range(12):
        logs.append([chunk(at * 256 * KIB, b"x" * 256 * KIB)])
    assert logs.read(A, 0, 10) == b"x" * 10


def test_reader_never_takes_what_was_passed_over_for_the_log(
    logs: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap and what is behind it come between the look at the gaps and the bytes."""
    logs.append([chunk(0, b"one")])
    pread = os.pread

    def read_late(fd: int, most: int, offset: int) -> bytes:
        monkeypatch.setattr(os, "pread", pread)
        logs.append([gone(9, b"late")])
        return pread(fd, most, offset)

    monkeypatch.setattr(os, "pread", read_late)
    assert logs.read_on(A, 0, 99) == Part(0, b"one")
    assert logs.read_on(A, 3, 99) == Part(9, b"late")


def test_reader_never_takes_what_is_dropped_for_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes between the look at the gaps and the bytes."""
    logs = LogStore(tmp_path / "logs", MIB)
    logs.append([chunk(0, b"x" * MIB)])
    pread = os.pread

    def read_late(fd: int, most: int, offset: int) -> bytes:
        monkeypatch.setattr(os, "pread", pread)
        logs.append([chunk(MIB, b"x" * MIB)])
        return pread(fd, most, offset)

    monkeypatch.setattr(os, "pread", read_late)
    part = logs.read_on(A, 0, 10)
    assert part == Part(MIB, b"x" * 10)


def test_tail_of_a_log_with_gaps(logs: LogStore) -> None:
    logs.append([gone(10, b"a\nb\nc"), gone(90, b"d\ne\n")])
    assert [logs.tail_offset(A, lines) for lines in (0, 1, 2, 3, 4, 9)] == [94, 92, 14, 12, 10, 10]


def test_tail_of_a_log_of_which_nothing_is_left(logs: LogStore) -> None:
    logs.append([gone(10, b"", last=True)])
    assert logs.tail_offset(A, 3) == 10


@quick
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8))
def test_gaps_are_what_they_cover(ranges: list[tuple[int, int]]) -> None:
    gaps: list[Gap] = []
    for begin, size in ranges:
        gaps = with_gap(gaps, begin, begin + size)
    covered = {at for begin, size in ranges for at in range(begin, begin + size)}
    assert {at for begin, end in gaps for at in range(begin, end)} == covered
    assert all(one[1] < other[0] for one, other in pairwise(gaps))
    assert {at for begin, end in kept_parts(gaps, 40) for at in range(begin, end)} == set(range(40)) - covered
