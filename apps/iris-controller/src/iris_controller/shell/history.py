"""What was: events, attempts that newer ones replaced, jobs that ended. Read when somebody asks.

A connection of its own that can only read, on a thread of its own: SQLite's
readers neither wait for its writer nor hold it up, and see what is committed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from iris_controller.codec.rows import TABLES
from iris_controller.core.entities import Attempt, PastAttempt, Record, Task
from iris_controller.core.values import TaskId


class History:
    """The past of one store, which is there. Belongs to the event loop's thread."""

    def __init__(self, path: Path) -> None:
        self._uri = path.absolute().as_uri() + "?mode=ro"
        self._db: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")

    async def records(self, after: int, most: int) -> list[Record]:
        """The oldest events after one, so many at most."""
        rows = await self._ask("event", "event_id > ? ORDER BY event_id LIMIT ?", after, most)
        return [row for row in rows if isinstance(row, Record)]

    async def tasks(self, job_id: str) -> list[Task]:
        """A job's tasks that have a row, by index."""
        rows = await self._ask("task", "job_id = ? ORDER BY task_index", job_id)
        return [row for row in rows if isinstance(row, Task)]

    async def past_attempts(self, task_id: TaskId) -> list[Attempt]:
        """All attempts of a task that newer ones replaced, oldest first."""
        where = "job_id = ? AND task_index = ? ORDER BY epoch, number"
        rows = await self._ask("past", where, *task_id)
        return [row.attempt for row in rows if isinstance(row, PastAttempt)]

    async def _ask(self, kind: str, where: str, *values: object) -> list[Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, kind, where, values)

    def _read(self, kind: str, where: str, values: tuple[object, ...]) -> list[Any]:
        if self._db is None:
            self._db = sqlite3.connect(self._uri, uri=True, isolation_level=None)
            self._db.execute("PRAGMA busy_timeout=2000")
        table = TABLES[kind]
        select = f"SELECT {table.names} FROM {table.name} WHERE {where}"
        # All at once: an open cursor would keep the WAL from being emptied.
        found = self._db.execute(select, values).fetchall()
        return [table.decode(row) for row in found]

    async def close(self) -> None:
        """Ends the thread after what it is reading."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
