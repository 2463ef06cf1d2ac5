"""Commands for a cluster whose controller has a machine at Google's, which says no."""

from __future__ import annotations

import time

import pytest

from iris_platform.controller_vm.site import BACKUP_FILE, CloudMachine, Site, write_site
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.gcp.compute import Compute
from iris_platform.gcp.machine import GIB, Machine, disk_body
from iris_platform.gcp.session import open_session
from iris_platform.names import controller_labels, state_disk_name
from iris_platform.paths import ClusterPaths
from iris_platform.pki.authority import identity_in, new_backup
from tests.cli.runner import Runner
from tests.harness.cloud import CloudServer

ZONE, PROJECT = "us-west4-a", "test-project"
CONFIG = """\
name: far
controller: {{ gcp: {{ project_id: {project}, zone: {zone} }} }}
endpoints: {{ tpu: "{url}", compute: "{url}", certificates: "{url}" }}
scale_groups:
  tpus:
    provider: {{ tpu: {{ project_id: {project} }} }}
    accelerator_type: v5e-16
    zones: [{zone}]
    capacity: on_demand
"""


def started(iris: Runner, url: str) -> str:
    """What a start has written down here; the cluster's id."""
    (iris.home / "far.yaml").write_text(CONFIG.format(project=PROJECT, zone=ZONE, url=url))
    state = iris.home / "state"
    paths = ClusterPaths(state / "iris" / "far", state / "iris-pki" / "far", state / "iris-local" / "far")
    make_private_dir(paths.pki_dir)
    write_atomic(paths.pki_dir / BACKUP_FILE, new_backup("far", time.time()))
    cluster_id = identity_in("far", (paths.pki_dir / BACKUP_FILE).read_bytes()).cluster_id
    machine = CloudMachine(PROJECT, ZONE, url)
    write_site(paths, Site("10.0.0.2", 10400, cluster_id=cluster_id, machine=machine))
    return cluster_id


def test_a_permission_that_is_missing_is_named_with_its_place(iris: Runner) -> None:
    with CloudServer() as cloud:
        started(iris, cloud.url)
        cloud.client.fault("error", "instances.*", code=7, count=None)
        done = iris("--config", "far.yaml", "cluster", "stop", "-y")
    assert done.status == 1
    assert f"cannot read zones/{ZONE}/instances/" in done.err
    assert f"of project {PROJECT}" in done.err and "docs/gcp.md" in done.err


def test_a_disk_that_stays_is_named_with_the_command(iris: Runner) -> None:
    with CloudServer() as cloud:
        cluster_id = started(iris, cloud.url)
        labels, disk = controller_labels("far", cluster_id), state_disk_name(cluster_id)
        machine = Machine(
            PROJECT, ZONE, "", disk, "e2", "debian", 20 * GIB, 20 * GIB, "default", labels=labels
        )
        with open_session(cloud.url) as session:
            Compute(cloud.url, PROJECT, session).insert(ZONE, "disks", disk_body(machine))
        cloud.client.fault("error", "disks.delete", code=7, count=None)
        done = iris("--config", "far.yaml", "cluster", "stop", "--forget", "-y")
        assert done.status == 6
        assert f"cannot delete zones/{ZONE}/disks/{disk} of project {PROJECT}" in done.err
        assert "iris --config far.yaml cluster stop -y --forget" in done.err
        cloud.client.clear_faults()
        again = iris("--config", "far.yaml", "cluster", "stop", "--forget", "-y")
    assert again.status == 0, again.err


@pytest.mark.parametrize("words", [("status",), ("stop", "-y"), ("start",)])
def test_without_credentials_no_command_is_a_defect(iris: Runner, words: tuple[str, ...]) -> None:
    started(iris, "https://compute.invalid")
    done = iris("--config", "far.yaml", "cluster", *words)
    assert done.status not in (0, 6), done.text
    assert "defect" not in done.err and "Traceback" not in done.err
    assert "iris: " in done.err
