"""What is asked of Google, word for word."""

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from iris_platform.base import Refused
from iris_platform.gcp import request
from iris_platform.gcp.overrides import Capacity
from tests.platform.gcp.made import NAME, PROJECT, WHERE, ZONE, spec

LABELS = {
    "iris-cluster": "demo",
    "iris-cluster-id": "abcdefghij",
    "iris-role": "worker",
    "iris-group": "here",
    "iris-slice": NAME,
}
SCOPES = {"scope": ["https://www.googleapis.com/auth/cloud-platform"]}
NODE = {
    "accelerator_type": "v4-16",
    "runtime_version": "tpu-ubuntu2204-base",
    "network_config": {"network": "default", "enable_external_ips": True},
    "service_account": SCOPES,
    "scheduling_config": {},
    "labels": LABELS,
    "metadata": {"enable-guest-attributes": "TRUE", "startup-script": "#!/bin/sh\n"},
}


def shown(message: Any) -> dict[str, Any]:
    """A message's fields that are set."""
    return MessageToDict(type(message).pb(message), preserving_proto_field_name=True)


def node_of(**overrides: Any) -> dict[str, Any]:
    """The node of a request for one."""
    made: dict[str, Any] = shown(request.create_node(PROJECT, spec(**overrides), ZONE))["node"]
    return made


def queued_of(**overrides: Any) -> dict[str, Any]:
    """The queued resource of a request for one."""
    wanted = spec(queued_for_s=7200.0, **overrides)
    made: dict[str, Any] = shown(request.create_queued(PROJECT, wanted, ZONE))["queued_resource"]
    return made


def test_a_node_on_demand() -> None:
    assert shown(request.create_node(PROJECT, spec(), ZONE)) == {
        "parent": "projects/test-project/locations/us-central2-b",
        "node_id": NAME,
        "node": NODE,
    }


def test_what_the_provider_says_of_machines() -> None:
    node = node_of(network="lab", subnetwork="lab-b", external_addresses=False, service_account="w@p.iam")
    assert node["network_config"] == {"network": "lab", "subnetwork": "lab-b"}
    assert node["service_account"] == {"email": "w@p.iam", **SCOPES}


@pytest.mark.parametrize(
    ("capacity", "scheduling"), [(Capacity.SPOT, {"spot": True}), (Capacity.RESERVED, {"reserved": True})]
)
def test_how_a_node_is_paid_for(capacity: Capacity, scheduling: dict[str, bool]) -> None:
    assert node_of(capacity=capacity) == {**NODE, "scheduling_config": scheduling}


def test_a_queued_resource() -> None:
    made = shown(request.create_queued(PROJECT, spec(queued_for_s=7200.5), ZONE))
    assert made == {
        "parent": WHERE,
        "queued_resource_id": NAME,
        "queued_resource": {
            "tpu": {"node_spec": [{"parent": WHERE, "node_id": NAME, "node": NODE}]},
            "queueing_policy": {"valid_until_duration": "7200.500s"},
        },
    }


def test_how_a_queued_resource_is_paid_for() -> None:
    spot, reserved = queued_of(capacity=Capacity.SPOT), queued_of(capacity=Capacity.RESERVED)
    assert (spot["spot"], "guaranteed" in spot) == ({}, False)
    assert spot["tpu"]["node_spec"][0]["node"] == NODE
    assert (reserved["guaranteed"], "spot" in reserved) == ({}, False)
    assert reserved["tpu"]["node_spec"][0]["node"]["scheduling_config"] == {"reserved": True}
    assert "reservation_name" not in reserved


@pytest.mark.parametrize("written", ["lot", f"{WHERE}/reservations/lot"])
def test_a_reservation_by_name(written: str) -> None:
    queued = queued_of(capacity=Capacity.RESERVED, reservation=written)
    assert queued["reservation_name"] == f"{WHERE}/reservations/lot"


def test_what_one_host_left() -> None:
    assert shown(request.get_log("test-project", ZONE, NAME, 3)) == {
        "name": f"{WHERE}/nodes/{NAME}",
        "query_path": "iris/",
        "worker_ids": ["3"],
    }


def test_a_slice_without_a_startup_script() -> None:
    assert node_of(startup_script="")["metadata"] == {"enable-guest-attributes": "TRUE"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("runtime_version", "", "no runtime version is given for v4-16"),
        ("capacity", "free", "'free' is not a valid Capacity"),
        ("colour", "red", "colour"),
    ],
)
def test_what_cannot_be_asked(field: str, value: str, words: str) -> None:
    plain = spec()
    wrong = replace(plain, provider_overrides={**plain.provider_overrides, field: value})
    with pytest.raises(Refused, match=words):
        request.create_node(PROJECT, wrong, ZONE)
