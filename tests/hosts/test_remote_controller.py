"""A controller on a manual host: everything goes through SSH, from a machine that keeps no more than keys."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import COMMAND_S, wait_until
from tests.harness.hosts import Host, Lab
from tests.hosts.test_doctor import examined, of
from tests.hosts.test_manual_cluster import ManualCluster, hosts_of
from tests.hosts.walking import walk


class RemoteCluster(ManualCluster):
    """The first host is the controller's."""

    def __init__(self, home: Path, lab: Lab, hosts: list[Host]) -> None:
        self.controller_host, *others = hosts
        super().__init__(home, lab, others)
        manual = f"{{ manual: {{ host: {self.controller_host.address}, ssh_key_file: {lab.user_key} }} }}"
        self.config.write_text(re.sub("controller: .*\n", f"controller: {manual}\n", self.config.read_text()))

    def controller(self) -> int:
        """The controller's process, by its number on its host; 0 while there is none."""
        path = "/var/lib/iris-host/controller/state.json"
        return int(json.loads(self.controller_host.output("cat", path)).get("pid") or 0)


Make = Callable[..., RemoteCluster]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    made: list[RemoteCluster] = []

    def one(hosts: list[Host], machine: str = "mine") -> RemoteCluster:
        home = tmp_path / machine
        home.mkdir()
        made.append(RemoteCluster(home, lab, hosts))
        return made[-1]

    yield one
    for cluster in made:
        cluster.destroy()


def test_from_bare_hosts_to_a_job_and_back(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 3, "trixie", "3.13")
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    planned = cluster.json("cluster", "start", "--dry-run")
    assert planned["hosts"] == sorted(host.address for host in cluster.hosts)
    assert not list(cluster.home.rglob("known_hosts*"))
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], [], []]
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--replicas", "4", "--", "hostname")
    assert {line.split()[-1] for line in ran.out.splitlines()} <= {host.name for host in cluster.hosts}
    planned = cluster.json("cluster", "stop", "--dry-run", "--forget")
    assert planned["controller_pid"] == cluster.controller()
    cluster.iris("cluster", "stop", "-y", "--forget")
    assert not list(cluster.home.glob("state/iris*/test"))
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], [], []]


def test_the_walk_through(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 3, "bookworm")
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    replaced = {
        "10.0.0.11, 10.0.0.12": ", ".join(host.address for host in cluster.hosts),
        "10.0.0.10": cluster.controller_host.address,
        "~/.ssh/id_ed25519": str(lab.user_key),
    }
    said = walk(cluster, replaced, "manual-hosts.md", "## A controller on a host of yours")
    assert any(host.name in said for host in cluster.hosts)
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], [], []]


