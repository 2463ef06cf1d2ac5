"""The keeper's file across crashes, compactions and full disks."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper import journal as journal_module
from iris_bootstrap.keeper.attempts import Attempt, JobPlan, Queued, new_report
from iris_bootstrap.keeper.frames import Forget
from iris_bootstrap.keeper.journal import read_journal
from iris_bootstrap.keeper.memory import Memory

BOOT = {"kind": "boot", "boot_id": "b2", "previous_boot_id": "b1", "pid": 1, "start_time": 2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keeper.jsonl"


def new_memory(path: Path) -> Memory:
    memory = Memory(path, "b2")
    memory.add_agent(BOOT)
    memory.add_job("j", JobPlan("job document", [b"true"], {}, 1.0))
    assert memory.flush() is None
    return memory


def start(memory: Memory, index: int) -> Attempt:
    key = AttemptKey("j", index, 1, 1)
    attempt = Attempt(key, f"document {index}", Queued({}))
    assert memory.add_attempt(attempt)
    return attempt


def end(memory: Memory, attempt: Attempt) -> None:
    memory.end(attempt, new_report(attempt.key, "SUCCEEDED", 5))


def test_file_that_is_not_there_says_nothing(path: Path) -> None:
    found = read_journal(path)
    assert (found.boot_id, found.jobs, found.attempts) == ("", {}, {})


def test_everything_is_found_again(path: Path) -> None:
    memory = new_memory(path)
    running, ended, forgotten = (start(memory, index) for index in range(3))
    memory.add_report(running, new_report(running.key, "RUNNING", 7))
    memory.add_process(running, 99, 100)
    end(memory, ended)
    end(memory, forgotten)
    memory.forget(Forget([str(forgotten.key)], ["other"], []))
    memory.add_seen(AttemptKey("k", 8, 1, 1))
    assert memory.flush() is None
    found = read_journal(path)
    assert (found.boot_id, found.previous_boot_id, found.jobs) == ("b2", "b1", {"j": "job document"})
    assert found.attempts.keys() == {running.key, ended.key}
    assert (found.attempts[running.key].started_at_ms, found.attempts[running.key].report) == (7, None)
    assert found.attempts[ended.key].report == ended.report
    assert found.attempts[ended.key].document == "document 1"
    assert all(key in found.seen for key in (running.key, ended.key, forgotten.key, AttemptKey("k", 8, 1, 1)))


def test_half_a_line_costs_only_itself(path: Path) -> None:
    memory = new_memory(path)
    start(memory, 0)
    memory.flush()
    with path.open("ab") as file:
        file.write(b'{"kind":"start","id":"j/1/')
    assert read_journal(path).attempts.keys() == {AttemptKey("j", 0, 1, 1)}


def test_file_is_private(path: Path) -> None:
    new_memory(path)
    assert path.stat().st_mode & 0o077 == 0


def test_compaction_keeps_what_matters(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_BYTES", 2_000)
    memory = new_memory(path)
    kept = start(memory, 0)
    memory.add_report(kept, new_report(kept.key, "RUNNING", 7))
    memory.add_process(kept, 99, 100)
    for index in range(1, 500):
        attempt = start(memory, index)
        end(memory, attempt)
        memory.forget(Forget([str(attempt.key)], [], []))
        assert memory.flush() is None
        assert path.stat().st_size < 3_000
    found = read_journal(path)
    assert found.attempts.keys() == {kept.key}
    assert found.attempts[kept.key].started_at_ms == 7
    assert [tuple(seen) for seen in found.seen.ranges()] == [("j", 1, 1, 0, 499)]
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds[:2] == ["boot", "seen"]


def test_full_disk_is_said_and_made_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = new_memory(path)
    real_write = os.write
    full = True

    def write(fd: int, data: bytes) -> int:
        if not full:
            return real_write(fd, data)
        # Some of it fits, as on a disk that fills up.
        real_write(fd, bytes(data[:10]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    first = start(memory, 0)
    error = memory.flush()
    assert error is not None
    assert error.errno == errno.ENOSPC
    end(memory, first)
    assert memory.flush() is not None
    full = False
    start(memory, 1)
    assert memory.flush() is None
    found = read_journal(path)
    assert found.attempts[first.key].report == first.report
    assert found.attempts.keys() == {first.key, AttemptKey("j", 1, 1, 1)}
