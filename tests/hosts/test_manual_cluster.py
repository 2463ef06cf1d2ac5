"""A cluster over real SSH: from bare hosts to finished jobs, and back to bare hosts."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.hosts import BenchLacks, Host, Lab
from tests.harness.hosts.wheels import why_not
from tests.harness.ports import free_port
from tests.hosts.walking import walk

CONFIG = """\
name: test
controller: {{ advertise_address: "{address}:{port}" }}
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
# Modules that were compiled after the installation, on a host that has one.
COMPILED_LATER = """\
cd /var/lib/iris-host/bundles/*/ && find . -name '*.pyc' -newer installed.json || true
"""
# On a host: what counts there may end.
MAY_END = "/var/tmp/may-end"


class ManualCluster(LocalCluster):
    """A controller on this machine and hosts of a lab."""

    def __init__(
        self, home: Path, lab: Lab, hosts: list[Host], slice_size: int = 1, idle_timeout: str = "2s"
    ) -> None:
        super().__init__(home)
        self.hosts = hosts
        self.config.write_text(
            CONFIG.format(
                address=lab.address,
                port=free_port(lab.address, together=2),
                hosts=", ".join(host.address for host in hosts),
                key=lab.user_key,
                slice_size=slice_size,
                idle_timeout=idle_timeout,
            )
        )

    def begin(self) -> str:
        """A task that counts until it may end, and has begun."""
        script = f"n=0; until [ -e {MAY_END} ]; do n=$((n + 1)); echo $n; sleep 0.2; done; echo end"
        job = self.submit("--", "sh", "-c", script)
        wait_until(lambda: len(self._said(job)) > 0)
        return job

    def finish(self, job: str) -> None:
        """The task goes on, may end, and has counted to its end, undisturbed."""
        before = len(self._said(job))
        wait_until(lambda: len(self._said(job)) > before)
        for host in self.hosts:
            if host.is_on:
                host.write(MAY_END, b"")
        self.iris("job", "wait", job)
        *counted, last = self._said(job)
        assert (counted, last) == ([str(number + 1) for number in range(len(counted))], "end")
        (task,) = self.json("job", "show", job)["tasks"]
        assert (task["attempts"], task["losses"]) == (1, 0)

    def _said(self, job: str) -> list[str]:
        return self.iris("job", "logs", job).out.split()

    def told(self) -> str:
        """Everything that it says of what is wrong."""
        events = self.json("events")["events"]
        return json.dumps([events, self.json("cluster", "status"), self.json("group", "list")])


Make = Callable[..., ManualCluster]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    made: list[ManualCluster] = []

    def one(hosts: list[Host], slice_size: int = 1, idle_timeout: str = "2s") -> ManualCluster:
        made.append(ManualCluster(tmp_path, lab, hosts, slice_size, idle_timeout))
        return made[-1]

    yield one
    for cluster in made:
        cluster.destroy()


def hosts_of(lab: Lab, count: int, base: str = "machine", python: str = "3.11") -> list[Host]:
    if why := why_not(python):
        raise BenchLacks(why)
    return lab.hosts(count, base=base)


@pytest.mark.parametrize(("base", "python"), [("machine", "3.11"), ("bookworm", "3.11"), ("trixie", "3.13")])
def test_from_bare_hosts_to_a_job_and_back(make: Make, lab: Lab, base: str, python: str) -> None:
    hosts = hosts_of(lab, 2, base, python)
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--replicas", "4", "--", "hostname")
    assert {line.split()[-1] for line in ran.out.splitlines()} <= {host.name for host in hosts}
    # What every start loads was compiled once and for all.
    assert [host.output("sh", "-c", COMPILED_LATER) for host in hosts] == ["", ""]
    cluster.iris("cluster", "stop", "-y")
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
    assert cluster.processes() == {}


def test_a_gang_on_a_slice_of_two_hosts(make: Make, lab: Lab) -> None:  # B12
    hosts = hosts_of(lab, 2)
    cluster = make(hosts, slice_size=2)
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--replicas", "2", "--gang", "--cpu", "2", "--", "sh", "-c", "hostname")
    assert {line.split()[-1] for line in ran.out.splitlines()} == {host.name for host in hosts}


def test_b40_a_killed_controller_disturbs_nothing(make: Make, lab: Lab) -> None:
    cluster = make(hosts_of(lab, 1))
    cluster.iris("cluster", "start")
    job = cluster.begin()
    cluster.kill_controller()
    cluster.iris("cluster", "start")
    cluster.finish(job)


