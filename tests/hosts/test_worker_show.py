"""`iris worker show` fetches what an agent said from its host, over SSH."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.hosts.test_manual_cluster import ManualCluster, hosts_of
from tests.hosts.test_remote_controller import RemoteCluster

Make = Callable[[type[ManualCluster], list[Host]], ManualCluster]
# The ports of the controller, for agents and for those that join.
NO_WAY = "add table ip x; add chain ip x out {{ type filter hook output priority 0; }}; \
add rule ip x out tcp dport {{ {port}-{joins} }} reject with tcp reset"


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    made: list[ManualCluster] = []

    def one(kind: type[ManualCluster], hosts: list[Host]) -> ManualCluster:
        made.append(kind(tmp_path, lab, hosts))
        made[-1].iris("cluster", "start")
        return made[-1]

    yield one
    for cluster in made:
        cluster.destroy()


def show(cluster: ManualCluster, name: str) -> Any:
    return cluster.json("worker", "show", name)


def a_slice(cluster: ManualCluster) -> str:
    wait_until(lambda: bool(cluster.json("slice", "list")["slices"]))
    return str(cluster.json("slice", "list")["slices"][0]["name"])


def test_a_host_whose_start_fails_says_why(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make(ManualCluster, [host])
    port = int(cluster.config.read_text().partition("advertise_address: ")[2].split('"')[1].split(":")[1])
    blocked = host.run(["nft", NO_WAY.format(port=port, joins=port + 1)])
    assert blocked.returncode == 0, blocked.stderr
    cluster.submit("--", "true")
    name = a_slice(cluster)
    # While its start goes on no worker has come, and its host tells already.
    wait_until(lambda: "cannot be reached" in show(cluster, name)["log_tail"])
    shown = show(cluster, name)
    assert (shown["state"], shown["log_error"]) == ("WORKER_STATE_UNSPECIFIED", "")
    wait_until(lambda: show(cluster, name)["slice_state"] == "SLICE_STATE_GONE", 90)
    shown = show(cluster, name)
    assert shown["reason"] == "start_failed" and host.address in shown["message"], shown
    assert "cannot be reached" in shown["log_tail"]
    assert "GONE" in [event["what"] for event in shown["events"]]
    text = cluster.iris("worker", "show", f"{name}/0").out
    assert "what the start of the slice said:\n" in text and "cannot be reached" in text


def test_a_host_that_is_lost_leaves_the_rest(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make(ManualCluster, [host])
    job = cluster.submit("--", "sleep", "1000")
    wait_until(lambda: "RUNNING" in cluster.iris("job", "show", job).out)
    place = f"{a_slice(cluster)}/0"
    shown = show(cluster, place)
    assert (shown["address"], shown["log_error"]) == (host.address, "")
    assert shown["log_tail"].endswith("\n") and "keeper" in shown["log_tail"]
    assert [task["job_id"] for task in shown["tasks"]] == [job]
    host.kill()
    shown = show(cluster, place)
    assert (shown["log_tail"], shown["tasks"][0]["job_id"]) == ("", job)
    assert host.address in shown["log_error"]


def test_past_a_controller_on_another_machine(make: Make, lab: Lab) -> None:
    controller, host = hosts_of(lab, 2)
    cluster = make(RemoteCluster, [controller, host])
    job = cluster.submit("--", "sleep", "1000")
    wait_until(lambda: "RUNNING" in cluster.iris("job", "show", job).out)
    shown = show(cluster, a_slice(cluster))
    assert (shown["address"], shown["log_error"]) == (host.address, "")
    assert "keeper" in shown["log_tail"]