def test_commands_from_another_machine_and_through_a_tunnel(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    cluster, other = make(hosts), make(hosts, "another")
    assert "installed" in other.iris("cluster", "login", expect=1).err
    cluster.iris("cluster", "start")
    assert other.iris("job", "list", expect=5).code == 5
    other.iris("cluster", "login")
    assert other.json("job", "list")["jobs"] == []
    assert "is running already" in other.iris("cluster", "start").err
    tunnel = other.spawn("cluster", "tunnel")
    assert tunnel.stdout is not None
    address = tunnel.stdout.readline().strip()
    assert address.startswith("127.0.0.1:")
    # No handshake of its own: the controller's host may refuse it.
    cluster.controller_host.refuse_key()
    assert other.json("job", "list")["jobs"] == []
    assert cluster.iris("job", "list", expect=5).err
    cluster.controller_host.accept_key()
    tunnel.send_signal(signal.SIGINT)
    tunnel.communicate(timeout=COMMAND_S)
    assert tunnel.returncode == 130
    assert other.json("job", "list")["jobs"] == []
    kept = cluster.json("cluster", "stop", "-y")["kept"]
    assert kept["state_dir"].startswith(f"{cluster.controller_host.address}:/var/lib/iris-host/")
    # The authority is what it was, and so is the operator.
    cluster.iris("cluster", "start")
    assert other.json("job", "list")["jobs"] == []


def test_b40_b43_the_controller_ends_and_tasks_do_not_notice(make: Make, lab: Lab) -> None:
    cluster = make(hosts_of(lab, 2))
    cluster.iris("cluster", "start")
    job = cluster.begin()
    killed = cluster.controller()
    cluster.controller_host.run(["kill", "-9", str(killed)])
    wait_until(lambda: cluster.controller() not in (0, killed))
    wait_until(lambda: cluster.iris("cluster", "status", expect=None).code == 0)
    restarted = cluster.controller()
    cluster.iris("cluster", "restart")
    assert cluster.controller() not in (0, restarted)
    cluster.finish(job)


def test_hosts_whose_size_nobody_said_are_asked(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 3)
    cluster = make(hosts)
    text = cluster.config.read_text()
    assert "    host_resources: { cpu: 2 }\n" in text
    cluster.config.write_text(text.replace("    host_resources: { cpu: 2 }\n", ""))
    hosts[1].kill()
    assert f"host {hosts[1].address} does not say what it offers" in cluster.iris("cluster", "start").err
    (group,) = cluster.json("cluster", "status")["config"]["scale_groups"].values()
    assert group["host_resources"]["cpu"] == len(os.sched_getaffinity(0))
    assert int(group["host_resources"]["memory"]) > 1 << 28
    assert cluster.iris("job", "run", "--", "hostname").out == f"{hosts[2].name}\n"
    # What is known is not asked again, and is no other configuration.
    again = cluster.iris("cluster", "start").err
    assert "is running already" in again and "what they offer" not in again


def test_a_host_that_does_not_let_us_in_and_a_controller_that_others_have(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 3)
    bad, good = hosts[1:]
    cluster = make(hosts)
    bad.refuse_key()
    started = cluster.iris("cluster", "start").err
    assert f"host {bad.address}: " in started and "once more lets it in" in started
    assert cluster.iris("job", "run", "--", "hostname").out == f"{good.name}\n"
    bad.accept_key()
    assert "once more" not in cluster.iris("cluster", "start").err
    taken = make(hosts, "another")
    taken.config.write_text(taken.config.read_text().replace("name: test", "name: second"))
    refused = taken.iris("cluster", "start", expect=1).err
    assert "has the controller of cluster test" in refused and "take another host" in refused
    assert cluster.json("cluster", "status")["name"] == "test"
    changed = make(hosts, "third")
    changed.config.write_text(changed.config.read_text().replace("idle_timeout: 2s", "idle_timeout: 3s"))
    assert "idle_timeout" in changed.iris("cluster", "start", expect=6).out


def test_a_stop_when_the_controllers_host_is_gone(make: Make, lab: Lab) -> None:
    controller_host, host, other = hosts_of(lab, 3)
    before = host.listing()
    cluster = make([controller_host, host])
    cluster.iris("cluster", "start")
    job = cluster.begin()
    assert job and host.listing().since(before)
    checks = examined(cluster, 0)
    assert f"process {cluster.controller()}" in of(controller_host, checks)["ports"][1]
    assert all(of(each, checks)["owner"][1].startswith("ours") for each in (controller_host, host))
    assert of(host, checks)["reaches us"][0] == of(host, checks)["lets it in"][0] == "ok"
    controller_host.power_off()
    # Nothing is forgotten as long as something is left.
    stopped = cluster.iris("cluster", "stop", "-y", "--forget", expect=6)
    assert controller_host.address in stopped.err and "the controller: " in stopped.err
    assert host.listing().since(before) == []
    # Its place is taken by another, with the keys of which there is a backup.
    cluster_id = json.loads((cluster.state_dir / "site.json").read_text())["cluster_id"]
    text = cluster.config.read_text()
    cluster.config.write_text(text.replace(controller_host.address, other.address))
    refused = cluster.iris("cluster", "start", expect=6).err
    assert f"on {controller_host.address}, and not stopped there" in refused
    shutil.rmtree(cluster.state_dir)
    cluster.iris("cluster", "start")
    assert cluster.json("cluster", "status")["cluster_id"] == cluster_id
    assert cluster.iris("job", "run", "--", "hostname").out == f"{host.name}\n"


def test_a_full_disk_keeps_nobody_from_stopping(make: Make, lab: Lab) -> None:
    controller_host, host = lab.host("full", disk=512 << 20), *hosts_of(lab, 1)
    before = [each.listing() for each in (controller_host, host)]
    cluster = make([controller_host, host])
    cluster.iris("cluster", "start")
    controller_host.fill_disk()
    cluster.iris("cluster", "stop", "-y", "--forget")
    controller_host.free_disk()
    assert [each.listing().since(old) for each, old in zip((controller_host, host), before, strict=True)] == [
        [],
        [],
    ]


def test_a_start_that_is_interrupted_leaves_what_a_stop_removes(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    start = cluster.spawn("cluster", "start")
    assert start.stderr is not None
    for line in start.stderr:
        if "install it" in line:
            break
    start.send_signal(signal.SIGINT)
    _, err = start.communicate(timeout=COMMAND_S)
    assert start.returncode == 130, err
    assert "cluster stop --forget" in err and "stay for the next start" in err
    cluster.iris("cluster", "stop", "-y", "--forget")
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]


def test_a_stop_takes_slices_off_the_hosts_that_it_reaches(make: Make, lab: Lab) -> None:
    controller_host, here, away = hosts_of(lab, 3)
    before = here.listing()
    cluster = make([controller_host, here, away])
    cluster.iris("cluster", "start")
    busy = ("--detach", "--replicas", "2", "--cpu", "2", "--", "sleep", "1000")
    cluster.iris("job", "run", *busy)
    wait_until(lambda: bool(here.processes() and away.processes()))
    wait_until(lambda: len(cluster.json("slice", "list")["slices"]) == 2)
    controller_host.power_off()
    away.power_off()
    stopped = cluster.iris("cluster", "stop", "-y", expect=6).err
    assert here.processes() == {} and here.listing().since(before) == []
    assert f"whether a slice is on {away.address} is not known" in stopped and here.address not in stopped


def test_a_stop_ends_what_a_controller_that_is_gone_was_about_to_start(make: Make, lab: Lab) -> None:
    controller_host, here = hosts_of(lab, 2)
    before = here.listing()
    cluster = make([controller_host, here])
    cluster.iris("cluster", "start")
    cluster.iris("job", "run", "--detach", "--cpu", "2", "--", "sleep", "1000")
    wait_until(lambda: bool(here.processes()))
    controller_host.kill()
    stopped = cluster.iris("cluster", "stop", "-y", expect=6)
    assert "what a controller that does not answer may have begun" in stopped.out
    assert here.processes() == {} and here.listing().since(before) == []
