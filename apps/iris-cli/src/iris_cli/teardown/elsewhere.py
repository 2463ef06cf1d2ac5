"""What a stop of some zones must know of the others: a cluster is forgotten as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from iris_cli.exits import LEFT_OVER, CliError
from iris_cli.locate import Cluster
from iris_cli.teardown.look import Blind, Seen, look_at, look_beyond
from iris_cli.teardown.proof import left_lines, left_over
from iris_cli.teardown.scope import Place, Scope
from iris_cli.text import short_name
from iris_platform.local import Found
from iris_proto.v1.controller_pb2 import Slice, SliceState

GONE_GROUP = "no scale group of the configuration is there any more"


def look_into(sites: Sequence[Place], zones: Sequence[str], scope: Scope) -> list[Seen | Blind]:
    """A fresh look at these zones; blind where nothing says any more who provides one."""
    looks = look_at(sites, zones)
    looks += [
        Blind(zone, "unknown", GONE_GROUP)
        for zone in scope.untold
        if zone in zones and not any(site.zone == zone for site in sites)
    ]
    return looks


def left_in(
    looks: Iterable[Seen | Blind], census: Iterable[Found], told: Iterable[Slice], zones: Sequence[str]
) -> list[dict[str, str]]:
    """What is or may be in these zones: from the looks, the census, and a controller's word."""
    seen = list(looks)
    left = left_over([*seen, *look_beyond(census, seen, zones)], {})
    names = {entry["name"] for entry in left}
    left += [
        {"zone": entry.zone, "name": entry.name, "why": short_name(SliceState, entry.state)}
        for entry in told
        if entry.zone in zones and entry.name not in names
    ]
    return left


def refuse_to_forget(cluster: Cluster, cluster_id: str, left: Sequence[dict[str, str]]) -> None:
    """Without its keys nobody could prove that what is left elsewhere is this cluster's.

    Raises:
        CliError: something is `left`, or may be.
    """
    if not left:
        return
    raise CliError(
        LEFT_OVER,
        f"cluster {cluster.name} (id {cluster_id or 'not known'}) cannot be forgotten as long as it may have"
        " slices in other zones; nothing was changed",
        details=left_lines(left, cluster.command("cluster stop --forget")),
    )
