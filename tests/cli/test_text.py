"""Words and tables."""

from __future__ import annotations

import json

import pytest

from iris_cli.documents import message_to_dict, render_document, render_item
from iris_cli.table import MOST_CELL, GrowingTable, clip_cells, render_fields, render_table
from iris_cli.text import clip, cpus, duration, plural, safe, short_name, size
from iris_proto.v1.controller_pb2 import ListJobsResponse, SliceState
from iris_proto.v1.job_pb2 import JobState


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0s"),
        (0.04, "0.0s"),
        (12.34, "12.3s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (245, "4m05s"),
        (3599.9, "1h00m"),
        (7_380, "2h03m"),
        (300_000, "3d11h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes_and_counts() -> None:
    assert [size(n) for n in (0, 1023, 1024, 1536, 8 << 30)] == ["0 B", "1023 B", "1 KiB", "1.5 KiB", "8 GiB"]
    assert [cpus(n) for n in (500, 1000, 1250)] == ["0.5", "1", "1.25"]
    assert [plural(n, "slice") for n in (0, 1, 2)] == ["0 slices", "1 slice", "2 slices"]


def test_states_are_short() -> None:
    assert short_name(SliceState, SliceState.SLICE_STATE_READY) == "READY"
    assert short_name(JobState, 99) == "#99"


def test_a_table() -> None:
    rows = [["j-1", "train", "RUNNING"], ["j-22", "a\nb\x1b[1m", ""]]
    assert render_table(["ID", "NAME", "STATE"], rows) == (
        "ID    NAME         STATE\n"
        "j-1   train        RUNNING\n"
        "j-22  a\\nb\\x1b[1m\n"
    )  # fmt: skip
    assert render_table(["A", "B"], []) == "A  B\n"


def test_a_long_cell_widens_no_other_row() -> None:
    rows = [["j-1", "n" * 900, "r" * 900], ["j-2", "short", "x"]]
    clipped = clip_cells(rows)
    assert clipped[0] == ("j-1", "n" * (MOST_CELL - 1) + "…", "r" * 900)
    # Where nothing is cut it sticks out of its column.
    _, first, second = render_table(["ID", "NAME", "REASON"], rows).splitlines()
    assert first == f"j-1  {rows[0][1]}  {rows[0][2]}"
    assert second == f"j-2  {'short':<{MOST_CELL}}  x"
    growing = GrowingTable(["A", "B"], [1, 1])
    assert growing.row(["n" * 900, "x"]) == f"{'n' * 900}  x"
    assert growing.row(["y", "x"]) == f"{'y':<{MOST_CELL}}  x"


def test_colours_do_not_move_columns() -> None:
    text = render_table(["S", "N"], [["OK", "1"], ["BAD", "2"]], lambda cell: f"<{cell}>")
    assert text == "S    N\n<OK>   <1>\n<BAD>  <2>\n"


def test_fields() -> None:
    assert render_fields([("id", "x"), ("longer", "y")]) == "id:      x\nlonger:  y\n"


def test_clipping_and_escaping() -> None:
    assert clip("abcdef", 4) == "abc…"
    assert safe("é ✓") == "é ✓"
    assert safe("\u202e\t") == "\\u202e\\t"


def test_documents_have_every_field_and_the_names_of_the_proto() -> None:
    response = ListJobsResponse()
    response.jobs.add(job_id="j", state=JobState.JOB_STATE_PENDING)
    value = message_to_dict(response)
    assert value["next_page_token"] == ""
    assert value["jobs"][0]["reason"] == "" and value["jobs"][0]["state"] == "JOB_STATE_PENDING"
    assert value["jobs"][0]["task_counts"] == []
    assert json.loads(render_document(value, "json")) == value
    assert render_item({"a": "é"}, "json") == '{"a": "é"}\n'
    assert render_item({"a": 1}, "yaml") == "---\na: 1\n"
