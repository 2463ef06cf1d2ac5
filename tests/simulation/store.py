"""The simulated store: the codec's tables as dictionaries of plain values.

A commit happens whole or not at all, and outlives every controller. Copies of
it can be taken, and brought back.
"""

from __future__ import annotations

from collections.abc import Iterable

from iris_controller.codec.rows import TABLES, RowWrite, Values
from iris_controller.core.entities import Row

_PLAIN = (int, str, bytes, type(None))


class Store:
    """What survives a crash of the controller; stands in for `shell.store.Store`."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Values, Values]] = {table.name: {} for table in TABLES.values()}
        self.meta: dict[str, int] = {}

    def copy(self) -> Store:
        """A copy of this moment."""
        other = Store()
        other.tables = {name: dict(rows) for name, rows in self.tables.items()}
        other.meta = dict(self.meta)
        return other

    def get_meta(self, key: str) -> int:
        """A number beside the tables; 0 if it was never set."""
        return self.meta.get(key, 0)

    def set_meta(self, key: str, value: int) -> None:
        """Commits a number beside the tables."""
        self.meta[key] = value

    @property
    def commit_number(self) -> int:
        """The number of the last batch; 0 before the first."""
        return self.get_meta("commit")

    def commit(self, writes: Iterable[RowWrite], number: int) -> int:
        """Takes a batch."""
        for table, key, values in writes:
            rows = self.tables[table]
            if values is None:
                rows.pop(key, None)
                continue
            assert all(isinstance(value, _PLAIN) for value in values), f"{table}: {values}"
            rows[key] = values
        self.meta["commit"] = number
        return number

    def load(self) -> list[Row]:
        """Every row, as the codec reads it, in the order of the keys."""
        return [
            table.decode(self.tables[table.name][key])
            for table in TABLES.values()
            for key in sorted(self.tables[table.name])
        ]
