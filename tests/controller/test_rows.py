"""Rows of the core and rows of tables: every entity there and back, and deletions."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_controller.codec.rows import TABLES, RowWrite, writes
from iris_controller.core.entities import Row
from iris_controller.core.values import Place
from tests.controller.drawn import ROWS, key_of, quick
from tests.controller.worlds import world

PLAIN = (str, int, bytes, type(None))


def test_every_kind_of_row_is_drawn_here_and_has_a_table() -> None:
    assert ROWS.keys() == TABLES.keys()
    assert len(get_args(Row)) == len(TABLES)
    assert len({table.name for table in TABLES.values()}) == len(TABLES)


@pytest.mark.parametrize("kind", ROWS)
@quick
@given(data=st.data())
def test_a_row_comes_back_as_it_was_and_goes_by_its_key(kind: str, data: st.DataObject) -> None:
    row = data.draw(ROWS[kind])
    table, key = TABLES[kind], (kind, key_of(kind, row))
    (write,) = writes({key: row})
    assert write.table == table.name
    assert write.values is not None and table.decode(write.values) == row
    assert write.values[: len(write.key)] == write.key
    assert len(write.values) == len(table.key_columns + table.columns)
    assert all(type(value) in PLAIN for value in write.values)
    assert writes({key: None}) == [RowWrite(table.name, write.key, None)]


def test_changes_keep_their_order() -> None:
    changes: dict[tuple[str, object], Any] = {("worker", Place("b", 1)): None, ("slice", "a"): None}
    assert [write.table for write in writes(changes)] == ["workers", "slices"]


def test_a_state_that_nobody_knows_is_an_error() -> None:
    w = world()
    w.submit()
    (write,) = writes({("slice", w.only): w.world.slices[w.only]})
    assert write.values is not None
    values = tuple("MELTED" if value == "REQUESTING" else value for value in write.values)
    with pytest.raises(KeyError, match="MELTED"):
        TABLES["slice"].decode(values)
