"""History is read from the store when somebody asks, while the store is written."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from iris_controller.codec.rows import writes
from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, PastAttempt, Record
from iris_controller.core.values import NO_REASON, AttemptId, Place, Reason, TaskId
from iris_controller.core.world import Changes
from iris_controller.shell.history import History
from iris_controller.shell.store import Store
from tests.controller.stores import opened

Test = Callable[[History, Store], Coroutine[Any, Any, None]]


def event(number: int) -> Record:
    return Record(number, 1, "job", "j1", "SUBMITTED", NO_REASON)


def past(task: TaskId, epoch: int, number: int) -> PastAttempt:
    lost = s.AttemptWorkerLost(2, Reason("gone"))
    return PastAttempt(Attempt(AttemptId(*task, epoch, number), Place("s", 0), "b", 1, lost))


def commit(store: Store, *rows: Record | PastAttempt) -> None:
    changes: Changes = {
        ("event", row.event_id) if isinstance(row, Record) else ("past", row.attempt.id): row for row in rows
    }
    store.commit(writes(changes))


def on_a_store(path: Path, test: Test) -> None:
    async def run() -> None:
        store = opened(path)
        history = store.history()
        try:
            await test(history, store)
        finally:
            await history.close()
            store.close()

    asyncio.run(run())


def test_events_come_in_order_and_page_by_page(tmp_path: Path) -> None:
    async def test(history: History, store: Store) -> None:
        commit(store, *(event(number) for number in (3, 1, 2, 10)))
        assert await history.records(0, 2) == [event(1), event(2)]
        assert await history.records(2, 9) == [event(3), event(10)]
        assert await history.records(10, 9) == []

    on_a_store(tmp_path / "iris.db", test)


def test_a_task_has_its_own_past_attempts_oldest_first(tmp_path: Path) -> None:
    async def test(history: History, store: Store) -> None:
        task, other = TaskId("j", 1), TaskId("j", 11)
        rows = [past(task, 2, 1), past(task, 1, 10), past(task, 1, 9), past(other, 1, 1)]
        commit(store, *rows)
        found = await history.past_attempts(task)
        assert [attempt.id.round for attempt in found] == [(1, 9), (1, 10), (2, 1)]
        assert await history.past_attempts(TaskId("j", 0)) == []

    on_a_store(tmp_path / "iris.db", test)


def test_a_commit_under_way_is_neither_seen_nor_waited_for(tmp_path: Path) -> None:
    async def test(history: History, store: Store) -> None:
        commit(store, event(1))
        store.db.execute("BEGIN IMMEDIATE")
        store.db.execute("DELETE FROM events")
        assert await history.records(0, 9) == [event(1)]
        store.db.execute("COMMIT")
        assert await history.records(0, 9) == []

    on_a_store(tmp_path / "iris.db", test)


def test_the_loop_goes_on_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(history: History, store: Store) -> None:
        may_read, read = threading.Event(), History._read

        def slow(*arguments: Any) -> list[Any]:
            assert may_read.wait(30)
            return read(*arguments)

        monkeypatch.setattr(History, "_read", slow)
        asked = asyncio.create_task(history.records(0, 9))
        await asyncio.sleep(0)
        commit(store, event(1))
        assert not asked.done()
        may_read.set()
        assert await asked == [event(1)]

    on_a_store(tmp_path / "iris.db", test)


def test_a_path_may_have_any_character(tmp_path: Path) -> None:
    async def test(history: History, store: Store) -> None:
        commit(store, event(1))
        assert await history.records(0, 9) == [event(1)]

    on_a_store(tmp_path / "a?b#c%20 d.db", test)
