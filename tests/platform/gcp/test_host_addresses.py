"""Where a slice's hosts are, as one that joins has to be."""

import pytest
from google.cloud import tpu_v2

from iris_platform.base import NotOurs
from tests.platform.gcp.clouds import ZONE as THERE
from tests.platform.gcp.clouds import CloudWorld
from tests.platform.gcp.made import NAME, OTHER, ZONE, labels, node
from tests.platform.gcp.test_host_log import Left, slices


def test_inside_and_outside_by_index() -> None:
    made = node()
    made.network_endpoints = [
        tpu_v2.NetworkEndpoint(ip_address="10.0.0.1", access_config={"external_ip": "34.0.0.1"}),
        # Not there yet.
        tpu_v2.NetworkEndpoint(),
        tpu_v2.NetworkEndpoint(ip_address="10.0.0.3"),
    ]
    assert slices(Left([made])).host_addresses(NAME, ZONE) == (
        frozenset({"10.0.0.1", "34.0.0.1"}),
        frozenset(),
        frozenset({"10.0.0.3"}),
    )


def test_of_no_slice_there_are_none() -> None:
    assert slices(Left([])).host_addresses(NAME, ZONE) == ()
    assert slices(Left([node()])).host_addresses("whatever", ZONE) == ()


def test_another_clusters_are_not_told() -> None:
    with pytest.raises(NotOurs):
        slices(Left([node(labels=labels(NAME, OTHER))])).host_addresses(NAME, ZONE)


def test_of_what_google_made(world: CloudWorld) -> None:
    platform = world.platform()
    platform.vm_manager(world.group(hosts=2)).create_slice(NAME)
    hosts = platform.host_addresses(NAME, THERE)
    seen = platform.get_slice(NAME)
    assert seen is not None
    assert [vm.address in found for vm, found in zip(seen.vms, hosts, strict=True)] == [True, True]
