"""`cluster gc`: what carries the cluster's identity, and is nobody's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_config import IrisConfig
from iris_platform import ClusterPaths, PlatformSettings, create_platform
from iris_platform.base import ClusterIdentity, HostResources, SliceSpec, StartFailed
from iris_platform.names import slice_labels, slice_name
from tests.harness.cluster import LocalCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    made = LocalCluster(tmp_path)
    made.iris("cluster", "start")
    yield made
    made.iris("cluster", "stop", "-y")
    assert made.processes() == {}
    made.destroy()


def orphan(cluster: LocalCluster) -> str:
    """A slice of this cluster that no controller asked for, and whose agent never came up."""
    state = cluster.home / "state"
    paths = ClusterPaths(
        cluster.state_dir, state / "iris-pki" / cluster.name, state / "iris-local" / cluster.name
    )
    identity = ClusterIdentity(cluster.name, cluster.json("cluster", "status")["cluster_id"])
    group = IrisConfig.from_json(paths.config_file.read_text()).scale_groups["here"]
    settings = PlatformSettings(
        group.provider, tuple(group.zones), identity, paths, agent_command=("/bin/false",), agent_start_s=5
    )
    name = slice_name(identity.cluster_id, "here", 1, 1)
    labels = slice_labels(identity.cluster, identity.cluster_id, "here", name)
    with pytest.raises(StartFailed):
        create_platform(settings).create_slice(SliceSpec(name, "here", 1, HostResources(1000), "cpu", labels))
    return name


def test_what_nobody_knows_is_named_and_removed(cluster: LocalCluster) -> None:
    assert cluster.iris("cluster", "gc").err.endswith("nothing of this cluster is without an owner\n")
    job_id = cluster.submit("--", "sleep", "600")
    name = orphan(cluster)
    found = cluster.iris("cluster", "gc", expect=6)
    assert found.out.startswith(f"slice {name} in zone local (") and "has no owner" in found.out
    assert "to remove it: iris" in found.err and "cluster gc --delete" in found.err
    document = cluster.json("cluster", "gc", "--delete", "-y")
    assert document == {"name": cluster.name, "orphans": [], "deleted": [name]}
    # Whose task runs has an owner.
    (task,) = cluster.json("job", "show", job_id)["tasks"]
    assert task["state"] in (
        "TASK_STATE_ASSIGNED",
        "TASK_STATE_PREPARING",
        "TASK_STATE_RUNNING",
        "TASK_STATE_PENDING",
    )
    cluster.iris("job", "stop", job_id)


def test_without_a_controller_nobody_knows(cluster: LocalCluster) -> None:
    cluster.kill_controller()
    refused = cluster.iris("cluster", "gc", "--delete", "-y", expect=5)
    assert "only the controller knows what has an owner" in refused.err
    # Nothing is looked for without it, and what is missing is the controller.
    assert "looked for without it" not in refused.err
    assert "cluster start" in refused.err and "cluster stop" not in refused.err
