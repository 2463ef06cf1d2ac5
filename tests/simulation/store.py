"""The simulated store: the codec's tables as dictionaries of plain values.

A commit happens whole or not at all, and outlives every controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from iris_controller.codec.rows import TABLES, RowWrite, Values
from iris_controller.core.entities import Row

_PLAIN = (int, str, bytes, type(None))


class Store:
    """What survives a crash of the controller."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Values, Values]] = {table.name: {} for table in TABLES.values()}
        self.epoch = 0
        self.commit_number = 0

    def commit(self, writes: Iterable[RowWrite]) -> None:
        """Takes a batch."""
        for table, key, values in writes:
            rows = self.tables[table]
            if values is None:
                rows.pop(key, None)
                continue
            assert all(isinstance(value, _PLAIN) for value in values), f"{table}: {values}"
            rows[key] = values
        self.commit_number += 1

    def load(self) -> list[Row]:
        """Every row, as the codec reads it, in the order of the keys."""
        return [
            table.decode(self.tables[table.name][key])
            for table in TABLES.values()
            for key in sorted(self.tables[table.name])
        ]