def test_b32_a_host_that_loses_its_power_is_replaced(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    cluster = make(hosts, idle_timeout="1m")
    cluster.iris("cluster", "start")
    job = cluster.submit("--", "sh", "-c", "hostname; sleep 10")
    wait_until(lambda: cluster.iris("job", "logs", job).out != "")
    first = cluster.iris("job", "logs", job).out.split()[0]
    next(host for host in hosts if host.name == first).kill()
    cluster.iris("job", "wait", job)
    (task,) = cluster.json("job", "show", job)["tasks"]
    assert (task["state"], task["losses"]) == ("TASK_STATE_SUCCEEDED", 1)


@pytest.mark.parametrize("trouble", ["refuse_key", "remove_python", "fill_disk", "kill"])
def test_a_host_with_a_trouble_says_so_while_the_others_work(make: Make, lab: Lab, trouble: str) -> None:
    bad, good = hosts_of(lab, 2)
    getattr(bad, trouble)()
    cluster = make([bad, good])
    cluster.iris("cluster", "start")
    assert cluster.iris("job", "run", "--", "hostname").out == f"{good.name}\n"
    words = {
        "refuse_key": "key",
        "remove_python": "there is no python3 on this host",
        "fill_disk": "space",
        "kill": bad.address,
    }[trouble]
    told = cluster.told()
    assert bad.address in told and words in told, told


def test_a_changed_host_key_is_refused(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make([host])
    cluster.iris("cluster", "start")
    assert cluster.iris("job", "run", "--", "hostname").out == f"{host.name}\n"
    with cluster.events() as watch:
        watch.wait_for("slice", "GONE")
    # As one that was installed anew: whoever is connected stays with whom it knows.
    host.kill()
    host.new_host_key()
    host.boot(fresh_disk=True)
    job = cluster.submit("--", "hostname")
    wait_until(lambda: "host key" in cluster.told())
    assert cluster.json("job", "show", job)["tasks"][0]["state"] == "TASK_STATE_PENDING"


def test_nothing_in_names_is_ever_run(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make([host])
    cluster.iris("cluster", "start")
    nasty = "$(touch /tmp/pwned)`touch /tmp/pwned`'\"; touch /tmp/pwned #\n"
    ran = cluster.iris(
        "job", "run", "--name", "x", "-e", f"NASTY={nasty}", "--", "sh", "-c", 'printf %s "$NASTY"'
    )
    assert ran.out == nasty
    assert host.run(["test", "-e", "/tmp/pwned"]).returncode == 1
    assert not Path("/tmp/pwned").exists()
    secrets = subprocess.run(
        ["grep", "-rl", "PRIVATE KEY", str(cluster.state_dir)], capture_output=True, text=True, check=False
    )
    assert secrets.stdout == ""


def test_eight_hosts_in_two_groups_beside_a_local_one(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 8)
    before = [host.listing() for host in hosts]
    cluster = make(hosts[:4])
    addresses = ", ".join(host.address for host in hosts[4:])
    more = f"""\
  pairs:
    provider: {{ manual: {{ hosts: [{addresses}], ssh_key_file: {lab.user_key} }} }}
    host_resources: {{ cpu: 2 }}
    slice_size: 2
  here:
    provider: {{ local: {{}} }}
    host_resources: {{ cpu: 2 }}
ssh:"""
    cluster.config.write_text(cluster.config.read_text().replace("ssh:", more, 1))
    cluster.iris("cluster", "start")
    # As many as there are cpus, for so long that none of them can take two.
    job = cluster.submit("--replicas", "18", "--", "sh", "-c", "hostname; sleep 120")
    everywhere = {host.name for host in hosts} | {socket.gethostname()}
    wait_until(lambda: set(cluster.iris("job", "logs", job).out.split()[1::2]) == everywhere, 120)
    zone = cluster.json("slice", "list")["slices"]
    assert len(zone) == 4 + 2 + 1
    cluster.iris("job", "stop", job)
    cluster.iris("cluster", "stop", "-y")
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[]] * 8


def test_the_walk_through(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    replaced = {
        "10.0.0.11, 10.0.0.12": ", ".join(host.address for host in hosts),
        "~/.ssh/id_ed25519": str(lab.user_key),
    }
    said = walk(cluster, replaced, "manual-hosts.md", "# Hosts of your own")
    assert all(host.name in said for host in hosts[:1])
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
