"""A cluster of TPU slices on a cloud whose machines are hosts of the bench, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    accelerator_type: {{kind}}
    zones: [{{zone}}]
    max_slices: {{max_slices}}
    boot_timeout: 2m
    task_lease: {LEASE_S:g}s
timeouts:
  {{{{ beat_interval: 500ms, suspect_after: 3s, fence_after: 6s, stop_grace: 2s, orphan_timeout: {{orphan_s:g}}s }}}}
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

    def __init__(
        self, home: Path, lab: Lab, cloud: CloudServer, vms: BenchVms, orphan_s: float, **group: object
    ) -> None:
        super().__init__(home)
        self.cloud, self.vms = cloud.client, vms
        port = free_port(lab.address, together=2)
        config = CONFIG.format(address=lab.address, port=port, url=cloud.url, orphan_s=orphan_s, **group)
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
def tpu_cluster(
    lab: Lab,
    home: Path,
    *,
    queued: bool = False,
    orphan_s: float = ORPHAN_S,
    kind: str = TYPE,
    zone: str = ZONE,
    max_slices: int = 1,
) -> Iterator[TpuCluster]:
    """Nothing of it is left in the end."""
    if why := why_not():
        raise BenchLacks(why)
    vms = BenchVms(lab)
    with CloudServer(vms=vms, address=lab.address) as cloud:
        line = ", queued_resources: {}" if queued else ""
        cluster = TpuCluster(
            home, lab, cloud, vms, orphan_s, queued=line, kind=kind, zone=zone, max_slices=max_slices
        )
        try:
            yield cluster
        finally:
            cluster.destroy()
