"""Tasks' logs on the controller's disk: one append-only file for each attempt.

Addressed by byte offset. An agent's bytes count only once they are durable. Of a
log that is too long the oldest bytes go, and it is known which.
Blocking methods say so and belong on a thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from iris_controller.core.values import AttemptId
from iris_controller.shell.gaps import (
    Gap,
    Gaps,
    decode_gaps,
    encode_gaps,
    first_kept,
    kept_parts,
    next_gap,
    skip_gap,
    with_gap,
)
from iris_platform.files import sync_dir, write_atomic
from iris_platform.holes import ALIGN_BYTES, punch_hole

# How far back a tail looks for line ends at a time, in bytes.
TAIL_STEP = 64 * 1024
MAX_BYTES = 1024**3
MOST_STEP = 8 * 1024 * 1024
# The file that says which bytes are gone.
GAPS = ".gaps"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of an attempt's log; `last` when the log ends after them.

    What is below `dropped_before` is gone where they come from.
    """

    id: AttemptId
    offset: int
    data: bytes
    last: bool
    dropped_before: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """A log is durable up to here; `complete` when that is all of it."""

    id: AttemptId
    length: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a log and where they begin: beyond what was asked for, if that is gone."""

    offset: int
    data: bytes


class LogStore:
    """The logs of one cluster under `<state dir>/logs/<job>/`.

    Of each at most `max_bytes` are kept; 0 for the usual. What is gone is a
    hole in the file, so that offsets stay as they were, and stands in another
    one beside it. On a file system without holes all of every log stays.
    """

    def __init__(self, directory: Path, max_bytes: int = 0) -> None:
        self._directory = directory
        self.max_bytes = max_bytes or MAX_BYTES
        # Dropping in steps: a flood would have us at it all the time.
        self._step = max(ALIGN_BYTES, min(MOST_STEP, self.max_bytes // 8))
        # For the files of gaps, which are read to be changed.
        self._lock = threading.Lock()
        self._can_drop = True

    def _path(self, attempt_id: AttemptId, suffix: str = ".log") -> Path:
        job_id, index, epoch, number = attempt_id
        return self._directory / job_id / f"{index}-{epoch}-{number}{suffix}"

    def length(self, attempt_id: AttemptId) -> int:
        """Bytes that came so far, those that are gone again included; 0 when nothing did."""
        try:
            return self._path(attempt_id).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, chunks: Iterable[Chunk]) -> list[Stored]:
        """Adds chunks in order and makes them durable; blocks.

        Bytes that are here already are skipped; a chunk beyond the end is not
        taken unless what is before it can be had no more, and the answer says
        where to go on.

        Raises:
            OSError: nothing is promised of these chunks.
        """
        by_attempt: dict[AttemptId, list[Chunk]] = {}
        for chunk in chunks:
            by_attempt.setdefault(chunk.id, []).append(chunk)
        return [self._append_to(attempt_id, these) for attempt_id, these in by_attempt.items()]

    def _append_to(self, attempt_id: AttemptId, chunks: list[Chunk]) -> Stored:
        path = self._path(attempt_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            length = os.fstat(fd).st_size
            is_new = length == 0
            complete = False
            for chunk in chunks:
                if chunk.offset > length:
                    if chunk.dropped_before < chunk.offset:
                        break
                    length = self._skip_to(attempt_id, fd, chunk.offset)
                fresh = chunk.data[length - chunk.offset :]
                _write_all(fd, fresh, length)
                length += len(fresh)
                complete = complete or (chunk.last and length == chunk.offset + len(chunk.data))
            if length > self.max_bytes and self._can_drop:
                self._shorten(attempt_id, fd, length)
            os.fsync(fd)
            if is_new:
                # Its name, and its directory's, must outlive a power cut as well.
                sync_dir(path.parent)
                sync_dir(self._directory)
        finally:
            os.close(fd)
        return Stored(attempt_id, length, complete)

    def _skip_to(self, attempt_id: AttemptId, fd: int, offset: int) -> int:
        """Goes on from a later offset, because what is before it never comes; the log's new length."""
        with self._lock:
            length = os.fstat(fd).st_size
            if length < offset:
                self._write_gaps(attempt_id, with_gap(self._gaps(attempt_id), length, offset))
                # Makes the file longer, never shorter: another stream may be writing to it.
                os.posix_fallocate(fd, offset - 1, 1)
        return offset

    def _shorten(self, attempt_id: AttemptId, fd: int, length: int) -> None:
        """Drops the beginning of a log that is too long."""
        end = (length - self.max_bytes) // ALIGN_BYTES * ALIGN_BYTES
        with self._lock:
            gaps = self._gaps(attempt_id)
            if end - first_kept(gaps) < self._step:
                return
            # On record first: from then on nobody takes the zeros for the log.
            self._write_gaps(attempt_id, with_gap(gaps, 0, end))
            if not punch_hole(fd, 0, end):
                self._can_drop = False
                self._write_gaps(attempt_id, gaps)

    def _gaps(self, attempt_id: AttemptId) -> list[Gap]:
        try:
            return decode_gaps(self._path(attempt_id, GAPS).read_bytes())
        except FileNotFoundError:
            return []

    def _write_gaps(self, attempt_id: AttemptId, gaps: Gaps) -> None:
        write_atomic(self._path(attempt_id, GAPS), encode_gaps(gaps))

    def read(self, attempt_id: AttemptId, offset: int, most: int) -> bytes:
        """Up to `most` bytes from `offset`; none where they are gone. Blocks for a disk's time."""
        part = self.read_on(attempt_id, offset, most)
        return part.data if part.offset == offset else b""

    def read_on(self, attempt_id: AttemptId, offset: int, most: int, end: int | None = None) -> Part:
        """Up to `most` bytes from `offset`, or from where the next are that are left; blocks.

        None from `end` on.
        """
        while True:
            gaps = self._gaps(attempt_id)
            begin = skip_gap(gaps, offset)
            stops = [begin + most, next_gap(gaps, begin), end]
            stop = min(one for one in stops if one is not None)
            data = self._pread(attempt_id, begin, stop - begin) if stop > begin else b""
            # What is gone may have been read as zeros: dropped meanwhile, from the beginning, or
            # passed over by who wrote on behind it.
            gaps = self._gaps(attempt_id)
            if skip_gap(gaps, begin) == begin:
                gap = next_gap(gaps, begin)
                return Part(begin, data if gap is None else data[: gap - begin])

    def _pread(self, attempt_id: AttemptId, offset: int, most: int) -> bytes:
        try:
            with self._path(attempt_id).open("rb") as file:
                return os.pread(file.fileno(), most, offset)
        except FileNotFoundError:
            return b""

    def tail_offset(self, attempt_id: AttemptId, lines: int) -> int:
        """Where the last `lines` lines begin; gaps are neither lines nor ends of them. Blocks."""
        length = self.length(attempt_id)
        if lines <= 0:
            return length
        parts = list(kept_parts(self._gaps(attempt_id), length))
        last, found = parts[-1][1] if parts else 0, 0
        for begin, start in reversed(parts):
            while start > begin:
                step = min(TAIL_STEP, start - begin)
                start -= step
                block = self._pread(attempt_id, start, step)
                at = len(block)
                while (at := block.rfind(b"\n", 0, at)) >= 0:
                    # The log's last newline ends a line, it does not begin one.
                    found += start + at + 1 < last
                    if found == lines:
                        return start + at + 1
        return parts[0][0] if parts else length


def _write_all(fd: int, data: bytes, offset: int) -> None:
    """Writes at an offset: a stream that was replaced and its successor write the same bytes there."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
