"""`iris group list`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable

from iris_cli.client import Controller
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import short_name, why_words
from iris_proto.v1.controller_pb2 import GroupAvailability, ListScaleGroupsRequest, ScaleGroup

HEADERS = ("GROUP", "PROVIDER", "SLICES", "READY", "WANTED", "LIMITS", "STATE", "REASON")
WIDE_HEADERS = (*HEADERS, "HOSTS", "ACCELERATOR")


def run(options: Namespace) -> int:
    """List scale groups."""
    output = Output(options)
    with Controller(find_cluster(options)).connect() as connection:
        response = connection.call(connection.stub.ListScaleGroups, ListScaleGroupsRequest())
    if output.structured:
        output.message(response)
    else:
        print_groups(response.scale_groups, output)
    return 0


def print_groups(groups: Iterable[ScaleGroup], output: Output) -> None:
    """A table with a row for each group."""
    rows = [_row(group, output.wide) for group in groups]
    output.table(WIDE_HEADERS if output.wide else HEADERS, rows, "no scale groups")


def _row(group: ScaleGroup, wide: bool) -> tuple[str, ...]:
    state = short_name(GroupAvailability, group.availability)
    row = (
        group.name,
        group.provider,
        str(group.slices),
        str(group.ready_slices),
        str(group.wanted_slices),
        f"{group.min_slices}-{group.max_slices}",
        state,
        why_words(state, group.reason, group.message),
    )
    return (*row, str(group.slice_size), group.accelerator_type) if wide else row
