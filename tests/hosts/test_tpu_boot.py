"""TPU slices from nothing to nothing: machines that run the real startup script against a real controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Lab
from tests.hosts.tpu import (
    BOOT_S,
    HOSTS,
    LEASE_S,
    MARGIN_S,
    ORPHAN_S,
    TYPE,
    ZONE,
    TpuCluster,
    tpu_cluster,
)

NUMBER = "agent-worker-number"


@pytest.mark.parametrize("queued", [False, True], ids=["node", "queued resource"])
def test_from_nothing_to_a_gang_and_a_lost_controllers_machines_go(
    lab: Lab, tmp_path: Path, queued: bool
) -> None:
    """B46, B55."""
    with tpu_cluster(lab, tmp_path, queued=queued) as cluster:
        cluster.iris("cluster", "start")
        said = cluster.said(cluster.begin())
        addresses = [vm.address for vm in cluster.cloud.vms()]
        for index in range(HOSTS):
            assert f"[{index}] TPU_WORKER_ID={index}\n" in said
        assert said.count(f"TPU_WORKER_HOSTNAMES={','.join(addresses)}\n") == HOSTS
        assert said.count(f"TPU_ACCELERATOR_TYPE={TYPE}\n") == HOSTS
        assert said.count("TPU_HOST_BOUNDS=2,2,1\n") == HOSTS
        # All hosts that joined together are one look at the slice, or a few.
        assert len(cluster.cloud.calls("GetNode")) <= 4
        cluster.kill_controller()
        wait_until(cluster.is_gone, LEASE_S + ORPHAN_S + MARGIN_S)
        # Worker 0, and nobody else. With the queued resource the node goes, perhaps before it is asked for.
        first, *rest = cluster.deletions()
        assert first == ("DeleteQueuedResource" if queued else "DeleteNode")
        assert rest in ([], ["DeleteNode"] if queued else [])


def test_a_machine_that_finds_no_controller_goes_as_well(lab: Lab, tmp_path: Path) -> None:
    """B46: one on which the agent never started."""
    with tpu_cluster(lab, tmp_path) as cluster:
        cluster.cloud.set_timings(boot=5_000)
        cluster.iris("cluster", "start")
        cluster.submit("--accelerator", TYPE, "--", "true")
        wait_until(lambda: bool(cluster.cloud.nodes()))
        cluster.kill_controller()
        wait_until(cluster.is_gone, 5.0 + LEASE_S + ORPHAN_S + MARGIN_S)
        assert "DeleteNode" in cluster.deletions()


def test_a_preemption_reaches_every_task_of_the_slice(lab: Lab, tmp_path: Path) -> None:
    with tpu_cluster(lab, tmp_path) as cluster:
        cluster.iris("cluster", "start")
        job = cluster.begin()
        with cluster.events() as events:
            (node,) = cluster.cloud.nodes()
            # As Google has it; what a task said must be here before its machine has no power.
            cluster.cloud.preempt(ZONE, node.rpartition("/")[2], notice_ms=30_000)
            events.wait_for("worker", "NOTICE")
            # A task may say it again: what its gang's end sends is the same signal.
            wait_until(lambda: len(who_said(cluster, job, '"kind": "preempted"')) == HOSTS)


def test_b36_a_machine_without_its_number_and_one_with_anothers(lab: Lab, tmp_path: Path) -> None:
    with tpu_cluster(lab, tmp_path) as cluster:
        # Before they have power.
        cluster.cloud.set_timings(boot=3_000)
        cluster.iris("cluster", "start")
        cluster.submit("--accelerator", TYPE, "--", "true")
        wait_until(lambda: len(cluster.cloud.vms()) == HOSTS)
        vms = cluster.cloud.vms()
        cluster.cloud.set_attribute(vms[1].key, NUMBER, None)
        cluster.cloud.set_attribute(vms[3].key, NUMBER, "2")
        wait_until(
            lambda: f"this machine, which is worker 2, is {vms[3].address}" in said(cluster, 3), BOOT_S
        )
        wait_until(
            lambda: f"{NUMBER}: expected a number below {HOSTS}, found nothing" in said(cluster, 1), BOOT_S
        )
        # Neither became another worker: the places of both are empty, and the slice is not whole.
        states = {
            one["place"]["worker_index"]: one["state"] for one in cluster.json("worker", "list")["workers"]
        }
        joined = [index for index, state in states.items() if state == "WORKER_STATE_HEALTHY"]
        assert sorted(joined) == [0, 2]
        (slice_,) = cluster.json("slice", "list")["slices"]
        assert slice_["state"] == "SLICE_STATE_INITIALIZING"


def who_said(cluster: TpuCluster, job: str, words: str) -> set[str]:
    """The tasks in whose log the words are."""
    return {line.partition(" ")[0] for line in cluster.said(job).splitlines() if words in line}


def said(cluster: TpuCluster, index: int) -> str:
    """What the agent on a host says so far."""
    vm = cluster.cloud.vms()[index]
    if not cluster.vms.is_up(vm.name):
        return ""
    host = cluster.vms.host(vm.name)
    return host.output("sh", "-c", "cat /var/lib/iris-host/worker/log 2>/dev/null || true")
