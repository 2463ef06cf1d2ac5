"""The store on a real disk: all of a batch or nothing, and only what this program understands."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_controller.codec.rows import TABLES, RowWrite, writes
from iris_controller.core.entities import Job, PastAttempt, Record, Row
from iris_controller.core.values import TaskId
from iris_controller.shell.store import MIGRATIONS, Store, StoreError
from tests.controller.drawn import ROWS, key_of, quick
from tests.controller.stores import opened
from tests.controller.worlds import world


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "iris.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = opened(path)
    yield made
    made.close()


def a_job(job_id: str = "j1") -> list[RowWrite]:
    return [
        RowWrite("jobs", (job_id,), (job_id, "r", 1, 1, 0, b"\n\x01n\x12\x04true")),
        RowWrite("job_status", (job_id,), (job_id, "pending", "", "", None, None, None, None, "")),
    ]


def ids(rows: list[Row]) -> list[str]:
    return [row.job_id for row in rows if isinstance(row, Job)]


async def read_history(store: Store) -> list[Any]:
    """What `load` leaves out."""
    history = store.history()
    jobs = [job_id for (job_id,) in store.db.execute("SELECT DISTINCT job_id FROM tasks")]
    past = store.db.execute("SELECT DISTINCT job_id, task_index FROM past_attempts").fetchall()
    tasks = [task for job_id in jobs for task in await history.tasks(job_id)]
    attempts = [PastAttempt(one) for id_ in past for one in await history.past_attempts(TaskId(*id_))]
    records = await history.records(-1, 1_000)
    await history.close()
    return [*tasks, *attempts, *records]


def some(kind: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(ROWS[kind], max_size=2, unique_by=lambda row: key_of(kind, row))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that a test empties again each time: to make one takes long."""
    made = opened(tmp_path_factory.mktemp("used") / "iris.db")
    made.db.execute("PRAGMA synchronous=OFF")
    yield made
    made.close()


@quick
@given(drawn=st.fixed_dictionaries({kind: some(kind) for kind in ROWS}))
def test_every_row_comes_back(used: Store, drawn: dict[str, list[Any]]) -> None:
    changes = {(kind, key_of(kind, row)): row for kind, rows in drawn.items() for row in rows}
    used.commit(writes(changes))
    loaded = used.load() + asyncio.run(read_history(used))
    assert all(row in loaded for row in changes.values())
    used.commit(writes(dict.fromkeys(changes)))
    assert used.load() == []


def test_a_commit_is_there_after_reopening(store: Store, path: Path) -> None:
    store.commit(a_job())
    store.close()
    again = opened(path)
    assert ids(again.load()) == ["j1"]
    again.close()


def test_two_jobs_of_one_request_are_two_rows(store: Store) -> None:
    store.commit([*a_job("j1"), *a_job("j2")])
    assert ids(store.load()) == ["j1", "j2"]


@pytest.mark.parametrize("bad", [object(), 2**63, "\ud800"], ids=["object", "too large", "surrogate"])
def test_a_batch_is_committed_whole_or_not_at_all(store: Store, bad: Any) -> None:
    store.commit(a_job("j1"))
    wrong = RowWrite("workers", ("s", 1), ("s", 1, "joining", "", "", "", "", bad, 0))
    with pytest.raises((sqlite3.Error, OverflowError, UnicodeError)):
        store.commit([*a_job("j2"), wrong])
    assert (ids(store.load()), store.commit_number) == (["j1"], 1)
    store.commit(a_job("j3"))
    assert (ids(store.load()), store.commit_number) == (["j1", "j3"], 2)


def test_a_full_disk_loses_the_batch_and_nothing_else(store: Store, path: Path) -> None:
    store.commit(a_job("j1"))
    (pages,) = store.db.execute("PRAGMA page_count").fetchone()
    store.db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.commit([row for number in range(1000) for row in a_job(f"full{number}")])
    assert ids(store.load()) == ["j1"]
    store.db.execute("PRAGMA max_page_count=1000000")
    assert store.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.commit(a_job("after"))
    assert ids(store.load()) == ["after", "j1"]


def test_commits_are_counted_across_restarts(store: Store, path: Path) -> None:
    assert [store.commit(a_job()), store.commit([])] == [1, 2]
    store.close()
    again = opened(path)
    assert (again.commit_number, again.commit([])) == (2, 3)
    again.close()


def test_an_empty_database_is_migrated_once(store: Store, path: Path) -> None:
    assert store.db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert (store.load(), store.commit_number, store.get_meta("epoch")) == ([], 0, 0)
    store.set_meta("epoch", 7)
    store.close()
    again = opened(path)
    assert again.get_meta("epoch") == 7
    again.close()


@pytest.mark.parametrize("kind", TABLES)
def test_the_schema_has_the_columns_of_the_codec(store: Store, kind: str) -> None:
    table = TABLES[kind]
    columns = store.db.execute(f"PRAGMA table_info({table.name})").fetchall()
    assert tuple(column[1] for column in columns) == table.key_columns + table.columns
    assert tuple(column[1] for column in columns if column[5]) == table.key_columns


def test_a_schema_of_a_later_release_is_refused_in_words(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(
        StoreError, match=r"is newer than this program's .*; install the release that wrote it"
    ):
        Store(path).open()


def test_what_is_no_database_is_refused_in_words(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match=f"{path}: file is not a database"):
        Store(path).open()


def test_a_commit_survives_a_power_cut(store: Store) -> None:
    """WAL alone would lose the last commits: every one of them has to reach the disk."""
    assert store.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_another_connection_sees_committed_batches_only(store: Store, path: Path) -> None:
    store.commit(a_job("j1"))
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT job_id FROM jobs").fetchall() == [("j1",)]
    reader.close()


def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    with pytest.raises(StoreError, match="not open"):
        Store(path).load()


def test_a_whole_world_comes_back_in_order(store: Store) -> None:
    w = world()
    w.submit(tasks=2)
    w.boots(w.only)
    w.later(1)
    needed = [row for row in w.rows.load() if not isinstance(row, Record | PastAttempt)]
    store.commit(w.rows.writes())
    assert store.load() == [*needed, w.rows.records()[-1]]


def test_a_store_belongs_to_the_cluster_that_made_it(store: Store, path: Path) -> None:
    store.claim("abcdefgh27")
    store.claim("abcdefgh27")
    store.close()
    again = opened(path)
    with pytest.raises(
        StoreError, match=r"belongs to cluster abcdefgh27, and the keys are those of zzzzzzzzzz"
    ):
        again.claim("zzzzzzzzzz")
    again.close()
