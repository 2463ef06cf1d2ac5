"""`cluster stop` with hosts over real SSH: nothing is left on them, or it says where and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.harness.cluster import wait_until
from tests.harness.hosts import Lab
from tests.hosts.test_manual_cluster import hosts_of
from tests.hosts.ticking import MakeQuick, QuickCluster

# Several claims in one where they share a start; none is about how long it takes.

MORE = """\
  more:
    provider: {{ manual: {{ hosts: [{address}], ssh_key_file: {key} }} }}
    host_resources: {{ cpu: 2 }}
    priority: 200
    zones: [attic]
ssh:"""


def stop(cluster: QuickCluster, *arguments: str, expect: int = 0) -> Any:
    """What `cluster stop -o json` says."""
    return json.loads(cluster.iris("-o", "json", "cluster", "stop", *arguments, expect=expect).out)


def busy(cluster: QuickCluster, tasks: int) -> set[str]:
    """Has a task run on every host, until it is stopped; the names of the slices."""
    job = cluster.submit(
        "--replicas", str(tasks), "--cpu", "2", "--", "sh", "-c", "setsid sleep 1000 & sleep 1001"
    )
    wait_until(lambda: cluster.states(job) == ["RUNNING"] * tasks, 60)
    return {entry["name"] for entry in cluster.json("slice", "list")["slices"]}


def test_b63_b64_b66_without_a_controller(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    cluster = quick(hosts[:1])
    text = cluster.config.read_text()
    cluster.config.write_text(
        text.replace("ssh:", MORE.format(address=hosts[1].address, key=lab.user_key), 1)
    )
    cluster.iris("cluster", "start")
    names = busy(cluster, 2)
    assert len(names) == 2
    # B66: the second group, and its zone, are not in the file any more.
    cluster.config.write_text(text)
    cluster.kill_controller()
    # B64: what it would delete is what it deletes.
    plan = stop(cluster, "--dry-run")
    assert {entry["name"] for entry in plan["slices"]} == names
    assert all(host.processes() for host in hosts)
    done = stop(cluster, "-y")
    assert {entry["name"] for entry in done["slices"]} == names and done["left"] == []
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
    # B63: twice.
    assert stop(cluster, "-y")["left"] == []
    assert cluster.processes() == {}


@contextmanager
def two_coming(cluster: QuickCluster) -> Iterator[QuickCluster]:
    """A cluster that has just asked for its first two slices."""
    cluster.iris("cluster", "start")
    with cluster.events() as watch:
        cluster.submit("--replicas", "2", "--cpu", "2", "--", "sleep", "1000")
        watch.wait_for("slice", "REQUESTING", 2)
        yield cluster


def test_b60_b65_while_a_slice_comes(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    cluster = quick(hosts)
    cluster.iris("cluster", "start")
    names = busy(cluster, 1)
    with cluster.events() as watch:
        cluster.submit("--cpu", "2", "--", "sleep", "1000")
        # What came before is told as well.
        watch.wait_for("slice", "REQUESTING", 2)
        done = stop(cluster, "-y")
    assert names < {entry["name"] for entry in done["slices"]}
    assert (done["left"], done["jobs_kept"]) == ([], 2)
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
    assert cluster.processes() == {}


def test_b60_without_the_controller_that_began_it(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    with two_coming(quick(hosts)) as cluster:
        wait_until(lambda: any(host.processes() for host in hosts))
        # The line closes; what it began over there does not hear of that.
        cluster.kill_controller()
    assert stop(cluster, "-y")["left"] == []
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]


def test_a_stop_at_once_after_a_submission_raises_no_alarm(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    before = [host.listing() for host in hosts]
    with two_coming(quick(hosts)) as cluster:
        # Agents come up while their slices are being deleted.
        done = cluster.iris("cluster", "stop", "-y", "--forget")
    assert "problem:" not in done.err, done.err
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]


def test_a_host_that_cannot_be_reached_is_named_and_stopped_later(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    away, here = hosts
    before = [host.listing() for host in hosts]
    cluster = quick(hosts)
    cluster.iris("cluster", "start")
    busy(cluster, 2)
    cluster.kill_controller()
    away.cut()
    result = cluster.iris("cluster", "stop", "-y", expect=6)
    assert away.address in result.err and here.address not in result.err, result
    assert here.processes() == {}
    away.heal()
    assert stop(cluster, "-y")["left"] == []
    assert [host.listing().since(old) for host, old in zip(hosts, before, strict=True)] == [[], []]
