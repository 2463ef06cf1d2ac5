"""A store in memory that speaks in the real codec's rows, so every test world goes through it."""

from collections.abc import Iterator
from typing import Any

from iris_controller.codec.rows import TABLES, RowWrite, writes
from iris_controller.core.entities import Record, Row
from iris_controller.core.world import Changes


class RowsInMemory:
    """Tables of rows by key, loaded in the order of keys as SQLite does it."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {
            table.name: {} for table in TABLES.values()
        }

    def commit(self, changes: Changes) -> None:
        for table, key, values in writes(changes):
            if values is None:
                self._tables[table].pop(key, None)
            else:
                self._tables[table][key] = values

    def writes(self) -> list[RowWrite]:
        """Everything that is in it, as a store would be told of it."""
        return [
            RowWrite(table, key, values)
            for table, rows in self._tables.items()
            for key, values in rows.items()
        ]

    def records(self) -> list[Record]:
        """What happened, in order."""
        return [row for row in self.load() if isinstance(row, Record)]

    def load(self) -> Iterator[Row]:
        for table in TABLES.values():
            rows = self._tables[table.name]
            for key in sorted(rows):
                yield table.decode(rows[key])
