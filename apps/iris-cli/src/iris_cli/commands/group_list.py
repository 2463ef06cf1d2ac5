"""`iris group list`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable

from iris_cli.client import Controller
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import clip, reason_words, short_name
from iris_proto.v1.controller_pb2 import GroupAvailability, ListScaleGroupsRequest, ScaleGroup

HEADERS = ("GROUP", "PROVIDER", "SLICES", "READY", "WANTED", "LIMITS", "STATE", "REASON")
REASON_WIDTH = 60


def run(options: Namespace) -> int:
    """List scale groups."""
    output = Output(options)
    with Controller(find_cluster(options)).connect() as connection:
        response = connection.call(connection.stub.ListScaleGroups, ListScaleGroupsRequest())
    if output.structured:
        output.message(response)
    else:
        output.table(HEADERS, group_rows(response.scale_groups, output), "no scale groups")
    return 0


def group_rows(groups: Iterable[ScaleGroup], output: Output) -> list[tuple[str, ...]]:
    """A row for each group."""
    return [_row(group, output.wide) for group in groups]


def _row(group: ScaleGroup, wide: bool) -> tuple[str, ...]:
    why = reason_words(group.reason, group.message)
    return (
        group.name,
        group.provider,
        str(group.slices),
        str(group.ready_slices),
        str(group.wanted_slices),
        f"{group.min_slices}-{group.max_slices}",
        short_name(GroupAvailability, group.availability),
        why if wide else clip(why, REASON_WIDTH),
    )
