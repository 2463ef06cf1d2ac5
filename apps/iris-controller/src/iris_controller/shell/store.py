"""The controller's memory: SQLite, WAL, `synchronous=FULL`, one writer.

Knows tables and rows, not what they mean; what the codec calls sealed is
encrypted before SQLite sees it. Every method blocks and belongs on the one
store thread.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iris_controller.codec.rows import TABLES, RowWrite, Table, Values
from iris_controller.core.entities import Row
from iris_controller.shell.cipher import Cipher, NotSealed
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
    """
    CREATE TABLE sealed_with (id INTEGER PRIMARY KEY CHECK (id = 0), key_id TEXT NOT NULL);
    """,
    """
    ALTER TABLE cluster ADD COLUMN paused_zones TEXT NOT NULL DEFAULT '[]';
    """,
    # What was learned without a zone was learned of all of the group's.
    """
    CREATE TABLE standings (
        scale_group TEXT NOT NULL, zone TEXT NOT NULL, failures INTEGER NOT NULL,
        not_before_ms INTEGER NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL,
        PRIMARY KEY (scale_group, zone)) WITHOUT ROWID;
    INSERT INTO standings SELECT name, '', failures, not_before_ms, reason, message FROM group_standings;
    DROP TABLE group_standings;
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
        self._sealed = {self._insert[t.name]: t for t in TABLES.values() if t.sealed}
        self._cipher: Cipher | None = None

    @property
    def path(self) -> Path:
        """The database's main file."""
        return self._path

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

    @property
    def key_id(self) -> str:
        """Of the key that it is encrypted with; "" where there has been none yet."""
        row = self.db.execute("SELECT key_id FROM sealed_with").fetchone()
        return "" if row is None else str(row[0])

    def unlock(self, cipher: Cipher) -> None:
        """Takes the cipher of sealed columns: of the key with this `key_id`, or of the first.

        Raises:
            StoreError: it could not be noted as the first.
        """
        try:
            if not self.key_id:
                with self._transaction():
                    self._seal_everything(cipher)
            assert self.key_id == cipher.key_id, "who has the key compares it"
            if self.get_meta("tidy"):
                self._tidy()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        self._cipher = cipher

    def _seal_everything(self, cipher: Cipher) -> None:
        """What was written before there was a key."""
        for table in self._sealed.values():
            found = self.db.execute(f"SELECT {table.names} FROM {table.name}").fetchall()
            self.db.executemany(self._insert[table.name], [_seal(cipher, table, values) for values in found])
            if found:
                self.set_meta("tidy", 1)
        self.db.execute("INSERT INTO sealed_with VALUES (0, ?)", (cipher.key_id,))

    def _tidy(self) -> None:
        # A replaced row leaves its bytes behind, in the file and in the log.
        self.db.execute("VACUUM")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.set_meta("tidy", 0)

    @property
    def cipher(self) -> Cipher:
        """What seals."""
        if self._cipher is None:
            raise StoreError(f"{self._path}: has not been given its key")
        return self._cipher

    def get_meta(self, key: str) -> int:
        """A number beside the tables, such as the epoch; 0 if it was never set."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return 0 if row is None else int(row[0])

    def set_meta(self, key: str, value: int) -> None:
        """Commits a number beside the tables."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def load(self) -> list[Row]:
        """Every row that something can still happen to, and the last event.

        Raises:
            StoreError: a row cannot be decrypted.
        """
        rows: list[Row] = []
        for kind, table in TABLES.items():
            if kind in NEVER_LOADED:
                continue
            order = ", ".join(table.key_columns)
            rest = LOADED.get(kind, f"ORDER BY {order}")
            cursor = self.db.execute(f"SELECT {table.names} FROM {table.name} {rest}")
            found = (self._unseal(table, values) for values in cursor) if table.sealed else cursor
            rows += [table.decode(values) for values in found]
        return rows

    def _unseal(self, table: Table, values: Values) -> Values:
        try:
            return _replace(table, values, self.cipher.unseal)
        except NotSealed as error:
            key = ", ".join(map(str, values[: len(table.key_columns)]))
            raise StoreError(
                f"{self._path}: the row of {key} in {table.name} is damaged or was moved: it cannot be"
                " decrypted; restore the state directory from a backup"
            ) from error

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
        by_statement: dict[str, list[Values]] = {}
        for table, key, values in writes:
            sql = self._delete[table] if values is None else self._insert[table]
            by_statement.setdefault(sql, []).append(key if values is None else values)
        # Once for each statement, so that tables without secrets pay nothing for them.
        for sql in self._sealed.keys() & by_statement.keys():
            by_statement[sql] = [_seal(self.cipher, self._sealed[sql], row) for row in by_statement[sql]]
        with self._transaction():
            for sql, batch in by_statement.items():
                self.db.executemany(sql, batch)
            self.set_meta("commit", number)
        self._commit = number
        return number

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of what is done in it, or nothing."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise


def _seal(cipher: Cipher, table: Table, values: Values) -> Values:
    return _replace(table, values, cipher.seal)


def _replace(table: Table, values: Values, change: Callable[[Any, bytes], bytes]) -> Values:
    """A row with its sealed column changed. Whose it is goes along, so that rows cannot be swapped."""
    keys = len(table.key_columns)
    at = keys + table.columns.index(table.sealed)
    about = json.dumps([table.name, table.sealed, *values[:keys]]).encode("ascii")
    return (*values[:at], change(values[at], about), *values[at + 1 :])


def _insert_sql(table: Table) -> str:
    marks = ", ".join("?" * len(table.key_columns + table.columns))
    return f"INSERT OR REPLACE INTO {table.name} ({table.names}) VALUES ({marks})"


def _delete_sql(table: Table) -> str:
    where = " AND ".join(f"{column} = ?" for column in table.key_columns)
    return f"DELETE FROM {table.name} WHERE {where}"
