"""Hosts with a trouble of their own, or that are not what they were: a clear reason, and the others work."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress

from iris_platform.pki.authority import ensure_authority
from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.hosts.test_manual_cluster import hosts_of
from tests.hosts.ticking import MakeQuick, Ticking, on_host

# Several claims in one where they share a start; none is about how long it takes.

ROOT = "/var/lib/iris-host"
OTHER = "0" * 64
SESSION = ("iris_bootstrap", " session ")


def bundles(host: Host) -> list[str]:
    """What lies in a host's cache."""
    found = host.output("sh", "-c", f"ls -A {ROOT}/bundles 2>/dev/null || true").split()
    return sorted(set(found) - {".lock"})


def test_what_a_broken_off_installation_left_is_repaired(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    first, second = hosts
    cluster = quick(hosts, idle_timeout="1s")
    cluster.iris("cluster", "start")
    # The script and all that it started are killed while it installs.
    job = cluster.submit("--", "sh", "-c", f"hostname; cp {ROOT}/host.pyz /var/tmp/")
    wait_until(lambda: on_host(first, " install ") != [])
    for pid in first.processes():
        # One may just have come to its end.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cluster.iris("job", "wait", job)
    assert cluster.iris("job", "logs", job).out == f"{second.name}\n"
    told = cluster.told()
    assert f"{first.address}: " in told and "status 137" in told, told
    (sha,) = bundles(second)
    wait_until(lambda: cluster.json("slice", "list")["slices"] == [])
    # On the other: half a bundle, half an upload, an older bundle, and labels that nothing came after.
    (cluster_id,) = {cluster.json("cluster", "status")["cluster_id"]}
    second.output("rm", "-r", f"{ROOT}/bundles/{sha}/installed.json", f"{ROOT}/bundles/{sha}/lib")
    second.write(f"{ROOT}/bundles/.{sha}.77.tmp/bin/python3", b"")
    second.write(f"{ROOT}/bundles/{OTHER}/installed.json", b'{"python": "x", "programs": ["iris-bootstrap"]}')
    second.write(f"{ROOT}/incoming/{sha}", b"PK")
    second.write(f"{ROOT}/incoming/{sha}.part", b"PK")
    labels = f'{{"iris-cluster": "test", "iris-cluster-id": "{cluster_id}", "iris-role": "worker"}}'
    second.write(f"{ROOT}/worker/labels.json", labels.encode())
    second.output("cp", "/var/tmp/host.pyz", ROOT)
    # It is not left alone any more by one that has started again.
    cluster.kill_controller()
    cluster.iris("cluster", "start")
    both = Ticking(cluster, hosts, "--replicas", "2")
    assert {run.host for run in both.begun(2)} == {host.name for host in hosts}
    assert bundles(first) == [sha]
    assert bundles(second) == [OTHER, sha]
    cluster.iris("cluster", "stop", "-y")
    assert [host.run(["test", "-e", ROOT]).returncode for host in hosts] == [1, 1]


def test_two_clusters_and_one_host(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    shared, other = hosts
    one = quick([shared], name="one")
    one.iris("cluster", "start")
    job = Ticking(one, [shared])
    job.begun()
    two = quick([shared, other], name="two")
    two.iris("cluster", "start")
    Ticking(two, [other], "--replicas", "2").begun()
    why = f"{shared.address}: belongs to another cluster, one (id "
    wait_until(lambda: why in two.told() or why.replace(":", " is left alone for now:") in two.told())
    two.iris("cluster", "stop", "-y")
    job.goes_on()
    job.end()
    one.iris("job", "wait", job.id)
    assert one.losses(job.id) == [(1, 0)]
    one.iris("cluster", "stop", "-y")


def test_an_agent_of_another_version_is_refused_and_replaced(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 1)
    (host,) = hosts
    cluster = quick(hosts, task_lease="8s")
    cluster.iris("cluster", "start")
    job = Ticking(cluster, hosts)
    job.begun()
    # What a controller of a later release finds: an agent at work that speaks an old protocol.
    (sha,) = bundles(host)
    where = f"{ROOT}/bundles/{sha}/lib/python3.11/site-packages/iris_bootstrap/session"
    host.output("sed", "-i", "s/^PROTOCOL_VERSION = 1$/PROTOCOL_VERSION = 99/", f"{where}/ledger.py")
    (session,) = on_host(host, *SESSION)
    os.kill(session, signal.SIGKILL)
    wait_until(lambda: "protocol version 99 is not spoken here" in cluster.told())
    # The next one has this controller's bundle.
    host.output("sed", "-i", "s/^PROTOCOL_VERSION = 99$/PROTOCOL_VERSION = 1/", f"{where}/ledger.py")
    job.begun(2)
    job.never_twice()
    job.end()
    cluster.iris("job", "wait", job.id)
    assert cluster.losses(job.id) == [(2, 1)]


def test_a_clock_by_which_no_certificate_is_valid(quick: MakeQuick, lab: Lab) -> None:
    """Of two machines that disagree, it is the controller whose clock a test can set."""
    hosts = hosts_of(lab, 1)
    cluster = quick(hosts)
    local = "  here:\n    provider: { local: {} }\n    host_resources: { cpu: 2 }\n    priority: 200\nssh:"
    cluster.config.write_text(cluster.config.read_text().replace("ssh:", local, 1))
    # The authority was made by a controller two hours ahead; what it makes is valid from an hour before.
    ensure_authority("test", cluster.home / "state/iris-pki/test", time.time() + 7200)
    cluster.iris("cluster", "start")
    assert cluster.iris("job", "run", "--", "hostname").out == f"{socket.gethostname()}\n"
    told = cluster.told()
    assert hosts[0].address in told and "certificate is not yet valid by this machine's clock" in told, told
