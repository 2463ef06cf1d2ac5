"""A controller on a manual host: everything goes through SSH, from a machine that keeps no more than keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import Host, Lab
from tests.hosts.test_manual_cluster import ManualCluster, hosts_of

CONFIG = """\
name: test
controller: {{ manual: {{ host: {controller}, ssh_key_file: {key} }} }}
scale_groups:
  boxes:
    provider:
      manual: {{ hosts: [{hosts}], ssh_key_file: {key} }}
    host_resources: {{ cpu: 2 }}
    slice_size: {slice_size}
    idle_timeout: {idle_timeout}
    boot_timeout: 2m
    task_lease: 20s
ssh: {{ config_file: /nonexistent, connect_timeout: 5s }}
timeouts: {{ beat_interval: 500ms, suspect_after: 5s, stop_grace: 2s }}
"""


class RemoteCluster(ManualCluster):
    """The first host is the controller's."""

    def __init__(self, home: Path, lab: Lab, hosts: list[Host]) -> None:
        super().__init__(home, lab, hosts)
        self.controller_host, *self.hosts = hosts
        self.config.write_text(
            CONFIG.format(
                controller=self.controller_host.address,
                hosts=", ".join(host.address for host in self.hosts),
                key=lab.user_key,
                slice_size=1,
                idle_timeout="2s",
            )
        )


Make = Callable[[list[Host]], RemoteCluster]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    made: list[RemoteCluster] = []

    def one(hosts: list[Host]) -> RemoteCluster:
        made.append(RemoteCluster(tmp_path, lab, hosts))
        return made[-1]

    yield one
    for cluster in made:
        cluster.destroy()


@pytest.mark.parametrize(("base", "python"), [("machine", "3.11"), ("trixie", "3.13")])
def test_from_bare_hosts_to_a_job_and_back(make: Make, lab: Lab, base: str, python: str) -> None:
    hosts = hosts_of(lab, 3, base, python)
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--replicas", "4", "--", "hostname")
    assert {line.split()[-1] for line in ran.out.splitlines()} <= {host.name for host in cluster.hosts}
    cluster.iris("cluster", "stop", "-y", "--forget")
    assert not list(cluster.home.glob("state/iris*/test"))
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], [], []]
