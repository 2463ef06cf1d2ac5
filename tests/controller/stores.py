"""Stores on a real disk, with a key that is always the same and nonces that count."""

import itertools
from collections.abc import Callable
from pathlib import Path

from iris_controller.codec.wire import job_spec_to_proto
from iris_controller.core.entities import Job
from iris_controller.shell.cipher import Cipher
from iris_controller.shell.store import Store

KEY = bytes(range(32))


def counting() -> Callable[[int], bytes]:
    """Never the same bytes again, and always the same ones."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


# One for all: two that count would use a nonce twice with one key.
CIPHER = Cipher(KEY, counting())


def opened(path: Path) -> Store:
    """The store that is there, or a new one."""
    store = Store(path)
    store.open()
    store.unlock(CIPHER)
    return store


def go_back(path: Path) -> None:
    """Makes a store one of schema version 3, which encrypted nothing."""
    store = opened(path)
    jobs = [row for row in store.load() if isinstance(row, Job)]
    plain = [(job_spec_to_proto(job.spec).SerializeToString(), job.job_id) for job in jobs]
    store.db.executemany("UPDATE jobs SET spec = ? WHERE job_id = ?", plain)
    store.db.execute("DROP TABLE sealed_with")
    store.db.execute("ALTER TABLE cluster DROP COLUMN paused_zones")
    store.db.execute("DROP TABLE standings")
    store.db.execute(
        "CREATE TABLE group_standings (name TEXT PRIMARY KEY, failures INTEGER NOT NULL,"
        " not_before_ms INTEGER NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL) WITHOUT ROWID"
    )
    store.db.execute("PRAGMA user_version=3")
    store.close()
