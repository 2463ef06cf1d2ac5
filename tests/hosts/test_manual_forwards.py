"""A controller that hosts cannot dial: it holds SSH forwards from every host of a slice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.hosts.test_manual_cluster import ManualCluster, hosts_of


class ForwardedCluster(ManualCluster):
    """Says nowhere at which address the hosts reach this machine."""

    def __init__(self, home: Path, lab: Lab, hosts: list[Host], slice_size: int = 1) -> None:
        super().__init__(home, lab, hosts, slice_size)
        text = re.sub("controller: .*\n", "", self.config.read_text())
        text = text.replace("connect_timeout: 5s", "connect_timeout: 5s, keepalive_interval: 1s")
        self.config.write_text(text)


Make = Callable[..., ForwardedCluster]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    made: list[ForwardedCluster] = []

    def one(hosts: list[Host], slice_size: int = 1) -> ForwardedCluster:
        made.append(ForwardedCluster(tmp_path, lab, hosts, slice_size))
        return made[-1]

    yield one
    for cluster in made:
        cluster.destroy()


def sessions(host: Host) -> list[int]:
    """The processes of the host's SSH sessions, by their number there: `sshd: root@notty`."""
    script = 'for d in /proc/[0-9]*; do echo "${d#/proc/}" $(tr "\\0" " " <$d/cmdline); done 2>/dev/null'
    lines = [line.split(maxsplit=1) for line in host.output("sh", "-c", script).splitlines()]
    return [int(pid) for pid, *line in lines if line and re.match("sshd.*: .*@", line[0])]


def listens(host: Host, port: int) -> bool:
    """Whether anything on the host does, on its loopback interface."""
    lines = host.output("cat", "/proc/net/tcp").splitlines()
    return any(f":{port:04X} 00000000:0000 0A " in line for line in lines)


def way_back(out: str) -> int:
    """The port that an agent was told, which a task printed."""
    return int(out.split()[-1].rpartition(":")[2])


def test_from_bare_hosts_to_a_job_and_back(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--replicas", "4", "--", "hostname")
    assert any(sessions(host) for host in hosts)
    assert {line.split()[-1] for line in ran.out.splitlines()} <= {host.name for host in hosts}
    cluster.iris("cluster", "stop", "-y")
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
    assert cluster.processes() == {}
    wait_until(lambda: not any(sessions(host) for host in hosts))


def test_a_gang_on_a_slice_of_two_bare_hosts(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2, "bookworm")
    cluster = make(hosts, slice_size=2)
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--replicas", "2", "--gang", "--cpu", "2", "--", "hostname")
    assert {line.split()[-1] for line in ran.out.splitlines()} == {host.name for host in hosts}


def test_a_host_whose_slice_ends_has_no_way_any_more(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make([host])
    cluster.iris("cluster", "start")
    with cluster.events() as watch:
        ran = cluster.iris("job", "run", "--", "sh", "-c", "cat /proc/net/tcp; echo $IRIS_CONTROLLER_ADDRESS")
        port = way_back(ran.out)
        assert f":{port:04X} 00000000:0000 0A " in ran.out
        watch.wait_for("slice", "GONE")
    wait_until(lambda: not listens(host, port))
    # What a crash would have left is not there.
    left = cluster.state_dir / "manual"
    wait_until(lambda: not list(left.glob("session-*")))


def test_b40_a_killed_controller_disturbs_nothing(make: Make, lab: Lab) -> None:
    cluster = make(hosts_of(lab, 1))
    cluster.iris("cluster", "start")
    job = cluster.begin()
    cluster.kill_controller()
    cluster.iris("cluster", "start")
    cluster.finish(job)


@pytest.mark.parametrize(("base", "python"), [("machine", "3.11"), ("trixie", "3.13")])
def test_a_session_that_holds_the_ports_after_a_crash_is_ended(
    make: Make, lab: Lab, base: str, python: str
) -> None:
    (host,) = hosts_of(lab, 1, base, python)
    cluster = make([host])
    cluster.iris("cluster", "start")
    job = cluster.begin()
    # Others may wait for the next step; this one holds the ports.
    (noted,) = (cluster.state_dir / "manual").glob("session-*")
    stuck = int(json.loads(noted.read_text())[0])
    assert stuck in sessions(host)
    # It never learns that its other end is gone, like one whose last packets were lost.
    host.run(["kill", "-STOP", str(stuck)])
    cluster.kill_controller()
    cluster.iris("cluster", "start")
    cluster.finish(job)
    assert stuck not in sessions(host)


def test_a_user_who_is_not_root_has_the_same(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    host.add_user("ada")
    cluster = make([host])
    cluster.config.write_text(
        cluster.config.read_text().replace("ssh_key_file", "ssh_user: ada, ssh_key_file")
    )
    cluster.iris("cluster", "start")
    job = cluster.begin()
    stuck = sessions(host)
    host.run(["kill", "-STOP", *map(str, stuck)])
    cluster.kill_controller()
    cluster.iris("cluster", "start")
    cluster.finish(job)


def test_a_connection_that_is_cut_disturbs_nothing(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make([host])
    cluster.iris("cluster", "start")
    job = cluster.begin()
    host.cut()
    wait_until(lambda: "has no way to the controller" in cluster.told())
    host.heal()
    wait_until(lambda: "has no way to the controller" not in cluster.told())
    cluster.finish(job)


def test_a_taken_port_is_said_of_the_host(make: Make, lab: Lab) -> None:
    bad, good = hosts_of(lab, 2)
    cluster = make([bad, good])
    cluster.iris("cluster", "start")
    # The ports are the cluster's: the first job shows them.
    ran = cluster.iris("job", "run", "--", "sh", "-c", "hostname; echo $IRIS_CONTROLLER_ADDRESS")
    name, port = ran.out.split()[0], way_back(ran.out)
    used, other = (bad, good) if name == bad.name else (good, bad)
    wait_until(lambda: cluster.json("slice", "list")["slices"] == [])
    # Its forwards go a moment after the slice; until then the port is theirs.
    wait_until(lambda: not listens(used, port))
    listen = f"import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept()"
    used.run(["sh", "-c", f'python3 -c "{listen}" </dev/null >/dev/null 2>&1 &'])
    assert cluster.iris("job", "run", "--", "hostname").out == f"{other.name}\n"
    told = cluster.told()
    assert used.address in told and f"no port {port}" in told, told
