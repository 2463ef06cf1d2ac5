"""TPU slices from the command line to a cloud that behaves like Google's; its machines are on paper.

What runs on such machines is in tests/hosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cloud import CloudClient, CloudServer
from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.ports import free_port

EAST, WEST = "us-central1-a", "europe-west4-b"
GROUP = """\
  {name}:
    provider: {{ tpu: {{ project_id: test-project{more} }} }}
    accelerator_type: v5litepod-16
    zones: [{zone}]
    min_slices: {slices}
    max_slices: {slices}
    boot_timeout: 10m
"""
# Its agents are processes of this machine.
LOCAL = """\
  here:
    provider: { local: {} }
    accelerator_type: cpu
    max_slices: 2
    host_resources: { cpu: 1 }
"""
FLEET = 54
# Machines on paper never dial it.
NOBODY = "192.0.2.1"


@pytest.fixture
def cloud() -> Iterator[CloudServer]:
    with CloudServer() as server:
        yield server


def configure(
    cluster: LocalCluster,
    cloud: CloudServer,
    zones: dict[str, int],
    port: int,
    more: str = "",
    others: str = "",
) -> None:
    """A group in each zone, of so many slices; agents would dial `port`, and the next one to join.

    `others` are groups of other providers.
    """
    groups = "".join(
        GROUP.format(name=f"in-{zone}", zone=zone, slices=count, more=more) for zone, count in zones.items()
    )
    endpoints = "".join(f"  {name}: {cloud.url}\n" for name in ("tpu", "compute", "certificates"))
    cluster.config.write_text(
        f"name: {cluster.name}\ncontroller:\n  local: {{}}\n  advertise_address: {NOBODY}:{port}\n"
        f"endpoints:\n{endpoints}scale_groups:\n{groups}{others}"
        f"autoscaler: {{ max_creates_per_minute: 6000 }}\ntimeouts: {{ stop_grace: 2s }}\n"
    )


@pytest.fixture
def port() -> int:
    return free_port(together=2)


@pytest.fixture
def cluster(tmp_path: Path, cloud: CloudServer, port: int) -> Iterator[LocalCluster]:
    made = LocalCluster(tmp_path)
    configure(made, cloud, {EAST: 2, WEST: 1}, port)
    yield made
    cloud.client.clear_faults()
    made.iris("cluster", "stop", "-y", expect=None)
    assert made.processes() == {}
    made.destroy()
    assert (cloud.client.nodes(), cloud.client.queued()) == ({}, {})


def names(cloud: CloudClient, zone: str = "") -> set[str]:
    """The nodes in a zone, or in all."""
    return {full.rpartition("/")[2] for full in cloud.nodes() if not zone or f"/locations/{zone}/" in full}


def await_nodes(cloud: CloudServer, count: int) -> None:
    wait_until(lambda: list(cloud.client.nodes().values()).count("READY") == count)


def await_calls(cloud: CloudServer, count: int) -> None:
    wait_until(lambda: len(cloud.client.calls()) >= count)


def test_b60_b64_a_stop_over_two_zones(cluster: LocalCluster, cloud: CloudServer) -> None:
    cluster.iris("cluster", "start")
    await_nodes(cloud, 3)
    # One that was taken away and is still listed holds quota, and goes too.
    (west,) = names(cloud.client, WEST)
    wait_until(lambda: len(cluster.json("slice", "list")["slices"]) == 3)
    planned = cluster.json("cluster", "stop", "--dry-run")
    assert {entry["name"] for entry in planned["slices"]} == names(cloud.client)
    cloud.client.preempt(WEST, west, notice_ms=0)
    done = cluster.iris("cluster", "stop", "-y")
    assert f"zone {EAST}: 0 slices, 0 agents" in done.out
    assert f"zone {WEST}: 0 slices, 0 agents" in done.out
    assert cloud.client.nodes() == {}
    assert "0 slices" in cluster.iris("cluster", "stop", "-y").out


def test_b63_b66_without_a_controller_and_with_a_zone_less(
    cluster: LocalCluster, cloud: CloudServer, port: int
) -> None:
    cluster.iris("cluster", "start")
    await_nodes(cloud, 3)
    cluster.kill_controller()
    configure(cluster, cloud, {EAST: 2}, port)
    cloud.client.set_timings(delete=1500)
    done = cluster.iris("cluster", "stop", "-y")
    assert f"zone {WEST}: 0 slices, 0 agents" in done.out
    # Deletions are followed to their end, and told.
    assert done.err.count(": GONE\n") == 3
    assert cloud.client.nodes() == {}


def test_b61_one_zone_of_two_is_stopped_and_stays_empty(cluster: LocalCluster, cloud: CloudServer) -> None:
    cluster.iris("cluster", "start")
    await_nodes(cloud, 3)
    pid, east = cluster.controller_pid(), names(cloud.client, EAST)
    wait_until(lambda: len(cluster.json("slice", "list")["slices"]) == 3)
    stopped = cluster.iris("cluster", "stop", "--zone", WEST, "-y").out
    assert f"left as it was: zone {EAST}" in stopped and "stays empty until the next start" in stopped
    assert (names(cloud.client), cluster.controller_pid()) == (east, pid)
    groups = {group["name"]: group for group in cluster.json("group", "list")["scale_groups"]}
    assert groups[f"in-{WEST}"]["availability"] == "GROUP_AVAILABILITY_PAUSED"
    # All that was said to Google of the other zone was to look.
    assert {call.zone for call in cloud.client.calls("DeleteNode")} == {WEST}
    cluster.iris("cluster", "start")
    await_nodes(cloud, 3)
    assert east < names(cloud.client)


@pytest.mark.parametrize("alive", [True, False])
def test_b62_a_zone_whose_api_is_down(cluster: LocalCluster, cloud: CloudServer, alive: bool) -> None:
    cluster.iris("cluster", "start")
    await_nodes(cloud, 3)
    if not alive:
        cluster.kill_controller()
    # Refused, since what is down is tried again for a while.
    down = cloud.client.fault("error", zone=WEST, code=7, count=None)
    left = cluster.iris("cluster", "stop", "-y", expect=6)
    assert f"left in zone {WEST}: not known" in left.err
    assert "to remove it: iris" in left.err
    assert (names(cloud.client, EAST), len(names(cloud.client, WEST))) == (set(), 1)
    cloud.client.remove_fault(down)
    cluster.iris("cluster", "stop", "-y")


def test_b35_54_slices_are_taken_away_and_work_elsewhere_does_not_wait(
    cluster: LocalCluster, cloud: CloudServer, port: int
) -> None:
    configure(cluster, cloud, {EAST: FLEET}, port, others=LOCAL)
    cloud.client.set_rate("CreateNode", None)
    cluster.iris("cluster", "start")
    await_nodes(cloud, FLEET)
    taken = names(cloud.client)
    # Each answer takes so long that together they take half a minute.
    slow = cloud.client.fault("late", "DeleteNode", delay_ms=5_000, count=None)
    with cluster.events() as watch:
        cloud.client.preempt(EAST, *taken, notice_ms=0)
        watch.wait_for("slice", "DELETING", FLEET)
        # On slices that are there, and on such as have to be made first.
        for tasks in (1, 2):
            ran = cluster.iris("job", "run", "--replicas", str(tasks), "--", "echo", "here").out
            assert ran.count("here") == tasks
        assert taken & names(cloud.client), "they were not waited for"
        cloud.client.remove_fault(slow)
        # None of them holds quota, and each was deleted once.
        wait_until(lambda: not taken & names(cloud.client))
    deleted = [call.name for call in cloud.client.calls("DeleteNode")]
    assert sorted(deleted) == sorted(taken)
    cluster.iris("cluster", "stop", "-y")
    assert cloud.client.nodes() == {}


def test_queued_resources_wait_and_go(cluster: LocalCluster, cloud: CloudServer, port: int) -> None:
    configure(cluster, cloud, {EAST: 2}, port, more=", queued_resources: { valid_for: 2h }")
    cloud.client.set_capacity(EAST, "v5litepod-16", 1)
    cluster.iris("cluster", "start")
    wait_until(lambda: sorted(cloud.client.queued().values()) == ["ACTIVE", "WAITING_FOR_RESOURCES"])
    states = {entry["state"] for entry in cluster.json("slice", "list")["slices"]}
    assert states <= {"SLICE_STATE_REQUESTING", "SLICE_STATE_BOOTING", "SLICE_STATE_INITIALIZING"}
    cluster.iris("cluster", "stop", "-y")
    assert (cloud.client.nodes(), cloud.client.queued()) == ({}, {})


def test_b65_a_creation_in_flight_is_settled(cluster: LocalCluster, cloud: CloudServer) -> None:
    # It happens, and its answer never comes.
    cloud.client.fault("hang", "CreateNode", zone=WEST, after=True)
    cluster.iris("cluster", "start")
    await_nodes(cloud, 3)
    cluster.iris("cluster", "stop", "-y")
    assert cloud.client.nodes() == {}


def test_b14_what_the_zone_says_of_it_is_on_the_group(cluster: LocalCluster, cloud: CloudServer) -> None:
    cloud.client.fault("stockout", "CreateNode", zone=WEST, count=None)
    cluster.iris("cluster", "start")
    await_nodes(cloud, 2)

    def reason() -> str:
        groups = cluster.json("group", "list")["scale_groups"]
        return str(next(group["reason"] for group in groups if group["name"] == f"in-{WEST}"))

    wait_until(lambda: reason() == "stockout")
    assert "no more capacity" in cluster.iris("cluster", "status").out
    cluster.iris("cluster", "stop", "-y")


def test_b30_a_controller_killed_while_it_scales_up(
    cluster: LocalCluster, cloud: CloudServer, port: int
) -> None:
    """At twenty moments: before and after a call, before and after its answer."""
    wanted = 6
    configure(cluster, cloud, {EAST: wanted}, port)
    # Some creations happen and are not answered, some are answered late.
    cloud.client.fault("hang", "CreateNode", after=True, nth=2, count=2)
    for moment in range(20):
        begun = len(cloud.client.calls())
        cluster.iris("cluster", "start")
        await_calls(cloud, begun + moment % 5 + 1)
        cluster.kill_controller()
    cluster.iris("cluster", "start")
    await_nodes(cloud, wanted)
    slices = {entry["name"] for entry in cluster.json("slice", "list")["slices"]}
    assert slices == names(cloud.client)
    made = [call.name for call in cloud.client.calls("CreateNode") if call.done]
    assert len(made) == len(set(made)) == wanted, "one slice was made twice, or one too many"
    cluster.iris("cluster", "stop", "-y")
    assert cloud.client.nodes() == {}


def test_a_slices_life_takes_four_calls(cluster: LocalCluster, cloud: CloudServer, port: int) -> None:
    configure(cluster, cloud, {EAST: 1}, port)
    cluster.iris("cluster", "start")
    await_nodes(cloud, 1)
    (name,) = names(cloud.client)
    wait_until(lambda: cluster.json("slice", "list")["slices"][0]["state"] != "SLICE_STATE_REQUESTING")
    cluster.iris("cluster", "stop", "-y")
    counts = cloud.client.counts(name)
    assert sum(counts.values()) <= 4, counts


def test_what_the_hosts_of_a_slice_said_outlives_it(
    cluster: LocalCluster, cloud: CloudServer, port: int
) -> None:
    configure(cluster, cloud, {EAST: 1}, port)
    cluster.config.write_text(cluster.config.read_text().replace("boot_timeout: 10m", "boot_timeout: 5s"))
    cluster.iris("cluster", "start")
    await_nodes(cloud, 1)
    (name,) = names(cloud.client)
    _, second, *_ = cloud.client.vms()
    cloud.client.leave(second.key, "iris/bootstrap-log", "there is no Python here\nlooked everywhere\n")
    wait_until(lambda: name not in names(cloud.client))
    wait_until(lambda: cluster.json("worker", "show", f"{name}/1")["slice_state"] == "SLICE_STATE_GONE")
    shown = cluster.iris("worker", "show", f"{name}/1").out
    assert "4 of 4 hosts did not register within 5s" in shown
    assert "\n[1] there is no Python here\n[1] looked everywhere\n[2] host 2 of slice" in shown
