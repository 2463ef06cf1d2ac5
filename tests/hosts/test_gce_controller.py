"""A controller on a machine of its own in the cloud, and TPU slices beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import BenchVms
from tests.harness.cluster import LocalCluster
from tests.harness.hosts import Lab
from tests.hosts.walking import walk

ZONE = "us-central1-a"
CONFIG = """\
name: {name}
controller: {{ gcp: {{ project_id: test-project, zone: {zone} }} }}
endpoints: {{ tpu: "{url}", compute: "{url}", certificates: "{url}" }}
scale_groups:
  v5e:
    provider: {{ tpu: {{ project_id: test-project }} }}
    accelerator_type: v5litepod-16
    zones: [{zone}]
    max_slices: 1
    idle_timeout: 5s
timeouts: {{ beat_interval: 500ms, suspect_after: 5s, stop_grace: 2s }}
"""


@pytest.fixture
def cloud(lab: Lab) -> Iterator[CloudServer]:
    with CloudServer(vms=BenchVms(lab), address=lab.address) as server:
        yield server


@pytest.fixture
def cluster(tmp_path: Path, cloud: CloudServer) -> Iterator[LocalCluster]:
    made = LocalCluster(tmp_path)
    made.config.write_text(CONFIG.format(name=made.name, url=cloud.url, zone=ZONE))
    yield made
    made.iris("cluster", "stop", "-y", "--forget", expect=None)
    assert made.processes() == {}
    made.destroy()


def test_from_nothing_to_nothing(cluster: LocalCluster, cloud: CloudServer) -> None:
    planned = cluster.iris("cluster", "start", "--dry-run").out
    assert "make a disk of 20 GiB" in planned and "make a machine e2-standard-4" in planned
    assert cloud.client.everything() == {}
    started = cluster.iris("cluster", "start").err
    cluster_id = cluster.json("cluster", "status")["cluster_id"]
    machine, disk = f"iris-{cluster_id}-controller", f"iris-{cluster_id}-state"
    assert f"make machine {machine} in {ZONE}: done" in started
    assert owned(cloud) == {machine: "RUNNING", disk: "READY"}
    # Again it is there already, and nothing more is made.
    assert "is running already" in cluster.iris("cluster", "start").err
    done = cluster.iris(
        "job", "run", "--accelerator", "v5litepod-16", "--", "sh", "-c", "echo $TPU_WORKER_ID"
    )
    assert sorted(done.out.splitlines()) == ["[0] 0", "[1] 1", "[2] 2", "[3] 3"]
    planned = cluster.iris("cluster", "stop", "--dry-run").out
    assert f"kept: state in disk {disk} in {ZONE}" in planned
    stopped = cluster.iris("cluster", "stop", "-y")
    assert f"zone {ZONE}: 0 slices, 0 agents\ncontroller: not running\n" in stopped.out
    assert owned(cloud) == {disk: "READY"}
    forgotten = cluster.iris("cluster", "stop", "-y", "--forget").out
    assert forgotten.count(f"remove disk {disk}") == 1 and "kept" not in forgotten
    assert cloud.client.everything() == {}
    assert not cluster.state_dir.exists()


def test_the_walk_through(cluster: LocalCluster, cloud: CloudServer) -> None:
    endpoints = ", ".join(f'{api}: "{cloud.url}"' for api in ("tpu", "compute", "certificates"))
    replaced = {"my-project": "test-project", "name: tpu\n": f"name: tpu\nendpoints: {{ {endpoints} }}\n"}
    said = walk(cluster, replaced, "gcp.md", "## From a project to a job, and back")
    assert [f"[{index}] worker {index} of 10." in said for index in range(4)] == [True] * 4
    assert "zone europe-west4-b: 0 slices, 0 agents\ncontroller: not running\n" in said
    assert cloud.client.everything() == {}


def test_state_outlives_the_machine_and_others_log_in(
    cluster: LocalCluster, cloud: CloudServer, tmp_path: Path
) -> None:
    cluster.iris("cluster", "start")
    cluster_id = cluster.json("cluster", "status")["cluster_id"]
    # Waits for a group that has none of its kind now.
    cloud.client.set_capacity(ZONE, "v5litepod-16", 0)
    job_id = cluster.submit("--accelerator", "v5litepod-16", "--", "true")
    cluster.iris("cluster", "stop", "-y")
    cluster.iris("cluster", "start")
    assert cluster.json("cluster", "status")["cluster_id"] == cluster_id
    assert [job["job_id"] for job in cluster.json("job", "list")["jobs"]] == [job_id]
    (tmp_path / "other").mkdir()
    other = LocalCluster(tmp_path / "other")
    other.config.write_text(cluster.config.read_text())
    assert "its keys are not here; nothing was changed" in other.iris("cluster", "stop", "-y", expect=6).err
    other.iris("cluster", "login")
    assert other.json("cluster", "status")["cluster_id"] == cluster_id
    other.iris("cluster", "stop", "-y", "--forget")
    assert cloud.client.everything() == {}


def owned(cloud: CloudServer) -> dict[str, str]:
    """What costs somebody something, by its short name, with its state."""
    return {full.rpartition("/")[2]: state for full, state in cloud.client.everything().items()}
