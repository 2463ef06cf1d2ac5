"""VMs of the test cloud on the bench: they boot, run the startup script that they were given, and go."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.cloud.clients import ZONE, TpuUser, result
from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import LOG, BenchVms
from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab

ONE_HOST: dict[str, Any] = {"accelerator_type": "v5litepod-4"}
FOUR_HOSTS: dict[str, Any] = {"accelerator_type": "v5litepod-16"}
# Asks where it is, waits for the end of everything.
SCRIPT = """\
#!/usr/bin/env python3
import os, pathlib, urllib.request
def ask(path):
    url = "http://metadata.google.internal/computeMetadata/v1/instance/" + path
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    return urllib.request.urlopen(request, timeout=10).read().decode()
print("worker", ask("attributes/agent-worker-number"), "home", os.environ.get("HOME"), flush=True)
pathlib.Path("/var/preempted").write_text(ask("preempted?wait_for_change=true&timeout_sec=60"))
"""


class Bench:
    """A cloud on a lab, and a client."""

    def __init__(self, lab: Lab, cloud: CloudServer, vms: BenchVms, user: TpuUser) -> None:
        self.lab, self.cloud, self.vms, self.user = lab, cloud, vms, user

    def hosts(self, node: str) -> list[Host]:
        return [self.vms.host(vm.name) for vm in self.cloud.client.vms(node)]

    def said(self, node: str, words: str) -> None:
        """Waits until all hosts of a node have said this in their script's log."""
        for vm in self.cloud.client.vms(node):
            wait_until(lambda vm=vm: self.is_said(vm.name, words))  # type: ignore[misc]

    def is_said(self, name: str, words: str) -> bool:
        try:
            return words in self.vms.host(name).read(LOG).decode()
        except (AssertionError, FileNotFoundError):
            return False


@pytest.fixture
def bench(lab: Lab) -> Generator[Bench]:
    vms = BenchVms(lab)
    with CloudServer(vms=vms, address=lab.address) as cloud:
        user = TpuUser(cloud, "grpc")
        yield Bench(lab, cloud, vms, user)
        user.close()


def test_every_host_of_a_slice_runs_the_script(bench: Bench) -> None:
    made = result(bench.user.create(metadata={"startup-script": SCRIPT}, **FOUR_HOSTS))
    bench.said("n1", "worker ")
    logs = [host.read(LOG).decode() for host in bench.hosts("n1")]
    assert [log.splitlines()[0] for log in logs] == [f"worker {n} home None" for n in range(4)]
    addresses = [host.address for host in bench.hosts("n1")]
    assert [end.ip_address for end in made.network_endpoints] == addresses
    assert len({host.boot_id for host in bench.hosts("n1")}) == 4
    # They reach each other, and the cloud.
    first, last = bench.hosts("n1")[0], bench.hosts("n1")[-1]
    look = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    first.output("python3", "-c", look, last.name, "22")
    first.output("python3", "-c", look, *bench.cloud.address.split(":"))


def test_notice_comes_before_the_end(bench: Bench) -> None:
    result(bench.user.create(metadata={"startup-script": SCRIPT}, **ONE_HOST))
    bench.said("n1", "worker 0")
    (host,) = bench.hosts("n1")
    bench.cloud.client.preempt(ZONE, "n1", notice_ms=3000)
    wait_until(lambda: host.is_on and host.run(["cat", "/var/preempted"]).stdout == b"TRUE")
    bench.cloud.client.wait_node(ZONE, "n1", "PREEMPTED")
    wait_until(lambda: not host.is_on)
    # What asked for its end has gone with it, and it is still listed.
    assert bench.user.listed() == ["n1"]


def test_a_deleted_node_leaves_nothing(bench: Bench) -> None:
    result(bench.user.create(metadata={"startup-script": SCRIPT}, **FOUR_HOSTS))
    bench.said("n1", "worker ")
    hosts = bench.hosts("n1")
    result(bench.user.delete())
    wait_until(lambda: not any(host.is_on for host in hosts))
    names = [host.name for host in hosts]
    wait_until(lambda: not any((bench.lab.directory / "hosts" / name).exists() for name in names))
    # As often as one likes: names and addresses come back.
    bench.cloud.client.set_rate("CreateNode", None)
    for turn in range(2):
        result(bench.user.create(f"again-{turn}", **ONE_HOST))
        result(bench.user.delete(f"again-{turn}"))


def test_a_host_that_never_boots_and_one_that_is_late(bench: Bench) -> None:
    bench.cloud.client.fault("partial", "CreateNode", hosts=[1])
    bench.cloud.client.set_timings(boot_of={2: 2000})
    result(bench.user.create(metadata={"startup-script": SCRIPT}, **FOUR_HOSTS))
    names = [vm.name for vm in bench.cloud.client.vms("n1")]
    for index in (0, 3):
        wait_until(lambda index=index: bench.is_said(names[index], f"worker {index}"))  # type: ignore[misc]
    on = [vm.index for vm in bench.cloud.client.vms("n1") if vm.on]
    assert on in ([0, 3], [0, 2, 3])
    wait_until(lambda: bench.is_said(names[2], "worker 2"))
    assert [vm.index for vm in bench.cloud.client.vms("n1") if vm.on] == [0, 2, 3]


def test_a_script_that_fails_says_so_and_the_host_stays(bench: Bench) -> None:
    script = "#!/bin/sh\necho to stdout; echo to stderr >&2; exit 7\n"
    result(bench.user.create(metadata={"startup-script": script}, **ONE_HOST))
    bench.said("n1", "to stdout\nto stderr\nstartup-script exit status 7\n")
    assert bench.hosts("n1")[0].is_on


def test_one_host_dies_and_comes_back(bench: Bench) -> None:
    script = "#!/bin/sh\necho booted\n"
    result(bench.user.create(metadata={"startup-script": script}, **ONE_HOST))
    bench.said("n1", "exit status 0")
    (vm,) = bench.cloud.client.vms("n1")
    host = bench.vms.host(vm.name)
    before = host.boot_id
    bench.cloud.client.cut_vm(vm.key)
    wait_until(lambda: not host.is_on)
    bench.cloud.client.boot_vm(vm.key)
    wait_until(lambda: bench.vms.is_up(vm.name))
    # Startup scripts run at every boot.
    wait_until(lambda: host.read(LOG).decode().count("booted") == 2)
    assert host.boot_id != before
