"""A scale group of TPU slices: what its configuration makes of a slice."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from google.cloud import tpu_v2

from iris_platform.base import Refused
from iris_platform.gcp import make_platform
from iris_platform.gcp.startup import worker_startup
from iris_proto.v1 import config_pb2
from tests.platform.gcp.clouds import VALID_S, ZONE, CloudWorld, joining, spec
from tests.platform.gcp.made import NAME


def node_of(world: CloudWorld) -> Any:
    node = world.api().get_node(ZONE, NAME)
    assert node is not None
    return node


def document(script: str) -> dict[str, Any]:
    """The data of a startup script."""
    lines = [line[3:] for line in script.splitlines() if line.startswith("#D ")]
    found: dict[str, Any] = json.loads(base64.b64decode("".join(lines)))
    return found


@pytest.mark.parametrize(
    ("capacity", "scheduling"),
    [("CAPACITY_ON_DEMAND", ""), ("CAPACITY_SPOT", "spot"), ("CAPACITY_RESERVED", "reserved")],
)
def test_what_a_groups_slice_is_made_with(world: CloudWorld, capacity: str, scheduling: str) -> None:
    group = world.group(hosts=2)
    group.capacity = config_pb2.Capacity.Value(capacity)
    group.labels["team"] = "vision"
    world.platform().vm_manager(group).create_slice(NAME)
    node = node_of(world)
    assert (node.accelerator_type, node.runtime_version) == ("v5p-16", "v2-alpha-tpuv5")
    assert node.labels["team"] == "vision"
    config = node.scheduling_config
    assert (config.spot, config.reserved) == (scheduling == "spot", scheduling == "reserved")
    assert sorted(node.metadata) == ["enable-guest-attributes", "startup-script"]


def test_every_capacity_has_its_place(world: CloudWorld) -> None:
    group = world.group()
    for capacity in config_pb2.Capacity.values():
        group.capacity = capacity
        world.platform().vm_manager(group).create_slice(NAME)


def test_what_its_hosts_are_told(world: CloudWorld) -> None:
    world.is_queued = True
    world.platform().vm_manager(world.group(hosts=2)).create_slice(NAME)
    (queued,) = world.api().list_queued(ZONE)
    policy = tpu_v2.QueuedResource.pb(queued).queueing_policy
    assert policy.valid_until_duration.seconds == VALID_S
    told = document(node_of(world).metadata["startup-script"])
    facts = told["files"]["slice-facts.json"]
    assert facts["labels"] == dict(spec(NAME).labels)
    assert {key: facts[key] for key in ("slice_name", "group", "zone", "hosts", "accelerator_type")} == {
        "slice_name": NAME,
        "group": "here",
        "zone": ZONE,
        "hosts": 2,
        "accelerator_type": "v5p-16",
    }
    assert (facts["project"], facts["endpoint"], facts["queued"]) == (
        world.server.project,
        world.server.url,
        True,
    )
    # The same for all hosts of the slice, and for everybody to see.
    assert not {"worker_index", "address"} & set(facts)
    assert told["secret"] == ""
    assert told["bundle"]["url"] == "https://10.1.0.1:10401/bundle/"
    assert told["bundle"]["kinds"] == {f"3.{minor} x86_64": "ab" * 32 for minor in (10, 11, 12, 13)}
    assert told["bundle"]["server_name"] == "controller.abcdefghij.iris"
    assert told["files"]["ca.pem"] == told["bundle"]["ca"] == joining().ca_pem
    settings = world.settings()
    after_s = min(settings.boot_s, settings.lease_s) + settings.orphan_timeout_s
    assert told["dead_man"] == {"after_s": after_s, "deletes_slice": True}
    words = told["arguments"]
    assert words[words.index("--proof") + 1] == "google"
    assert words[:3] == ["run", "--host-dir", "@work@"]
    assert words[words.index("--join") + 1] == "https://10.1.0.1:10401"
    assert words[words.index("--address") + 1] == "10.1.0.1:10400"


def test_a_container_needs_no_bundle(world: CloudWorld) -> None:
    def none(python: str, machine: str) -> Any:
        raise Refused("there is no bundle")

    made = replace(joining(), bundle_for=none)
    settings = world.settings()
    with pytest.raises(Refused, match="there is no bundle"):
        worker_startup(settings, made, spec(NAME), ZONE)
    container = config_pb2.ContainerConfig(image="ghcr.io/team/iris:1.0", health_port=10402)
    bootstrap = config_pb2.BootstrapConfig(container=container)
    startup = worker_startup(replace(settings, bootstrap=bootstrap), made, spec(NAME), ZONE)
    assert (startup.bundle, startup.spec.container.image) == (None, "ghcr.io/team/iris:1.0")


def test_without_a_controller_nothing_is_started(world: CloudWorld) -> None:
    platform = make_platform(replace(world.settings(), joining=None))
    with pytest.raises(Refused, match="nothing is started without a controller"):
        platform.vm_manager(world.group()).create_slice(NAME)
    assert world.control.nodes() == {}
