"""`cluster stop` where its keys are not: on another laptop, or after they were lost. Machines are on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_config import load_config
from iris_platform import ClusterPaths
from iris_platform.controller_vm.site import site_of_id, write_site
from iris_platform.gcp.compute import Compute
from iris_platform.gcp.machine import Machine, disk_body, instance_body
from iris_platform.gcp.session import open_session
from iris_platform.names import controller_labels, controller_name, slice_labels, slice_name, state_disk_name
from tests.cloud.clients import TpuUser
from tests.harness.cloud import CloudServer
from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.ports import free_port

ZONE, OTHER_ZONE = "us-central1-a", "us-west4-a"
OLD = "abcdefghij"
CONFIG = """\
name: {name}
controller: {controller}
endpoints: {{ tpu: "{url}", compute: "{url}", certificates: "{url}" }}
scale_groups:
  v5e:
    provider: {{ tpu: {{ project_id: test-project }} }}
    accelerator_type: v5litepod-16
    zones: [{zone}, {other}]
    max_slices: 1
timeouts: {{ stop_grace: 2s }}
"""
HERE = "{{ local: {{}}, advertise_address: '192.0.2.1:{port}' }}"
THERE = "{ gcp: { project_id: test-project, zone: us-central1-a } }"


@pytest.fixture
def cloud() -> Iterator[CloudServer]:
    with CloudServer() as server:
        yield server


@pytest.fixture
def cluster(tmp_path: Path, cloud: CloudServer) -> Iterator[LocalCluster]:
    """A home that has started nothing, and a configuration with its controller here."""
    made = LocalCluster(tmp_path)
    configure(made, cloud, HERE.format(port=free_port(together=2)))
    yield made
    made.iris("cluster", "stop", "-y", expect=None)
    assert made.processes() == {}
    made.destroy()


def configure(cluster: LocalCluster, cloud: CloudServer, controller: str) -> None:
    text = CONFIG.format(name=cluster.name, controller=controller, url=cloud.url, zone=ZONE, other=OTHER_ZONE)
    cluster.config.write_text(text)


def add_node(cloud: CloudServer, name: str = "", labels: dict[str, str] | None = None) -> str:
    """A node in the second zone; if nothing else is said, a slice of an id that nobody has the keys of."""
    name = name or slice_name(OLD, "v5e", 1, 1)
    labels = slice_labels("test", OLD, "v5e", name) if labels is None else labels
    client = TpuUser(cloud, "grpc")
    try:
        client.create(name, OTHER_ZONE, labels=labels)
        cloud.client.wait_node(OTHER_ZONE, name, "READY")
    finally:
        client.close()
    return name


def add_machine(cloud: CloudServer, *, running: bool) -> None:
    """The disk of a controller of that id, and its machine if it is `running`."""
    machine = Machine(
        *("test-project", ZONE, controller_name(OLD), state_disk_name(OLD), "e2-small"),
        boot_image="projects/debian-cloud/global/images/family/debian-12",
        boot_disk_bytes=10 << 30,
        state_disk_bytes=10 << 30,
        network="default",
        labels=controller_labels("test", OLD),
    )
    with open_session(cloud.url) as session:
        compute = Compute(cloud.url, "test-project", session)
        compute.insert(ZONE, "disks", disk_body(machine))
        if running:
            compute.insert(ZONE, "instances", instance_body(machine, ""))


def test_a_home_that_never_started_it_looks_and_names_the_id(
    cluster: LocalCluster, cloud: CloudServer
) -> None:
    assert "nothing of its name is in its zones" in cluster.iris("cluster", "stop", "-y").err
    name = add_node(cloud)
    for more in (("-y",), ("--dry-run",)):
        found = cluster.iris("cluster", "stop", *more, expect=6)
        assert f"left in zone {OTHER_ZONE}: slice {name} (carries cluster id {OLD})" in found.err
        assert f"cluster stop -y --cluster-id {OLD}" in found.err
    assert len(cloud.client.nodes()) == 1 and not cluster.state_dir.exists()
    # A zone that cannot be looked at is not empty.
    down = cloud.client.fault("error", zone=ZONE, code=7, count=None)
    assert f"left in zone {ZONE}: not known" in cluster.iris("cluster", "stop", "-y", expect=6).err
    cloud.client.remove_fault(down)
    done = cluster.iris("cluster", "stop", "-y", "--cluster-id", OLD)
    assert f"zone {OTHER_ZONE}: 0 slices, 0 agents" in done.out
    assert cloud.client.nodes() == {}


def test_an_older_id_beside_new_keys_is_seen_and_goes(cluster: LocalCluster, cloud: CloudServer) -> None:
    name = add_node(cloud)
    cluster.iris("cluster", "start")
    wait_until(lambda: OLD in str(cluster.json("cluster", "status")["problems"]))
    found = cluster.iris("cluster", "stop", "-y", expect=6)
    assert f"slice {name} is left: it carries cluster id {OLD}" in found.out
    done = cluster.iris("cluster", "stop", "-y", "--cluster-id", OLD)
    assert f"delete slice {name} in zone {OTHER_ZONE}" in done.out
    assert cloud.client.nodes() == {}


def test_what_is_ours_by_half_is_named(cluster: LocalCluster, cloud: CloudServer) -> None:
    cluster.iris("cluster", "start")
    cluster_id = cluster.json("cluster", "status")["cluster_id"]
    cluster.kill_controller()
    name = add_node(cloud, slice_name(cluster_id, "v5e", 1, 77), {"team": "blue"})
    left = cluster.iris("cluster", "stop", "-y", "--forget", expect=6)
    assert f"left in zone {OTHER_ZONE}: slice {name} (node: name and labels do not both" in left.err
    assert len(cloud.client.nodes()) == 1 and cluster.state_dir.exists()


def test_a_refused_stop_changes_nothing_and_stays_refused(cluster: LocalCluster, cloud: CloudServer) -> None:
    configure(cluster, cloud, THERE)
    add_machine(cloud, running=True)
    before = cloud.client.everything()
    for more in (("--dry-run",), ("-y",), ("-y", "--forget")):
        refused = cluster.iris("cluster", "stop", *more, expect=6)
        assert "its keys are not here; nothing was changed" in refused.err
        assert "cluster login" in refused.err
    assert cloud.client.everything() == before
    assert not (cluster.state_dir / "site.json").exists()
    # Also where a login was begun that came to nothing, or the keys were lost later.
    paths = ClusterPaths(cluster.state_dir, cluster.home / "state/iris-pki/test", cluster.home / "state/x")
    write_site(paths, site_of_id(load_config(cluster.config).proto, OLD))
    for _ in range(2):
        refused = cluster.iris("cluster", "stop", "-y", expect=6)
        assert "its keys are not here; nothing was changed" in refused.err
        assert (
            f"if they are lost: iris --config {cluster.config} cluster stop --cluster-id {OLD}" in refused.err
        )
    assert cloud.client.everything() == before
    done = cluster.iris("cluster", "stop", "-y", "--forget", "--cluster-id", OLD)
    assert "controller: not running" in done.out
    assert cloud.client.everything() == {}


def test_a_disk_that_is_left_is_named_and_goes(cluster: LocalCluster, cloud: CloudServer) -> None:
    configure(cluster, cloud, THERE)
    add_machine(cloud, running=False)
    add_node(cloud)
    found = cluster.iris("cluster", "stop", "-y", expect=6)
    assert f"left: disk {state_disk_name(OLD)}" in found.err and f"id {OLD}" in found.err
    assert f"cluster stop -y --forget --cluster-id {OLD}" in found.err
    cluster.iris("cluster", "stop", "-y", "--forget", "--cluster-id", OLD)
    assert cloud.client.everything() == {}
    assert "nothing to stop" in cluster.iris("cluster", "stop", "-y").err
