"""Benchmark 6 on a cloud: from the boot of a slice's last host to the slice being READY.

Hosts are namespaces of this machine that run the startup script which the test cloud was
given, and boot one after the other, as they do. The limit is one such host that unpacks the
same wheels and loads gRPC, and nothing else.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from bench.fleet import BUNDLE_THERE, bundle_for
from bench.local_cluster import Client
from bench.measure import Benchmark, Floor, Lineup, Role, Sample, Scale, Setting, Subject, Unit, Work
from bench.sealed import on_hosts
from iris_config.accelerators import find_accelerator
from iris_proto.v1.job_pb2 import JobState
from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import BenchVms
from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.hosts import Host, Lab
from tests.harness.ports import free_port

APART = "the last host boots alone"
TOGETHER = "all hosts boot at once"
LIMIT = "unpack the wheels, load gRPC"

ZONE = "us-west4-a"
GONE_S = 60.0
# What is between two hosts: on this machine each needs a processor for as long.
BOOT_APART_MS = 4000
CONFIG = """\
name: bench
controller: {{ advertise_address: "{address}:{port}" }}
endpoints: {{ tpu: "{url}", certificates: "{url}" }}
scale_groups:
  tpu:
    provider: {{ tpu: {{ project_id: test-project }} }}
    accelerator_type: {type}
    zones: [{zone}]
    idle_timeout: 1s
"""
UNPACKED_THERE = "/var/tmp/iris-unpacked"
UNPACK = """\
import io, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as bundle:
    for name in bundle.namelist():
        if name.endswith(".whl"):
            zipfile.ZipFile(io.BytesIO(bundle.read(name))).extractall(sys.argv[2])
sys.path.insert(0, sys.argv[2])
import grpc
print(grpc.__version__)
"""


class TpuFleet:
    """A cluster whose one group is on the test cloud, started."""

    def __init__(
        self, home: Path, lab: Lab, cloud: CloudServer, vms: BenchVms, accelerator_type: str
    ) -> None:
        self.cloud, self.vms = cloud, vms
        self.type, self.hosts = accelerator_type, find_accelerator(accelerator_type).hosts
        home.mkdir()
        self.cluster = LocalCluster(home, name="bench")
        port = free_port(lab.address, together=2)
        self.cluster.config.write_text(
            CONFIG.format(address=lab.address, port=port, url=cloud.url, type=accelerator_type, zone=ZONE)
        )
        self.cluster.iris("cluster", "start")
        self.client = Client(self.cluster.state_dir)

    def close(self) -> None:
        """Nothing of it is left."""
        self.client.close()
        self.cluster.destroy()

    def measure(self, boot_of: Mapping[int, int]) -> Sample:
        """One slice, from nothing to nothing, that runs a job on every host."""
        self.cloud.client.set_timings(boot_of)
        job_id = self.cluster.submit("--accelerator", self.type, "--", "true")
        state = JobState.Name(self.client.wait(job_id).state)
        began_s = [self.vms.began_s(vm.name) for vm in self.cloud.client.vms()]
        (name,) = {node.rpartition("/")[2] for node in self.cloud.client.nodes()}
        events = self.cluster.json("events")["events"]
        (ready_s,) = [_seconds(e["at"]) for e in events if (e["subject"], e["what"]) == (name, "READY")]
        # It is idle now, and goes.
        wait_until(lambda: not self.cloud.client.vms(), GONE_S)
        asked = [self.hosts, "JOB_STATE_SUCCEEDED"]
        return Sample((ready_s - max(began_s),), Work("hosts, and their job", asked, [len(began_s), state]))


def _seconds(moment: str) -> float:
    read = Timestamp()
    read.FromJsonString(moment)
    return read.ToNanoseconds() / 1e9


def _unpack(host: Host, bundle: Path) -> Callable[[], Sample]:
    numbers = itertools.count(1)
    host.write(BUNDLE_THERE, bundle.read_bytes())

    def measure() -> Sample:
        there = f"{UNPACKED_THERE}-{next(numbers)}"
        began = time.perf_counter()
        version = host.output("python3", "-I", "-S", "-c", UNPACK, BUNDLE_THERE, there).strip()
        seconds = time.perf_counter() - began
        host.output("rm", "-r", there)
        return Sample((seconds,), Work("gRPC loaded", True, bool(version)))

    return measure


@contextmanager
def lineup(setting: Setting) -> Iterator[Lineup]:
    """On hosts; runs sealed."""
    accelerator_type = f"v5litepod-{setting.size}"
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        (spare,) = lab.hosts(1)
        bundle = bundle_for(spare, setting.scratch)
        vms = BenchVms(lab)
        cloud = stack.enter_context(CloudServer(vms=vms, address=lab.address))
        fleet = TpuFleet(setting.scratch / "cluster", lab, cloud, vms, accelerator_type)
        stack.callback(fleet.close)
        apart = {number: number * BOOT_APART_MS for number in range(fleet.hosts)}
        together = dict.fromkeys(apart, 0)
        yield [
            Subject(APART, Role.PRODUCT, lambda: fleet.measure(apart), LIMIT),
            Subject(LIMIT, Role.LIMIT, _unpack(spare, bundle.path)),
            Subject(TOGETHER, Role.PRODUCT, lambda: fleet.measure(together), LIMIT),
        ]


READY = Benchmark(
    name="ready",
    number=6,
    title="a TPU slice, from the boot of its last host to READY",
    unit=Unit.SECONDS,
    full=Scale(rounds=15, size=16),
    smoke=Scale(rounds=1, size=4),
    floors=(Floor(APART, 1.5, quantile=0.99),),
    lineup=on_hosts("bench.ready:lineup"),
    quantiles=(0.5, 0.99),
)
