"""The controller's machine as Iris asks for it, on a bench that has it boot."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from iris_platform.gcp.compute import Compute
from iris_platform.gcp.machine import SSH_KEYS, Machine, disk_body, found_of, instance_body, metadata_body
from iris_platform.gcp.session import open_session
from tests.cloud.clients import ZONE
from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import BenchVms
from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab

MOUNTED = ("/var/lib/iris", "/var/lib/iris-pki")


@pytest.fixture
def vms(lab: Lab) -> BenchVms:
    return BenchVms(lab)


@pytest.fixture
def cloud(lab: Lab, vms: BenchVms) -> Generator[CloudServer]:
    with CloudServer(vms=vms, address=lab.address) as server:
        yield server


def wanted(cloud: CloudServer) -> Machine:
    return Machine(
        project=cloud.project,
        zone=ZONE,
        name="iris-controller",
        disk="iris-state",
        machine_type="e2-small",
        boot_image="projects/debian-cloud/global/images/family/debian-12",
        boot_disk_bytes=10 << 30,
        state_disk_bytes=10 << 30,
        network="default",
        labels={"iris-cluster": "c"},
    )


def await_success(host: Host, *argv: str) -> None:
    wait_until(lambda: host.run(argv).returncode == 0)


def test_state_outlives_the_machine_and_keys_let_in(cloud: CloudServer, vms: BenchVms, lab: Lab) -> None:
    machine = wanted(cloud)
    key = lab.user_key.with_suffix(".pub").read_text().strip()
    with open_session(cloud.url) as session:
        compute = Compute(cloud.url, cloud.project, session)
        compute.insert(ZONE, "disks", disk_body(machine))
        for turn in range(2):
            compute.insert(ZONE, "instances", instance_body(machine, f"iris-operator:{key}"))
            wait_until(lambda: vms.is_up(machine.name))
            host = vms.host(machine.name)
            for place in MOUNTED:
                await_success(host, "mountpoint", "-q", place)
            body = compute.get(ZONE, "instances", machine.name)
            assert body and found_of(body, ZONE).vm.address == host.address
            assert host.output("getent", "hosts", machine.host_name).split()[0] == host.address
            before = host.run(["cat", "/var/lib/iris/turns"]).stdout
            assert before == b"." * turn
            host.write("/var/lib/iris/turns", before + b".")
            assert host.output("id", "-un", "iris-operator").strip() == "iris-operator"
            found = found_of(body, ZONE)
            changed = metadata_body({**found.metadata, SSH_KEYS: f"other:{key}"}, found.fingerprint)
            compute.set_metadata(ZONE, machine.name, changed)
            await_success(host, "id", "other")
            assert [each["name"] for each in compute.list(ZONE, "instances", machine.labels)] == [
                machine.name
            ]
            compute.delete(ZONE, "instances", machine.name)
            wait_until(lambda: vms.is_gone(machine.name))
        compute.delete(ZONE, "disks", machine.disk)
    assert cloud.client.everything() == {}
    assert not any(call.credentials for call in cloud.client.calls())
