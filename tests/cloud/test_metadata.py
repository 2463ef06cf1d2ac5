"""What VMs hear from their metadata servers, with google-auth and plain HTTP as clients."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from google.auth import jwt

from tests.cloud.clients import OTHER_ZONE, ZONE, TpuUser, result
from tests.harness.cloud import CloudServer
from tests.harness.cluster import wait_until

Get = Callable[..., requests.Response]
DECODE: Any = jwt.decode
SCRIPT = "#!/bin/sh\necho hello\n"


@pytest.fixture
def get(user: TpuUser, cloud: CloudServer) -> Get:
    """Asks the metadata server of the second host of a slice."""
    result(user.create("slice-a", metadata={"startup-script": SCRIPT, "Mine-Too": "1"}))
    address = cloud.serve_metadata(cloud.client.vms("slice-a")[1].key)

    def ask(path: str, **query: Any) -> requests.Response:
        headers = {"Metadata-Flavor": "Google"}
        url = f"http://{address}/computeMetadata/v1/{path}"
        return requests.get(url, params=query, headers=headers, timeout=20)

    return ask


def test_a_host_learns_where_it_is(get: Get, cloud: CloudServer) -> None:
    vm = cloud.client.vms("slice-a")[1]
    number = cloud.settings.projects[cloud.project]
    said = {
        "instance/attributes/accelerator-type": "v5litepod-16",
        "instance/attributes/agent-worker-number": "1",
        "instance/attributes/startup-script": SCRIPT,
        "instance/id": str(vm.id),
        "instance/name": vm.name,
        "instance/hostname": f"{vm.name}.c.{cloud.project}.internal",
        "instance/zone": f"projects/{number}/zones/{ZONE}",
        "instance/preempted": "FALSE",
        "instance/maintenance-event": "NONE",
        "instance/network-interfaces/0/ip": vm.address,
        "project/project-id": cloud.project,
        "project/numeric-project-id": str(number),
        "instance/service-accounts/default/email": f"{number}-compute@developer.gserviceaccount.com",
    }
    assert {path: get(path).text for path in said} == said
    # As JAX takes it apart.
    peers = get("instance/attributes/worker-network-endpoints").text.split(",")
    assert [peer.split(":")[2] for peer in peers] == [vm.address for vm in cloud.client.vms("slice-a")]
    env = get("instance/attributes/tpu-env").text
    assert "WORKER_ID: '1'\n" in env and f"ZONE: '{ZONE}'\n" in env and "NODE_ID: 'slice-a'\n" in env


def test_directories_and_json(get: Get) -> None:
    assert "attributes/\n" in get("instance/").text
    assert "Mine-Too\n" in get("instance/attributes/").text
    assert get("instance/", recursive="true").json()["attributes"]["Mine-Too"] == "1"
    assert get("instance/", recursive="true").json()["maintenanceEvent"] == "NONE"
    assert get("instance/attributes/nobody").status_code == 404


def test_only_who_means_it_is_answered(user: TpuUser, cloud: CloudServer) -> None:
    result(user.create(accelerator_type="v5litepod-1"))
    address = cloud.serve_metadata(cloud.client.vms("n1")[0].key)
    url = f"http://{address}/computeMetadata/v1/instance/id"
    assert requests.get(url, timeout=5).status_code == 403
    flavor = {"Metadata-Flavor": "Google"}
    assert requests.get(url, headers={**flavor, "X-Forwarded-For": "1"}, timeout=5).status_code == 403
    root = requests.get(f"http://{address}", headers=flavor, timeout=5)
    assert (root.status_code, root.headers["Metadata-Flavor"]) == (200, "Google")


def test_its_identity_is_signed_by_google(get: Get, cloud: CloudServer) -> None:
    certificates = requests.get(f"{cloud.url}/oauth2/v1/certs", timeout=5).json()
    path = "instance/service-accounts/default/identity"
    token = get(path, audience="abc", format="full").text
    claims: Any = DECODE(token, certs=certificates, audience="abc")
    vm = cloud.client.vms("slice-a")[1]
    machine = claims["google"]["compute_engine"]
    assert (machine["instance_name"], machine["instance_id"]) == (vm.name, str(vm.id))
    assert (machine["project_id"], machine["zone"]) == (cloud.project, ZONE)
    assert claims["iss"] == "https://accounts.google.com" and claims["email"].endswith(
        "-compute@developer.gserviceaccount.com"
    )
    assert claims["exp"] - claims["iat"] == 3600
    short: Any = DECODE(get(path, audience="abc").text, certs=certificates)
    assert "google" not in short
    assert get(path).status_code == 400
    with pytest.raises(ValueError, match="audience"):
        DECODE(token, certs=certificates, audience="another")
    head, body, proof = token.split(".")
    with pytest.raises(ValueError, match="signature"):
        DECODE(f"{head}.{body}.{proof[::-1]}", certs=certificates)
    access = get("instance/service-accounts/default/token").json()
    assert access["token_type"] == "Bearer" and access["expires_in"] > 0


def test_who_waits_hears_of_a_preemption_at_once(get: Get, cloud: CloudServer) -> None:
    first = get("instance/preempted")
    same = get(
        "instance/preempted", wait_for_change="true", last_etag=first.headers["ETag"], timeout_sec="0.1"
    )
    assert same.text == "FALSE"
    old = get("instance/preempted", wait_for_change="true", last_etag="another", timeout_sec="10")
    assert old.text == "FALSE"
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(
            lambda: get(
                "instance/preempted",
                wait_for_change="true",
                last_etag=first.headers["ETag"],
                timeout_sec="15",
            )
        )
        cloud.client.preempt(ZONE, "slice-a", notice_ms=60_000)
        assert waiting.result(10).text == "TRUE"
    assert all(vm.on for vm in cloud.client.vms("slice-a"))


def test_maintenance_is_announced(get: Get, cloud: CloudServer) -> None:
    cloud.client.maintain(ZONE, "slice-a", "TERMINATE_ON_HOST_MAINTENANCE")
    assert get("instance/maintenance-event").text == "TERMINATE_ON_HOST_MAINTENANCE"


def test_a_host_of_a_deleted_slice_hears_nothing(get: Get, user: TpuUser) -> None:
    result(user.delete("slice-a"))
    wait_until(lambda: get("instance/id").status_code == 404)


def test_addresses_come_back_to_others(user: TpuUser, cloud: CloudServer) -> None:
    result(user.create("a"))
    before = {vm.address for vm in cloud.client.vms("a")}
    result(user.delete("a"))
    result(user.create("b", zone=OTHER_ZONE))
    assert {vm.address for vm in cloud.client.vms("b")} == before
