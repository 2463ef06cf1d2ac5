"""Tasks' logs on the controller's disk: one append-only file for each attempt.

Addressed by byte offset. An agent's bytes count only once they are durable.
Blocking methods say so and belong on a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from iris_controller.core.values import AttemptId

# How far back a tail looks for line ends at a time, in bytes.
TAIL_STEP = 64 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of an attempt's log; `last` when the log ends after them."""

    id: AttemptId
    offset: int
    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """So many bytes of a log are durable; `complete` when that is all of it."""

    id: AttemptId
    length: int
    complete: bool


class LogStore:
    """The logs of one cluster under `<state dir>/logs/<job>/`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, attempt_id: AttemptId) -> Path:
        job_id, index, epoch, number = attempt_id
        return self._directory / job_id / f"{index}-{epoch}-{number}.log"

    def length(self, attempt_id: AttemptId) -> int:
        """Bytes that are here; 0 when nothing is."""
        try:
            return self._path(attempt_id).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, chunks: Iterable[Chunk]) -> list[Stored]:
        """Adds chunks in order and makes them durable; blocks.

        Bytes that are here already are skipped; a chunk beyond the end is not
        taken, and the answer says where to go on.

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
            complete = False
            for chunk in chunks:
                if chunk.offset > length:
                    break
                fresh = chunk.data[length - chunk.offset :]
                _write_all(fd, fresh, length)
                length += len(fresh)
                complete = complete or (chunk.last and length == chunk.offset + len(chunk.data))
            os.fsync(fd)
        finally:
            os.close(fd)
        return Stored(attempt_id, length, complete)

    def read(self, attempt_id: AttemptId, offset: int, most: int) -> bytes:
        """Up to `most` bytes from `offset`; blocks for a disk's time."""
        try:
            with self._path(attempt_id).open("rb") as file:
                return os.pread(file.fileno(), most, offset)
        except FileNotFoundError:
            return b""

    def tail_offset(self, attempt_id: AttemptId, lines: int) -> int:
        """Where the last `lines` lines begin; blocks."""
        end = self.length(attempt_id)
        if lines <= 0:
            return end
        start, found = end, 0
        while start > 0:
            step = min(TAIL_STEP, start)
            start -= step
            block = self.read(attempt_id, start, step)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                # The file's last newline ends a line, it does not begin one.
                found += start + at + 1 < end
                if found == lines:
                    return start + at + 1
        return 0


def _write_all(fd: int, data: bytes, offset: int) -> None:
    """Writes at an offset: a stream that was replaced and its successor write the same bytes there."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
