"""The controller's memory: SQLite, WAL, `synchronous=FULL`, one writer.

Knows tables and rows, not what they mean. Every method blocks and belongs on
the one store thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from iris_controller.codec.rows import TABLES, RowWrite, Table
from iris_controller.core.entities import Row
from iris_controller.shell.history import History

# `PRAGMA user_version` of the schema that MIGRATIONS lead to.
MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE owner (id INTEGER PRIMARY KEY CHECK (id = 0), cluster_id TEXT NOT NULL);
    CREATE TABLE jobs (
        job_id TEXT PRIMARY KEY, request_id TEXT NOT NULL, submitted_ms INTEGER NOT NULL,
        turn INTEGER NOT NULL, adopted INTEGER NOT NULL, spec BLOB NOT NULL);
    CREATE TABLE job_status (
        job_id TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL,
        stop_reason TEXT, stop_message TEXT, started_ms INTEGER, finished_ms INTEGER);
    CREATE TABLE tasks (
        job_id TEXT NOT NULL, task_index INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
        message TEXT NOT NULL, attempts INTEGER NOT NULL, failures INTEGER NOT NULL,
        losses INTEGER NOT NULL, epoch INTEGER, number INTEGER, slice_name TEXT, worker_index INTEGER,
        boot_id TEXT, assigned_ms INTEGER, attempt_state TEXT, started_ms INTEGER, ended_ms INTEGER,
        end_reason TEXT, end_message TEXT, exit_code INTEGER, signal INTEGER, log_bytes INTEGER,
        log_stored INTEGER, PRIMARY KEY (job_id, task_index)) WITHOUT ROWID;
    CREATE TABLE past_attempts (
        job_id TEXT NOT NULL, task_index INTEGER NOT NULL, epoch INTEGER NOT NULL,
        number INTEGER NOT NULL, slice_name TEXT, worker_index INTEGER, boot_id TEXT,
        assigned_ms INTEGER, attempt_state TEXT, started_ms INTEGER, ended_ms INTEGER, end_reason TEXT,
        end_message TEXT, exit_code INTEGER, signal INTEGER, log_bytes INTEGER, log_stored INTEGER,
        PRIMARY KEY (job_id, task_index, epoch, number)) WITHOUT ROWID;
    CREATE TABLE slices (
        name TEXT PRIMARY KEY, scale_group TEXT NOT NULL, zone TEXT NOT NULL, hosts INTEGER NOT NULL,
        state TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, cause TEXT,
        requested_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE workers (
        slice_name TEXT NOT NULL, worker_index INTEGER NOT NULL, state TEXT NOT NULL,
        reason TEXT NOT NULL, message TEXT NOT NULL, boot_id TEXT NOT NULL, version TEXT NOT NULL,
        cpu_millis INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,
        PRIMARY KEY (slice_name, worker_index)) WITHOUT ROWID;
    CREATE TABLE group_standings (
        name TEXT PRIMARY KEY, failures INTEGER NOT NULL, not_before_ms INTEGER NOT NULL,
        reason TEXT NOT NULL, message TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE cluster (id INTEGER PRIMARY KEY, stopping TEXT, message TEXT);
    CREATE TABLE events (
        event_id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        what TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL);
    """,
    """
    ALTER TABLE tasks ADD COLUMN address TEXT;
    ALTER TABLE past_attempts ADD COLUMN address TEXT;
    ALTER TABLE slices ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE cluster ADD COLUMN incomplete TEXT;
    ALTER TABLE cluster ADD COLUMN incomplete_message TEXT;
    ALTER TABLE cluster ADD COLUMN commits_lost INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE cluster ADD COLUMN unknown_deleted INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE job_status ADD COLUMN counts TEXT NOT NULL DEFAULT '';
    UPDATE job_status SET counts = coalesce((
        SELECT group_concat(state || '=' || n, ' ') FROM (
            SELECT state, count(*) AS n FROM tasks
            WHERE tasks.job_id = job_status.job_id GROUP BY state)), '');
    """,
)

