"""Quota, capacity, rates, and what is refused because it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import tpu_v2

from tests.cloud.clients import OTHER_ZONE, ZONE, TpuUser, result
from tests.harness.cloud import CloudServer


def test_quota_is_by_zone_and_spot_and_held_by_the_preempted(user: TpuUser, cloud: CloudServer) -> None:
    cloud.client.set_quota(ZONE, "v5e", 16, spot=True)
    spot: dict[str, Any] = {"scheduling_config": {"spot": True}}
    result(user.create("a", **spot))
    cloud.client.preempt(ZONE, "a", notice_ms=0)
    words = "Quota limit 'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has been exceeded. Limit: 16"
    with pytest.raises(exceptions.ResourceExhausted, match=words):
        user.create("b", **spot)
    user.create("b")
    user.create("b", zone=OTHER_ZONE, **spot)
    result(user.delete("a"))
    user.create("c", **spot)


def test_quota_may_be_found_exceeded_only_at_the_end(user: TpuUser, cloud: CloudServer) -> None:
    cloud.client.configure(quota_at_once=False)
    cloud.client.set_quota(ZONE, "v5e", 0)
    operation = user.create()
    with pytest.raises(exceptions.ResourceExhausted, match="Quota limit"):
        result(operation)
    assert cloud.client.nodes() == {}


def test_capacity_is_by_zone_and_type(user: TpuUser, cloud: CloudServer) -> None:
    cloud.client.set_capacity(ZONE, "v5litepod-16", 1)
    result(user.create("a"))
    lacking = user.create("b")
    with pytest.raises(exceptions.ResourceExhausted, match=f'no more capacity in the zone "{ZONE}"'):
        result(lacking)
    result(user.create("b", accelerator_type="v5litepod-8"))
    result(user.create("b", zone=OTHER_ZONE))
    result(user.delete("a"))
    result(user.create("c"))


def test_creations_are_limited_by_the_minute(patient: TpuUser, stopped: CloudServer) -> None:
    for number in range(90):
        patient.create(f"n{number}")
    with pytest.raises(exceptions.ResourceExhausted, match="CreateNode requests per minute") as caught:
        patient.create("one-more")
    assert caught.value.reason == "RATE_LIMIT_EXCEEDED"
    patient.queue()
    stopped.client.advance(59_999)
    with pytest.raises(exceptions.ResourceExhausted):
        patient.create("one-more")
    stopped.client.advance(1)
    patient.create("one-more")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"accelerator_type": "v5e-16"}, "the accelerator v5e-16 was not found in zone"),
    ({"accelerator_type": "v4-8"}, "the accelerator v4-8 was not found in zone"),
    ({"accelerator_type": ""}, "exactly one of accelerator_type and accelerator_config"),
    ({"accelerator_config": {"type_": 9, "topology": "4x4"}}, "exactly one of"),
    ({"runtime_version": "tpu-vm-of-tomorrow"}, "runtime version tpu-vm-of-tomorrow was not found"),
    ({"runtime_version": ""}, "runtime_version is required"),
    ({"scheduling_config": {"spot": True, "reserved": True}}, "cannot use a reservation"),
    ({"labels": {"Upper": "x"}}, "Label key"),
    ({"labels": {"x": "not this"}}, "Label value"),
    ({"labels": {f"l{number}": "" for number in range(65)}}, "Too many labels"),
    ({"metadata": {"startup-script": "x" * (256 * 1024 + 1)}}, "too large: maximum size 262144"),
    ({"metadata": {f"m{number}": "x" * 200_000 for number in range(3)}}, "Metadata is too large"),
    ({"metadata": {"no spaces": ""}}, "Metadata key"),
    ({"network_config": {}, "network_configs": [{}]}, "mutually exclusive"),
    ({"description": "x" * 513}, "at most 512"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_wrong_is_refused(either: TpuUser, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(exceptions.BadRequest, match=words):
        either.create(**fields)
    assert either.cloud.client.nodes() == {}


def test_names_and_places_are_looked_at(either: TpuUser) -> None:
    for name in ("Upper", "1st", "ends-", "x" * 64, "under_score", ""):
        with pytest.raises(exceptions.BadRequest, match="Invalid nodeId"):
            either.create(name)
    either.create("x" * 63)
    with pytest.raises(exceptions.NotFound, match="global/networks/mine"):
        either.create("y", network_config={"network": "mine"})
    for parent in ("projects/other/locations/us-west4-a", f"{either.parent()}-and-more"):
        with pytest.raises(exceptions.Forbidden):
            either.client.list_nodes(parent=parent)
    with pytest.raises(exceptions.Forbidden):
        either.client.get_node(name="projects/other/locations/us-west4-a/nodes/n")


def test_a_node_by_its_topology(user: TpuUser) -> None:
    config = tpu_v2.AcceleratorConfig(type_=tpu_v2.AcceleratorConfig.Type.V5LITE_POD, topology="4x4")
    made = result(user.create(accelerator_type="", accelerator_config=config))
    assert made.accelerator_type == "v5litepod-16" and len(made.network_endpoints) == 4


def test_json_is_looked_at(cloud: CloudServer) -> None:
    url = f"{cloud.url}/v2/projects/{cloud.project}/locations/{ZONE}/nodes"
    good = {"acceleratorType": "v5litepod-1", "runtimeVersion": "v2-alpha-tpuv5-lite"}
    for query, body in ({"nodeID": "n"}, good), ({"nodeId": "n"}, {**good, "color": "red"}):
        reply = requests.post(url, params=query, json=body, timeout=10)
        assert reply.status_code == 400
        assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"
        assert "Invalid JSON payload received" in reply.json()["error"]["message"]
    assert requests.post(url, params={"nodeId": "n"}, data=b"{", timeout=10).status_code == 400
    assert requests.get(f"{cloud.url}/v2/nowhere", timeout=10).status_code == 404
    # Clients of newer versions say more than v2 knows.
    newer = url.replace("/v2/", "/v2alpha1/")
    reply = requests.post(newer, params={"nodeId": "n"}, json={**good, "color": "red"}, timeout=10)
    assert reply.json()["metadata"]["verb"] == "create"


def test_calls_are_written_down(either: TpuUser) -> None:
    control = either.cloud.client
    result(either.create())
    either.listed()
    control.fault("error", "DeleteNode")
    with pytest.raises(exceptions.ServiceUnavailable):
        either.delete()
    counts = control.counts("n1")
    assert counts.pop("GetOperation") >= 1
    assert counts == {"CreateNode": 1, "DeleteNode": 1}
    assert control.counts()["ListNodes"] == 1
    assert [call.status for call in control.calls("DeleteNode")] == ["UNAVAILABLE"]
    assert not any(call.credentials for call in control.calls())
    control.clear_calls()
    requests.get(
        f"{either.cloud.url}/v2/{either.name('n1')}", headers={"Authorization": "Bearer x"}, timeout=10
    )
    assert [(call.method, call.credentials) for call in control.calls()] == [("GetNode", True)]
