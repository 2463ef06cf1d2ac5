"""Agents and a controller under a systemd that is really there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.harness.cluster import wait_until
from tests.harness.hosts import BenchLacks, Host, Lab
from tests.harness.hosts.wheels import why_not
from tests.hosts.test_manual_cluster import ManualCluster
from tests.hosts.test_remote_controller import RemoteCluster

UNITS = "/etc/systemd/system"


def facts(host: Host, role: str, *names: str) -> list[str]:
    show = ["systemctl", "show", f"iris-{role}", "--value", *(f"--property={name}" for name in names)]
    return host.output(*show).split()


def process_of(host: Host, *words: str) -> int:
    """The pid here of the one process with all these words."""
    (found,) = (pid for pid, line in host.processes().items() if all(word in line for word in words))
    return found


def hosts_with_systemd(lab: Lab, count: int, base: str, python: str) -> list[Host]:
    if why := why_not(python):
        raise BenchLacks(why)
    hosts = [lab.host(f"h{number}", base=base, init="systemd") for number in range(count)]
    for host in hosts:
        host.output("systemctl", "is-system-running", "--wait")
    return hosts


def test_an_agent_is_restarted_survives_a_boot_and_goes(lab: Lab, tmp_path: Path) -> None:
    (host,) = hosts_with_systemd(lab, 1, "trixie", "3.13")
    before = host.listing()
    cluster = ManualCluster(tmp_path, lab, [host], idle_timeout="1m")
    try:
        cluster.iris("cluster", "start")
        assert cluster.iris("job", "run", "--", "hostname").out == f"{host.name}\n"
        assert facts(host, "worker", "ActiveState", "Type", "NRestarts") == ["exec", "0", "active"]
        job = cluster.submit("--", "sleep", "1000")
        wait_until(lambda: "sleep 1000" in host.processes().values())
        first = process_of(host, "iris_bootstrap", "keeper")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: cluster.json("job", "show", job)["tasks"][0]["losses"] == 1)
        wait_until(lambda: cluster.json("job", "show", job)["tasks"][0]["state"] == "TASK_STATE_RUNNING")
        assert list(host.processes().values()).count("sleep 1000") == 1
        assert process_of(host, "iris_bootstrap", "keeper") != first
        cluster.iris("job", "stop", job)
        host.kill()
        host.boot()
        # Enabled: nobody has to start it.
        wait_until(lambda: facts(host, "worker", "ActiveState") == ["active"])
        assert cluster.iris("job", "run", "--", "hostname").out == f"{host.name}\n"
        cluster.iris("cluster", "stop", "-y")
        assert host.listing().since(before) == []
        assert cluster.processes() == {}
    finally:
        cluster.destroy()


def test_a_controller_says_that_it_serves_and_orphans_go(lab: Lab, tmp_path: Path) -> None:
    hosts = hosts_with_systemd(lab, 2, "machine", "3.11")
    controller, worker = hosts
    before = [host.listing() for host in hosts]
    cluster = RemoteCluster(tmp_path, lab, hosts)
    text = cluster.config.read_text()
    cluster.config.write_text(text.replace("stop_grace: 2s", "stop_grace: 2s, orphan_timeout: 5s"))
    try:
        cluster.iris("cluster", "start")
        assert facts(controller, "controller", "ActiveState", "Type") == ["notify", "active"]
        os.kill(process_of(controller, "iris-controller", "--resume"), signal.SIGKILL)
        wait_until(lambda: facts(controller, "controller", "NRestarts") == ["1"])
        wait_until(lambda: facts(controller, "controller", "ActiveState") == ["active"])
        assert cluster.iris("job", "run", "--", "hostname").out == f"{worker.name}\n"
        controller.output("systemctl", "stop", "iris-controller")
        # It leaves by itself, and what ends last is systemd's own call of ours.
        wait_until(lambda: "iris" not in worker.output("ls", "-R", UNITS), 60)
        cluster.iris("cluster", "start")
        cluster.iris("cluster", "stop", "-y", "--forget")
        assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
    finally:
        cluster.destroy()
