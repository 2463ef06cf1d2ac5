"""`iris cluster status`."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence

from iris_cli.client import Controller
from iris_cli.commands.group_list import print_groups
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import duration, seconds_of, short_name
from iris_proto.v1.controller_pb2 import (
    ClusterPhase,
    GetClusterStatusRequest,
    GetClusterStatusResponse,
    ListScaleGroupsRequest,
)


def run(options: Namespace) -> int:
    """Show how the cluster is."""
    output = Output(options)
    cluster = find_cluster(options)
    with Controller(cluster).connect() as connection:
        status = connection.call(connection.stub.GetClusterStatus, GetClusterStatusRequest())
        if output.structured:
            output.message(status)
            return 0
        groups = connection.call(connection.stub.ListScaleGroups, ListScaleGroupsRequest())
    output.fields([*status_fields(status, time.time()), ("controller", connection.where)])
    output.line("")
    print_groups(groups.scale_groups, output)
    for problem in status.problems:
        output.note(f"problem: {problem}")
    return 0


def _stopped(zones: Sequence[str]) -> str:
    kind = "zone" if len(zones) == 1 else "zones"
    return f"{kind} {', '.join(zones)}, until the next cluster start" if zones else ""


def status_fields(status: GetClusterStatusResponse, now: float) -> list[tuple[str, str]]:
    """What there is to say about the cluster as a whole."""
    up = duration(now - seconds_of(status.started_at)) if status.HasField("started_at") else ""
    problems = len(status.problems)
    fields = [
        ("cluster", status.name),
        ("id", status.cluster_id),
        ("phase", short_name(ClusterPhase, status.phase)),
        ("version", status.version),
        ("epoch", str(status.epoch)),
        ("up for", up),
        ("stopped", _stopped(status.paused_zones)),
        ("jobs", f"{status.jobs_running} running, {status.jobs_pending} pending"),
        ("slices", str(status.slices)),
        ("workers", f"{status.workers_healthy} healthy"),
        ("problems", str(problems) if problems else "none"),
    ]
    return [(name, value) for name, value in fields if value]
