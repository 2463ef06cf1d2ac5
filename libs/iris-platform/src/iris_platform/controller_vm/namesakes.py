"""What controllers of clusters of one name have on Compute Engine, whichever cluster each is of."""

from __future__ import annotations

from collections.abc import Iterator

from iris_platform.gcp.compute import Compute
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID, LABEL_ROLE

# What Compute Engine calls them, and people.
KINDS = {"instances": "machine", "disks": "disk"}


def namesakes(compute: Compute, zone: str, cluster: str, kind: str) -> Iterator[tuple[str, str]]:
    """Each one's name and the id of its cluster.

    Raises:
        PlatformError: they cannot be listed.
    """
    for body in compute.list(zone, kind, {LABEL_CLUSTER: cluster, LABEL_ROLE: "controller"}):
        yield str(body["name"]), str((body.get("labels") or {}).get(LABEL_CLUSTER_ID, ""))
