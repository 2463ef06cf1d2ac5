"""`iris doctor` where the controller is to have a host of its own: what is wrong between which two."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import Any

from iris_cli.doctor.on_host import dial
from tests.harness.cluster import COMMAND_S, wait_until
from tests.harness.hosts import Host, Lab
from tests.harness.hosts.listing import Listing
from tests.hosts.test_doctor import ALL, examined, failed, of
from tests.hosts.test_manual_cluster import hosts_of
from tests.hosts.test_remote_controller import Make, make

__all__ = ["make"]

SEAT = ["ssh", "python", "disk", "clock", "owner", "state directory", "keys directory", "ports"]
WORKER = [*ALL, "reached"]
PORT = 10400
TAKER = "import signal, socket, sys; s = socket.create_server(('', int(sys.argv[1]))); signal.pause()"


def fix_of(host: Host, name: str, checks: list[dict[str, Any]]) -> str:
    (check,) = [each for each in checks if (each["subject"], each["check"]) == (host.address, name)]
    return str(check["fix"])


def assert_as_before(hosts: list[Host], before: list[Listing]) -> None:
    """The stand-in ends when it sees that we have hung up, which takes it a moment."""

    def differences() -> list[list[str]]:
        return [host.listing().since(old) for host, old in zip(hosts, before, strict=True)]

    with suppress(AssertionError):
        wait_until(lambda: not any(differences()))
    assert not any(differences())


def test_good_hosts_are_well_and_as_they_were(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 3, "trixie", "3.13")
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    checks = examined(cluster, 0)
    assert {check["result"] for check in checks} == {"ok"}, checks
    assert [list(of(host, checks)) for host in hosts] == [SEAT, WORKER, WORKER]
    assert not any(check["check"] == "ports" for check in checks if check["subject"] == "this machine")
    assert_as_before(hosts, before)
    # No host key was pinned.
    assert not list(cluster.home.rglob("known_hosts"))


def test_a_doctor_that_is_killed_leaves_nobody_listening(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    # It waits for this one as long as it lives.
    hosts[1].freeze()
    doctor = make(hosts).spawn("doctor")
    wait_until(lambda: any(" listen " in line for line in hosts[0].processes().values()))
    doctor.send_signal(signal.SIGKILL)
    doctor.communicate(timeout=COMMAND_S)
    hosts[1].thaw()
    assert_as_before(hosts, before)


def test_a_controllers_host_without_python(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    hosts[0].remove_python()
    checks = examined(make(hosts), 1)
    found = failed(hosts[0], checks)
    assert list(found) == ["python"] and "there is no python3" in found["python"]
    assert "3.11 to 3.13" in fix_of(hosts[0], "python", checks)
    # What is not known of the way between them is left out.
    assert list(of(hosts[1], checks)) == ALL[:-1] and not failed(hosts[1], checks)


def test_a_port_that_somebody_else_has(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    hosts[0].run(["sh", "-c", f'setsid python3 -c "{TAKER}" {PORT + 1} >/dev/null 2>&1 &'])
    wait_until(lambda: dial(hosts[0].address, PORT + 1, 1, False) == "connected")
    before = [host.listing() for host in hosts]
    checks = examined(make(hosts), 1)
    found = failed(hosts[0], checks)
    assert list(found) == ["ports"] and str(PORT + 1) in found["ports"]
    assert "controller.manual.port" in fix_of(hosts[0], "ports", checks)
    assert of(hosts[1], checks)["reaches us"][0] == "warning"
    assert_as_before(hosts, before)


def test_firewalls_between_the_controllers_host_and_others(make: Make, lab: Lab) -> None:
    seat, shut_out, shut_in = hosts = hosts_of(lab, 3)
    before = [host.listing() for host in hosts]
    seat.block(shut_out, PORT)
    shut_in.block(seat, 22)
    checks = examined(make(hosts), 1)
    assert not failed(seat, checks)
    assert list(failed(shut_out, checks)) == ["reaches us"]
    fix = fix_of(shut_out, "reaches us", checks)
    assert f"TCP from {shut_out.address} to port {PORT} of the controller's host {seat.address}" in fix
    assert list(failed(shut_in, checks)) == ["reached"]
    fix = fix_of(shut_in, "reached", checks)
    assert f"TCP from the controller's host {seat.address} to port 22 of {shut_in.address}" in fix
    assert_as_before(hosts, before)


def test_another_clusters_controller_and_directories_that_cannot_be_made(make: Make, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    labels = {"iris-cluster": "other", "iris-cluster-id": "abcdefghij"}
    hosts[0].write("/var/lib/iris-host/controller/labels.json", json.dumps(labels).encode(), 0o600)
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    cluster.config.write_text(cluster.config.read_text() + "storage: { state_dir: /etc/hostname/state }\n")
    checks = examined(cluster, 1)
    found = failed(hosts[0], checks)
    assert list(found) == ["owner", "state directory"]
    assert "cluster other (id abcdefghij)" in found["owner"]
    assert "storage.state_dir" in fix_of(hosts[0], "state directory", checks)
    assert_as_before(hosts, before)
