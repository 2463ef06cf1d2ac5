"""A cluster over real SSH: from bare hosts to finished jobs, and back to bare hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import LocalCluster
from tests.harness.hosts import BenchLacks, Host, Lab
from tests.harness.hosts.wheels import why_not

PORT = 10400
CONFIG = """\
name: test
controller: {{ advertise_address: "{address}:{port}" }}
scale_groups:
  boxes:
    provider:
      manual: {{ hosts: [{hosts}], ssh_key_file: {key} }}
    host_resources: {{ cpu: 2 }}
    slice_size: {slice_size}
    idle_timeout: 2s
    boot_timeout: 2m
ssh: {{ config_file: /nonexistent }}
timeouts: {{ beat_interval: 500ms, suspect_after: 5s, stop_grace: 2s }}
"""


class ManualCluster(LocalCluster):
    """A controller on this machine and hosts of a lab."""

    def __init__(self, home: Path, lab: Lab, hosts: list[Host], slice_size: int = 1) -> None:
        super().__init__(home)
        self.config.write_text(
            CONFIG.format(
                address=lab.address,
                port=PORT,
                hosts=", ".join(host.address for host in hosts),
                key=lab.user_key,
                slice_size=slice_size,
            )
        )


@pytest.fixture
def hosts(lab: Lab) -> list[Host]:
    if why := why_not():
        raise BenchLacks(why)
    return lab.hosts(2)


@pytest.fixture
def cluster(lab: Lab, hosts: list[Host], tmp_path: Path) -> Iterator[ManualCluster]:
    made = ManualCluster(tmp_path, lab, hosts)
    try:
        yield made
    finally:
        made.destroy()


def test_from_bare_hosts_to_a_job_and_back(cluster: ManualCluster, hosts: list[Host]) -> None:
    before = [host.listing() for host in hosts]
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--replicas", "4", "--", "hostname")
    assert {line.split()[-1] for line in ran.out.splitlines()} <= {host.name for host in hosts}
    cluster.iris("cluster", "stop", "-y")
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
    assert cluster.processes() == {}
