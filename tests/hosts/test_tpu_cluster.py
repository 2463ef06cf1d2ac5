"""TPU slices whose machines boot, join, work and go, on a cloud that behaves like Google's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import BenchVms
from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.hosts import Lab
from tests.harness.ports import free_port

ZONE = "us-central1-a"
CONFIG = """\
name: {name}
controller:
  local: {{}}
  advertise_address: {address}
endpoints: {{ tpu: "{url}", compute: "{url}", certificates: "{url}" }}
scale_groups:
  v5e:
    provider: {{ tpu: {{ project_id: test-project }} }}
    accelerator_type: v5litepod-16
    zones: [{zone}]
    max_slices: 2
    idle_timeout: 5s
{more}timeouts: {{ beat_interval: 500ms, suspect_after: 5s, stop_grace: 2s }}
"""


@pytest.fixture
def cloud(lab: Lab) -> Iterator[CloudServer]:
    with CloudServer(vms=BenchVms(lab), address=lab.address) as server:
        yield server


Make = Callable[..., LocalCluster]


@pytest.fixture
def make(tmp_path: Path, lab: Lab, cloud: CloudServer) -> Iterator[Make]:
    made: list[LocalCluster] = []

    def make(more: str = "") -> LocalCluster:
        cluster = LocalCluster(tmp_path)
        address = f"{lab.address}:{free_port(lab.address, together=2)}"
        cluster.config.write_text(
            CONFIG.format(name=cluster.name, address=address, url=cloud.url, zone=ZONE, more=more)
        )
        made.append(cluster)
        cluster.iris("cluster", "start")
        return cluster

    yield make
    for cluster in made:
        cloud.client.clear_faults()
        cluster.iris("cluster", "stop", "-y")
        assert cluster.processes() == {}
        cluster.destroy()
    assert (cloud.client.nodes(), cloud.client.queued()) == ({}, {})


SHOW = 'echo "$TPU_WORKER_ID of $TPU_WORKER_HOSTNAMES is $TPU_ACCELERATOR_TYPE $PJRT_DEVICE at $IRIS_COORDINATOR_ADDRESS"'


def test_b12_b55_a_job_on_a_slice(make: Make, cloud: CloudServer) -> None:
    cluster = make()
    done = cluster.iris("job", "run", "--accelerator", "v5litepod-16", "--", "sh", "-c", SHOW)
    print(done)
    lines = sorted(done.out.splitlines())
    assert len(lines) == 4
    # Idle, it is given back.
    wait_until(lambda: cloud.client.nodes() == {})
