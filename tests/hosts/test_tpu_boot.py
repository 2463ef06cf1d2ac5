"""TPU slices from nothing to nothing: machines that run the real startup script against a real controller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import LOG, BenchVms
from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.hosts import BenchLacks, Lab
from tests.harness.hosts.wheels import why_not
from tests.harness.ports import free_port

ZONE = "us-west4-a"
TYPE, HOSTS = "v5litepod-16", 4
LEASE_S, ORPHAN_S, MARGIN_S = 20.0, 15.0, 60.0
BOOT_S = 120.0
CONFIG = f"""\
name: test
controller: {{{{ advertise_address: "{{address}}:{{port}}" }}}}
endpoints: {{{{ tpu: "{{url}}", certificates: "{{url}}" }}}}
scale_groups:
  tpu:
    provider: {{{{ tpu: {{{{ project_id: test-project{{queued}} }}}} }}}}
    accelerator_type: {TYPE}
    zones: [{ZONE}]
    boot_timeout: 2m
    task_lease: {LEASE_S:g}s
timeouts: {{{{ beat_interval: 500ms, suspect_after: 5s, stop_grace: 2s, orphan_timeout: {ORPHAN_S:g}s }}}}
"""
# Says what it sees, and when its machine is to go.
PROGRAM = """\
env | grep -E '^(TPU_|PJRT_)'
trap 'cat "$IRIS_PREEMPTION_FILE"; exit 3' TERM
echo begun
while :; do sleep 0.1; done
"""


class TpuCluster(LocalCluster):
    """A controller on this machine, and Google's machines in a lab."""

    def __init__(self, home: Path, lab: Lab, cloud: CloudServer, vms: BenchVms, queued: str) -> None:
        super().__init__(home)
        self.cloud, self.vms = cloud.client, vms
        port = free_port(lab.address, together=2)
        config = CONFIG.format(address=lab.address, port=port, url=cloud.url, queued=queued)
        self.config.write_text(config)

    def begin(self) -> str:
        """A program on every host of a slice, all of which have begun."""
        job = self.submit("--accelerator", TYPE, "--", "sh", "-c", PROGRAM)
        wait_until(lambda: self.said(job).count("begun") == HOSTS, BOOT_S)
        return job

    def said(self, job: str) -> str:
        return self.iris("job", "logs", job, expect=None).out

    def is_gone(self) -> bool:
        return not self.cloud.nodes() and not self.cloud.queued()

    def deletions(self) -> list[str]:
        """Of the machines themselves; the controller's come over gRPC."""
        return [call.method for call in self.cloud.calls() if call.via == "rest"]

    def told(self) -> str:
        """What the machines say of their start."""
        logs = [self.vms.host(vm.name).read(LOG).decode() for vm in self.cloud.vms()]
        return "\n".join([*logs, self.iris("events", expect=None).out])


@contextmanager
def tpu_cluster(lab: Lab, home: Path, *, queued: bool = False) -> Iterator[TpuCluster]:
    if why := why_not():
        raise BenchLacks(why)
    vms = BenchVms(lab)
    with CloudServer(vms=vms, address=lab.address) as cloud:
        cluster = TpuCluster(home, lab, cloud, vms, ", queued_resources: {}" if queued else "")
        try:
            yield cluster
        finally:
            cluster.destroy()


@pytest.mark.timeout(300)
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
        # Worker 0, and nobody else.
        assert cluster.deletions() == (["DeleteQueuedResource"] if queued else []) + ["DeleteNode"]


@pytest.mark.timeout(300)
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


@pytest.mark.timeout(300)
def test_a_preemption_reaches_every_task_of_the_slice(lab: Lab, tmp_path: Path) -> None:
    with tpu_cluster(lab, tmp_path) as cluster:
        cluster.iris("cluster", "start")
        job = cluster.begin()
        with cluster.events() as events:
            (node,) = cluster.cloud.nodes()
            cluster.cloud.preempt(ZONE, node.rpartition("/")[2], notice_ms=10_000)
            events.wait_for("worker", "NOTICE")
            wait_until(lambda: cluster.said(job).count('"kind": "preempted"') == HOSTS)
