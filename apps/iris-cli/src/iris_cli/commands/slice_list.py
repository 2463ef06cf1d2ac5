"""`iris slice list`."""

from __future__ import annotations

import time
from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.listings import list_slices
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import duration, moment_text, seconds_of, short_name, why_words
from iris_proto.v1.controller_pb2 import Slice, SliceState

HEADERS = ("SLICE", "GROUP", "ZONE", "STATE", "FOR", "HOSTS", "TASKS", "REASON")
WIDE_HEADERS = (*HEADERS, "REQUESTED")


def run(options: Namespace) -> int:
    """List slices."""
    output = Output(options)
    with Controller(find_cluster(options)).connect() as connection:
        response = list_slices(connection, gone=options.all)
    if output.structured:
        output.message(response)
        return 0
    now = time.time()
    rows = [_row(entry, now, output.wide) for entry in response.slices]
    output.table(WIDE_HEADERS if output.wide else HEADERS, rows, "no slices")
    return 0


def _row(entry: Slice, now: float, wide: bool) -> tuple[str, ...]:
    state = short_name(SliceState, entry.state)
    why = why_words(state, entry.reason, entry.message)
    since = duration(now - seconds_of(entry.changed_at)) if entry.HasField("changed_at") else ""
    row = (
        entry.name,
        entry.scale_group,
        entry.zone,
        state,
        since,
        f"{entry.hosts_registered}/{entry.hosts}",
        str(entry.live_attempts),
        why,
    )
    if not wide:
        return row
    return (*row, moment_text(entry.requested_at) if entry.HasField("requested_at") else "")
