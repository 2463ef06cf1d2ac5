"""TPU slices with work on them: what is lost, what is not, and other providers beside them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import BenchVms
from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.hosts import Lab
from tests.harness.ports import free_port
from tests.hosts.tpu import BOOT_S, HOSTS, TYPE, ZONE, TpuCluster, tpu_cluster

# Ends when somebody says so.
WAITS = "echo begun; while [ ! -e /run/go ]; do sleep 0.1; done; echo ended"


def begin(cluster: TpuCluster) -> str:
    """A gang that has begun."""
    job = cluster.submit("--accelerator", TYPE, "--", "sh", "-c", WAITS)
    wait_until(lambda: cluster.said(job).count("begun") == HOSTS, BOOT_S)
    return job


def let_go(cluster: TpuCluster) -> None:
    """The tasks on all machines that have power may end."""
    for vm in cluster.cloud.vms():
        if vm.on:
            cluster.vms.host(vm.name).write("/run/go", b"")


def test_b45_a_state_directory_that_is_lost(lab: Lab, tmp_path: Path) -> None:
    with tpu_cluster(lab, tmp_path, orphan_s=120) as cluster:
        cluster.iris("cluster", "start")
        job = begin(cluster)
        cluster.kill_controller()
        shutil.rmtree(cluster.state_dir)
        cluster.iris("cluster", "start")
        wait_until(lambda: cluster.json("cluster", "status")["jobs_running"] == 1, BOOT_S)
        let_go(cluster)
        assert cluster.iris("job", "wait", job).code == 0
        # None was stopped, and none begun again: each said its lines once.
        said = cluster.iris("job", "logs", "--follow", job).out
        assert Counter(said.split()[1::2]) == {"begun": HOSTS, "ended": HOSTS}
        assert len(cluster.cloud.calls("CreateNode")) == 1
        cluster.iris("cluster", "stop", "-y")
        assert cluster.is_gone()


def test_b32_b35_a_machine_without_power_and_a_slice_that_is_taken_away(lab: Lab, tmp_path: Path) -> None:
    with tpu_cluster(lab, tmp_path, orphan_s=120) as cluster:
        cluster.iris("cluster", "start")
        job = begin(cluster)
        first = cluster.cloud.vms()
        cluster.cloud.cut_vm(first[2].key)
        # The node says nothing of it: its deletion is the fence.
        wait_until(lambda: cluster.said(job).count("begun") == 2 * HOSTS, BOOT_S)
        (node,) = cluster.cloud.nodes()
        cluster.cloud.preempt(ZONE, node.rpartition("/")[2], notice_ms=0)
        wait_until(lambda: cluster.said(job).count("begun") == 3 * HOSTS, BOOT_S)
        let_go(cluster)
        assert cluster.iris("job", "wait", job).code == 0
        tasks = cluster.json("job", "show", job)["tasks"]
        assert [(task["attempts"], task["losses"], task["failures"]) for task in tasks] == [(3, 2, 0)] * HOSTS
        # Neither holds quota any more.
        assert len(cluster.cloud.nodes()) <= 1
        cluster.iris("cluster", "stop", "-y")
        assert cluster.is_gone()


def test_a_gang_over_two_slices_of_which_one_is_taken_away(lab: Lab, tmp_path: Path) -> None:
    """B55 with the variables of libtpu's multislice; each slice is a node of its own."""
    kind, zone = "v4-16", "us-central2-b"
    with tpu_cluster(lab, tmp_path, orphan_s=120, kind=kind, zone=zone, max_slices=2) as cluster:
        cluster.iris("cluster", "start")
        says = f"env | grep -E '^(MEGASCALE|IRIS_SLICE|TPU_WORKER)_' | sort | tr '\\n' ' '; {WAITS}"
        job = cluster.submit("--accelerator", kind, "--slices", "2", "--", "sh", "-c", says)
        wait_until(lambda: cluster.said(job).count("begun") == 4, BOOT_S)
        tasks = cluster.json("job", "show", job)["tasks"]
        names = list(dict.fromkeys(task["attempt"]["place"]["slice_name"] for task in tasks))
        peers = [[vm.address for vm in cluster.cloud.vms(name)] for name in names]
        for index, line in enumerate(sorted(cluster.said(job).splitlines())):
            number, worker = divmod(index, 2)
            assert line.split()[1:-1] == [
                "IRIS_SLICE_COUNT=2",
                f"IRIS_SLICE_INDEX={number}",
                f"MEGASCALE_COORDINATOR_ADDRESS={peers[0][0]}:8080",
                "MEGASCALE_NUM_SLICES=2",
                "MEGASCALE_PORT=8080",
                f"MEGASCALE_SLICE_ID={number}",
                f"TPU_WORKER_HOSTNAMES={','.join(peers[number])}",
                f"TPU_WORKER_ID={worker}",
            ]
        cluster.cloud.preempt(zone, names[0], notice_ms=0)
        wait_until(lambda: cluster.said(job).count("begun") == 8, BOOT_S)
        let_go(cluster)
        assert cluster.iris("job", "wait", job).code == 0
        tasks = cluster.json("job", "show", job)["tasks"]
        assert [(task["attempts"], task["losses"], task["failures"]) for task in tasks] == [(2, 1, 0)] * 4
        # The one that was left was used again.
        assert len(cluster.cloud.calls("CreateNode")) == 3
        cluster.iris("cluster", "stop", "-y")
        assert cluster.is_gone()


EXAMPLE = Path("examples/demo.yaml")


def test_the_example_of_three_providers(lab: Lab, tmp_path: Path) -> None:
    """`examples/demo.yaml` with places that exist here, and one of its rehearsals."""
    with CloudServer(vms=BenchVms(lab), address=lab.address) as cloud:
        hosts = [lab.host("a"), lab.host("b")]
        cluster = LocalCluster(tmp_path, name="demo")
        text = EXAMPLE.read_text()
        places = {
            "iris.example.com": f"{lab.address}:{free_port(lab.address, together=2)}",
            "my-project": cloud.project,
            "[10.0.0.1, 10.0.0.2]": json.dumps([host.address for host in hosts]),
            "ssh_user: ray": f"ssh_user: root\n        ssh_key_file: {lab.user_key}",
            "scale_groups:": f"endpoints: {{tpu: {cloud.url}, certificates: {cloud.url}}}\n\nscale_groups:",
        }
        for known, here in places.items():
            assert known in text
            text = text.replace(known, here, 1)
        cluster.config.write_text(text)
        before = [host.listing() for host in hosts]
        cluster.iris("cluster", "start")
        gang = cluster.iris("job", "run", "--accelerator", TYPE, "--", "hostname").out
        assert len({line.split()[1] for line in gang.splitlines()}) == HOSTS
        # More than the processes here have room for: hosts and processes share it.
        said = cluster.iris(
            *("job", "run", "--replicas", "10", "--cpu", "2", "--", "sh", "-c", "hostname; sleep 20")
        ).out
        names = {line.split()[1] for line in said.splitlines()}
        assert {host.name for host in hosts} & names, said
        assert names - {host.name for host in hosts}, said
        cluster.iris("cluster", "stop", "-y")
        assert (cloud.client.nodes(), cluster.processes()) == ({}, {})
        assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
        cluster.destroy()
