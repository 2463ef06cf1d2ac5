"""The keeper's file: what must outlive a keeper that is killed.

Append-only JSON lines; `iris_platform.processes.clean_host` reads the pids in
it. Lines, in the order in which they come to be:

    boot     boot_id pid start_time previous_boot_id     a keeper started
             cgroup                                      that it and its children are in, if any
    session  pid start_time                              it started a session
    job      job_id document
    start    id document                                 before the process is made
    port     id port                                     of a member of a gang
    process  id pid start_time started_at_ms             unless it had already ended
    end      id report
    forget   ids jobs                                    settled: only the ids stay
    seen     ranges                                      all ids so far, after a compaction
    contact  until_s                                     of the boot clock: not alone before, or not for long
    left     reason                                      the keeper took itself away

Not synced: a machine that goes down takes every process with it. Knows no
processes itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from iris_bootstrap.attempt import AttemptKey, SeenKeys, SeenRange, parse_key
from iris_bootstrap.keeper.frames import Report

Line = Mapping[str, object]

_encode_line = json.JSONEncoder(separators=(",", ":")).encode

# A file below this size is never worth rewriting.
COMPACT_BYTES = 8 * 1024 * 1024


@dataclass
class OldAttempt:
    """An attempt of an earlier keeper that is not forgotten."""

    document: str
    started_at_ms: int = 0
    port: int = 0
    report: Report | None = None


@dataclass
class Recovered:
    """What the file says about the time before this keeper."""

    boot_id: str = ""
    previous_boot_id: str = ""
    contact_s: float | None = None
    seen: SeenKeys = field(default_factory=SeenKeys)
    jobs: dict[str, str] = field(default_factory=dict)
    attempts: dict[AttemptKey, OldAttempt] = field(default_factory=dict)


def read_journal(path: Path) -> Recovered:
    """Everything that earlier keepers noted; a line cut short by a crash is left out."""
    found = Recovered()
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        # Half a line, or one of a later release: what it said is lost, not the rest.
        with suppress(ValueError, KeyError, TypeError):
            _take(found, json.loads(line))
    return found


def _take(found: Recovered, line: dict[str, object]) -> None:
    match line:
        case {"kind": "boot", "boot_id": str(boot), "previous_boot_id": str(previous)}:
            if boot != found.boot_id:
                found.contact_s = None
            found.boot_id, found.previous_boot_id = boot, previous
        case {"kind": "contact", "until_s": float(until_s)}:
            found.contact_s = until_s
        case {"kind": "left"}:
            # Whoever starts it again wants it.
            found.contact_s = None
        case {"kind": "job", "job_id": str(job_id), "document": str(document)}:
            found.jobs[job_id] = document
        case {"kind": "start", "id": str(text), "document": str(document)}:
            key = parse_key(text)
            found.seen.add(key)
            found.attempts[key] = OldAttempt(document)
        case {"kind": "port", "id": str(text), "port": int(port)}:
            found.attempts[parse_key(text)].port = port
        case {"kind": "process", "id": str(text), "started_at_ms": int(started_at_ms)}:
            found.attempts[parse_key(text)].started_at_ms = started_at_ms
        case {"kind": "end", "id": str(text), "report": list(fields)}:
            found.attempts[parse_key(text)].report = Report(*fields)
        case {"kind": "forget", "ids": list(ids), "jobs": list(jobs)}:
            for text in ids:
                found.attempts.pop(parse_key(text), None)
            for job_id in jobs:
                found.jobs.pop(job_id, None)
        case {"kind": "seen", "ranges": list(ranges)}:
            for fields in ranges:
                found.seen.add_range(SeenRange(*fields))


class Journal:
    """Appends lines in batches, and rewrites the file when most of it is of no more use.

    `everything` gives the lines that say all that is still to be known. When
    a write fails, what it held is not tried again: the next one begins with
    a whole new file.
    """

    def __init__(self, path: Path, everything: Callable[[], Iterable[Line]]) -> None:
        self._path = path
        self._everything = everything
        self._lines: list[str] = []
        self._size = 0
        self._compact_at = COMPACT_BYTES
        self._whole = False
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def add(self, line: Line) -> None:
        """Note something; it is on disk after the next `flush`."""
        self._lines.append(_encode_line(line))

    def flush(self) -> OSError | None:
        """Write what was added; the error, if it could not be written."""
        if not self._lines and self._whole:
            return None
        try:
            if self._whole and self._size < self._compact_at:
                self._append()
            else:
                self._rewrite()
        except OSError as error:
            self._whole = False
            return error
        finally:
            self._lines.clear()
        return None

    def close(self) -> None:
        os.close(self._fd)

    def _append(self) -> None:
        data = _encode(self._lines)
        _write(self._fd, data)
        self._size += len(data)

    def _rewrite(self) -> None:
        data = _encode(_encode_line(line) for line in self._everything())
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, data)
            temporary.replace(self._path)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd = fd
        self._size = len(data)
        self._compact_at = max(COMPACT_BYTES, 2 * len(data))
        self._whole = True


def _encode(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
