"""Names and labels of everything that Iris makes (DESIGN 6).

Automatic deletion needs name and cluster id to match, so both are made and
read here only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

LABEL_CLUSTER = "iris-cluster"
LABEL_CLUSTER_ID = "iris-cluster-id"
LABEL_ROLE = "iris-role"
LABEL_GROUP = "iris-group"
LABEL_SLICE = "iris-slice"

# What the shell of an upload over SSH is called, for whoever looks for one that was broken off.
UPLOAD_MARK = "iris-put"

# Google limits TPU node names to 63 characters; queued resources add a suffix.
MAX_NAME_LENGTH = 61
# Room for the prefix, the cluster id, a 13-digit epoch and a 4-digit number.
MAX_GROUP_LENGTH = 24

_NAME = re.compile(r"iris-([a-z2-7]{10})-([a-z][a-z0-9-]*)-([0-9]+)-([0-9]+)")


class SliceName(NamedTuple):
    """The parts of a slice's name."""

    cluster_id: str
    group: str
    epoch: int
    number: int


def script_mark(role: str, cluster_id: str, root: str) -> str:
    """What the shell that runs a role's startup script over SSH is called; `root` empty: the host's choice."""
    return f"iris-{role}-{cluster_id}@{root}"


def group_part(group: str) -> str:
    """A scale group's name as it stands in slice names and label values."""
    return group.replace("_", "-")


def slice_name(cluster_id: str, group: str, epoch: int, number: int) -> str:
    """The name of a slice: unique for ever, since no epoch comes twice.

    Raises:
        ValueError: the name would be longer than every provider accepts.
    """
    name = f"iris-{cluster_id}-{group_part(group)}-{epoch}-{number}"
    if len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"slice name {name!r} has {len(name)} characters; at most {MAX_NAME_LENGTH} fit")
    return name


def parse_slice_name(name: str) -> SliceName | None:
    """The parts of a name that `slice_name` made; None for any other."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    cluster_id, group, epoch, number = match.groups()
    return SliceName(cluster_id, group, int(epoch), int(number))


def slice_labels(cluster: str, cluster_id: str, group: str, name: str) -> dict[str, str]:
    """The labels of a slice and of its hosts."""
    return {
        LABEL_CLUSTER: cluster,
        LABEL_CLUSTER_ID: cluster_id,
        LABEL_ROLE: "worker",
        LABEL_GROUP: group_part(group),
        LABEL_SLICE: name,
    }


def controller_name(cluster_id: str) -> str:
    """The name of a cloud's machine for the controller."""
    return f"iris-{cluster_id}-controller"


def state_disk_name(cluster_id: str) -> str:
    """The name of the disk that has a controller's state, and outlives its machine."""
    return f"iris-{cluster_id}-state"


def controller_labels(cluster: str, cluster_id: str) -> dict[str, str]:
    """The labels of a controller's machine and disk."""
    return {LABEL_CLUSTER: cluster, LABEL_CLUSTER_ID: cluster_id, LABEL_ROLE: "controller"}


def is_ours(name: str, labels: Mapping[str, str], cluster_id: str) -> bool:
    """Whether both the name and the labels carry this cluster's identity."""
    parts = parse_slice_name(name)
    return parts is not None and parts.cluster_id == cluster_id and labels.get(LABEL_CLUSTER_ID) == cluster_id
