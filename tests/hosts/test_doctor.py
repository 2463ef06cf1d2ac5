"""`iris doctor` on real hosts: what is wrong with each, and nothing left on any."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.harness.hosts import Host, Lab
from tests.hosts.test_manual_cluster import Make, ManualCluster, hosts_of, make

__all__ = ["make"]

ALL = ["ssh", "python", "disk", "clock", "owner", "reaches us"]
# What goes wrong -> the check that finds it, and a word of its message.
TROUBLES = {
    "refuse_key": ("ssh", "none of the keys"),
    "remove_python": ("python", "there is no python3"),
    "fill_disk": ("disk", "0 B free"),
    "kill": ("ssh", "no SSH connection"),
}


def examined(cluster: ManualCluster, expect: int) -> list[dict[str, Any]]:
    done = cluster.iris("doctor", "-o", "json", expect=expect)
    checks: list[dict[str, Any]] = json.loads(done.out)["checks"]
    # Each was told when it was done, too.
    assert all(f"{check['subject']}: {check['check']}: {check['result']}" in done.err for check in checks)
    assert all(check["fix"] for check in checks if check["result"] != "ok"), checks
    return checks


def of(host: Host, checks: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {
        check["check"]: (check["result"], check["message"])
        for check in checks
        if check["subject"] == host.address
    }


def failed(host: Host, checks: list[dict[str, Any]]) -> dict[str, str]:
    return {name: message for name, (result, message) in of(host, checks).items() if result == "failed"}


@pytest.mark.parametrize(("base", "python"), [("machine", "3.11"), ("bookworm", "3.11"), ("trixie", "3.13")])
def test_good_hosts_are_well_and_as_they_were(make: Make, lab: Lab, base: str, python: str) -> None:
    hosts = hosts_of(lab, 2, base, python)
    before = [host.listing() for host in hosts]
    cluster = make(hosts)
    checks = examined(cluster, 0)
    assert {check["result"] for check in checks} == {"ok"}, checks
    assert [list(of(host, checks)) for host in hosts] == [ALL, ALL]
    assert all(of(host, checks)["python"][1].startswith(python) for host in hosts)
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
    # Neither keys nor host keys were made here.
    assert not (cluster.home / "state").exists() or not list((cluster.home / "state").rglob("known_hosts"))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_is_wrong_with_a_host_is_said_of_it_alone(make: Make, lab: Lab, trouble: str) -> None:
    bad, good = hosts_of(lab, 2)
    getattr(bad, trouble)()
    checks = examined(make([bad, good]), 1)
    name, words = TROUBLES[trouble]
    found = failed(bad, checks)
    assert list(found) == [name] and words in found[name], checks
    assert failed(good, checks) == {} and list(of(good, checks)) == ALL


@pytest.mark.parametrize(("offset", "words"), [(3600, "ahead of ours"), (-3600, "behind ours")])
def test_a_wrong_clock(make: Make, lab: Lab, offset: int, words: str) -> None:
    (host,) = hosts_of(lab, 1)
    host.set_clock_offset(offset)
    found = failed(host, examined(make([host]), 1))
    assert list(found) == ["clock"] and words in found["clock"]


def test_a_host_of_another_cluster(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    labels = {"iris-cluster": "other", "iris-cluster-id": "abcdefghij"}
    host.write("/var/lib/iris-host/worker/labels.json", json.dumps(labels).encode(), 0o600)
    before = host.listing()
    found = failed(host, examined(make([host]), 1))
    assert list(found) == ["owner"] and "cluster other (id abcdefghij)" in found["owner"]
    assert host.listing().since(before) == []


def test_a_host_that_cannot_reach_us(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make([host])
    # An address that is nobody's, and then that of a machine where nobody listens.
    text = cluster.config.read_text()
    for address, words in ((lab.free_address(), "port"), (host.address, "nobody listens")):
        cluster.config.write_text(text.replace(f'"{lab.address}:', f'"{address}:'))
        found = failed(host, examined(cluster, 1))
        assert list(found) == ["reaches us"] and words in found["reaches us"]


def test_a_port_that_is_taken(make: Make, lab: Lab) -> None:
    (host,) = hosts_of(lab, 1)
    cluster = make([host])
    port = int(cluster.config.read_text().partition(f"{lab.address}:")[2].partition('"')[0])
    with socket.create_server((lab.address, port)):
        checks = examined(cluster, 1)
    (ports,) = [check for check in checks if check["check"] == "ports"]
    assert ports["result"] == "failed" and str(port) in ports["message"]
    assert of(host, checks)["reaches us"][0] == "warning"


def test_a_cluster_that_runs_and_a_host_key_that_changed(make: Make, lab: Lab) -> None:
    """The doctor's own listening keeps no port from the controller, whose agent is known as ours."""
    (host,) = hosts_of(lab, 1)
    cluster = make([host], idle_timeout="1m")
    examined(cluster, 0)
    cluster.iris("cluster", "start")
    assert cluster.iris("job", "run", "--", "hostname").out == f"{host.name}\n"
    checks = examined(cluster, 0)
    assert "ours" in of(host, checks)["owner"][1]
    assert of(host, checks)["reaches us"][0] == "ok"
    host.new_host_key()
    found = failed(host, examined(cluster, 1))
    assert list(found) == ["ssh"] and "the host key of" in found["ssh"]
    assert "known_hosts" in found["ssh"]