NEVER_LOADED = frozenset({"past"})
# By kind, what of a table is loaded; of all others everything. Tasks of jobs that have
# ended are left out, but for those whose log is not here: `restore` has no use for them.
LOADED = {
    "task": """
        WHERE job_id NOT IN (SELECT job_id FROM job_status WHERE finished_ms IS NOT NULL)
            OR job_id IN (SELECT job_id FROM jobs WHERE adopted)
            OR (NOT log_stored AND log_bytes > 0)
        ORDER BY job_id, task_index""",
    "event": "ORDER BY event_id DESC LIMIT 1",
}


class StoreError(Exception):
    """The store cannot be used; the message is for the operator."""


class Store:
    """One cluster's database. Not thread-safe: one thread owns it after `open`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._commit = 0
        self._insert = {t.name: _insert_sql(t) for t in TABLES.values()}
        self._delete = {t.name: _delete_sql(t) for t in TABLES.values()}

    def open(self) -> None:
        """Opens or makes the database and brings its schema up to date.

        Raises:
            StoreError: it cannot be opened, is damaged, or is newer than this program.
        """
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA busy_timeout=2000")
            self._migrate(self._db)
            self._commit = self.get_meta("commit")
        except sqlite3.Error as error:
            self.close()
            raise StoreError(f"{self._path}: {error}") from error
        except StoreError:
            self.close()
            raise

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self._path}: schema version {version} is newer than this program's ({len(MIGRATIONS)}); "
                "install the release that wrote it"
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            db.executescript(f"BEGIN; {script} PRAGMA user_version={number}; COMMIT;")

    @property
    def db(self) -> sqlite3.Connection:
        """The open connection."""
        if self._db is None:
            raise StoreError(f"{self._path}: not open")
        return self._db

    def close(self) -> None:
        """Closes the database; what was committed stays."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def claim(self, cluster_id: str) -> None:
        """Makes a new store this cluster's.

        Raises:
            StoreError: it is another cluster's.
        """
        self.db.execute("INSERT OR IGNORE INTO owner VALUES (0, ?)", (cluster_id,))
        (owner,) = self.db.execute("SELECT cluster_id FROM owner").fetchone()
        if owner != cluster_id:
            raise StoreError(
                f"{self._path}: belongs to cluster {owner}, and the keys are those of {cluster_id}; "
                "bring back the keys, or move this state directory away to start anew"
            )

    def get_meta(self, key: str) -> int:
        """A number beside the tables, such as the epoch; 0 if it was never set."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return 0 if row is None else int(row[0])

    def set_meta(self, key: str, value: int) -> None:
        """Commits a number beside the tables."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def load(self) -> list[Row]:
        """Every row that something can still happen to, and the last event."""
        rows: list[Row] = []
        for kind, table in TABLES.items():
            if kind in NEVER_LOADED:
                continue
            order = ", ".join(table.key_columns)
            rest = LOADED.get(kind, f"ORDER BY {order}")
            cursor = self.db.execute(f"SELECT {table.names} FROM {table.name} {rest}")
            rows += [table.decode(values) for values in cursor]
        return rows

    def history(self) -> History:
        """The rest, to be read beside it."""
        return History(self._path)

    @property
    def commit_number(self) -> int:
        """The number of the last batch that was committed; 0 before the first."""
        return self._commit

    def commit(self, writes: Iterable[RowWrite], number: int = 0) -> int:
        """Commits a batch durably under the next number, or one above; returns it.

        Raises:
            sqlite3.Error: nothing of the batch is in the store.
        """
        number = max(number, self._commit + 1)
        by_statement: dict[str, list[tuple[object, ...]]] = {}
        for table, key, values in writes:
            sql = self._delete[table] if values is None else self._insert[table]
            by_statement.setdefault(sql, []).append(key if values is None else values)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for sql, batch in by_statement.items():
                self.db.executemany(sql, batch)
            self.set_meta("commit", number)
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        self._commit = number
        return number


def _insert_sql(table: Table) -> str:
    marks = ", ".join("?" * len(table.key_columns + table.columns))
    return f"INSERT OR REPLACE INTO {table.name} ({table.names}) VALUES ({marks})"


def _delete_sql(table: Table) -> str:
    where = " AND ".join(f"{column} = ?" for column in table.key_columns)
    return f"DELETE FROM {table.name} WHERE {where}"
