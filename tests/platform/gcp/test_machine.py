"""What is asked of Compute Engine for the controller's machine, and what it says of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from iris_platform.base import PlatformError, VmState
from iris_platform.gcp.machine import (
    GIB,
    STATES,
    Machine,
    disk_body,
    found_of,
    instance_body,
    metadata_body,
    operation_problem,
    with_ssh_key,
)
from iris_platform.gcp.mount import DISK_NAME, MOUNT_SCRIPT

MACHINE = Machine(
    project="my-project",
    zone="europe-west4-b",
    name="iris-abcdefghij-controller",
    disk="iris-abcdefghij-state",
    machine_type="e2-standard-4",
    boot_image="projects/debian-cloud/global/images/family/debian-12",
    boot_disk_bytes=20 * GIB,
    state_disk_bytes=20 * GIB + 1,
    network="default",
    labels={"iris-cluster": "demo"},
)


def test_the_disk_holds_what_was_asked_for() -> None:
    assert disk_body(MACHINE) == {
        "name": "iris-abcdefghij-state",
        "sizeGb": "21",
        "type": "projects/my-project/zones/europe-west4-b/diskTypes/pd-balanced",
        "labels": {"iris-cluster": "demo"},
        "description": "State and keys of an Iris cluster's controller.",
    }


def test_the_machine_as_it_is_asked_for() -> None:
    body = instance_body(MACHINE, "me:ssh-ed25519 AAAA me")
    metadata = {item["key"]: item["value"] for item in body.pop("metadata")["items"]}
    assert metadata == {
        "startup-script": MOUNT_SCRIPT,
        "ssh-keys": "me:ssh-ed25519 AAAA me",
        "block-project-ssh-keys": "TRUE",
        "enable-oslogin": "FALSE",
    }
    assert body == {
        "name": "iris-abcdefghij-controller",
        "machineType": "zones/europe-west4-b/machineTypes/e2-standard-4",
        "description": "The controller of an Iris cluster.",
        "labels": {"iris-cluster": "demo"},
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": "projects/debian-cloud/global/images/family/debian-12",
                    "diskSizeGb": "20",
                    "labels": {"iris-cluster": "demo"},
                },
            },
            {
                "source": "projects/my-project/zones/europe-west4-b/disks/iris-abcdefghij-state",
                "deviceName": "iris-state",
                "autoDelete": False,
            },
        ],
        "networkInterfaces": [
            {
                "network": "projects/my-project/global/networks/default",
                "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}],
            }
        ],
        "serviceAccounts": [
            {"email": "default", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
        ],
        "scheduling": {"automaticRestart": True, "onHostMaintenance": "MIGRATE"},
    }


def test_a_network_of_ones_own() -> None:
    shared = "projects/host-project/global/networks/shared"
    machine = replace(
        MACHINE, network=shared, subnetwork="tpus", external_addresses=False, service_account="me@x"
    )
    body = instance_body(machine, "")
    assert body["networkInterfaces"] == [
        {"network": shared, "subnetwork": "projects/my-project/regions/europe-west4/subnetworks/tpus"}
    ]
    assert body["serviceAccounts"][0]["email"] == "me@x"


@pytest.mark.parametrize(
    ("project", "domain"), [("my-project", "my-project"), ("example.com:tpus", "tpus.example.com")]
)
def test_the_name_that_its_network_knows(project: str, domain: str) -> None:
    name = replace(MACHINE, project=project).host_name
    assert name == f"iris-abcdefghij-controller.europe-west4-b.c.{domain}.internal"


INSTANCE = {
    "id": "4567",
    "name": "iris-abcdefghij-controller",
    "status": "RUNNING",
    "creationTimestamp": "2026-11-22T10:00:00.500Z",
    "labels": {"iris-cluster-id": "abcdefghij"},
    "networkInterfaces": [{"networkIP": "10.0.0.2", "accessConfigs": [{"natIP": "203.0.113.9"}]}],
    "metadata": {"fingerprint": "fp", "items": [{"key": "ssh-keys", "value": "a:k"}]},
}


def test_a_machine_that_is_there() -> None:
    found = found_of(INSTANCE, "europe-west4-b")
    assert (found.vm.address, found.external_address, found.machine_id) == ("10.0.0.2", "203.0.113.9", "4567")
    assert (found.vm.state, found.vm.created_at_ms) == (VmState.RUNNING, 1_795_341_600_500)
    assert (found.metadata, found.fingerprint) == ({"ssh-keys": "a:k"}, "fp")


def test_a_machine_that_has_next_to_nothing_yet() -> None:
    body = {"name": "x", "status": "PROVISIONING", "creationTimestamp": "2026-11-22T10:00:00.500-07:00"}
    found = found_of(body, "z")
    assert (found.vm.state, found.external_address, found.metadata) == (VmState.BOOTING, "", {})
    with pytest.raises(PlatformError, match="RFC 3339, found 'soon'"):
        found_of({"name": "x", "creationTimestamp": "soon"}, "z")


def test_every_documented_state_has_a_meaning() -> None:
    documented = "DEPROVISIONING PENDING PENDING_STOP PROVISIONING REPAIRING RUNNING STAGING STOPPED STOPPING"
    assert set(STATES) == {*documented.split(), "SUSPENDED", "SUSPENDING", "TERMINATED"}


def test_one_more_key() -> None:
    assert with_ssh_key("", "me:k") == "me:k"
    assert with_ssh_key("you:k\n\n", "me:k") == "you:k\nme:k"
    assert with_ssh_key("you:k\nme:k", "me:k") == "you:k\nme:k"
    assert metadata_body({"a": "b"}, "fp") == {"items": [{"key": "a", "value": "b"}], "fingerprint": "fp"}


def test_why_an_operation_failed() -> None:
    errors = [{"code": "QUOTA_EXCEEDED", "message": "Quota 'CPUS' exceeded."}, {"code": "OTHER"}]
    failed = {"status": "DONE", "httpErrorStatusCode": 403, "error": {"errors": errors}}
    assert operation_problem(failed) == (403, "QUOTA_EXCEEDED: Quota 'CPUS' exceeded.; OTHER")
    assert operation_problem({"status": "DONE"}) == (0, "")


def test_the_script_is_a_script() -> None:
    assert f"google-{DISK_NAME}" in MOUNT_SCRIPT
    subprocess.run(["sh", "-n"], input=MOUNT_SCRIPT, text=True, check=True, timeout=10)
