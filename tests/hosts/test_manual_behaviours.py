"""Agents, networks and controllers that die or stand still, with tasks on hosts over real SSH."""

from __future__ import annotations

import json
import os
import shutil
import signal

from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.hosts.test_manual_cluster import hosts_of
from tests.hosts.ticking import PLACE, MakeQuick, Ticking, on_host

SESSION = ("iris_bootstrap", " session ")
KEEPER = ("iris_bootstrap", " keeper ")
# Which packets vanish: incoming, outgoing.
WAYS = ((True, True), (True, False), (False, True))
# A task that says what it was given.
ARRIVED = """\
import json, os, sys
print(json.dumps([sys.argv[1:], [os.environ[f"WORD{n}"] for n in range(len(sys.argv) - 1)]]))
"""
# Beside the bundles, for those who use them next.
ROOT = "/var/lib/iris-host"
KEPT = {ROOT, f"{ROOT}/lock", f"{ROOT}/made.json"}
# Its own session and process group: only by descent and by mark is it the task's.
TREE = (
    f"setsid sleep 1000 & mkdir -p {PLACE}; test -e {PLACE}/may-end && exit 0; touch {PLACE}/up; sleep 1001"
)


def test_b41_the_processes_of_an_agent_are_killed(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 1)
    (host,) = hosts
    cluster = quick(hosts)
    cluster.iris("cluster", "start")
    # Of its session: it is started again, and nobody notices.
    job = Ticking(cluster, hosts, name="first")
    job.begun()
    (session,) = on_host(host, *SESSION)
    os.kill(session, signal.SIGKILL)
    wait_until(lambda: on_host(host, *SESSION) not in ([], [session]))
    job.goes_on()
    job.end()
    cluster.iris("job", "wait", job.id)
    assert cluster.losses(job.id) == [(1, 0)]
    (run,) = job.runs()
    assert [float(line) for line in cluster.iris("job", "logs", job.id).out.split()] == list(run.ticks)
    # Of its keeper: the whole tree goes with it.
    tree = cluster.submit("--cpu", "2", "--", "sh", "-c", TREE)
    wait_until(lambda: host.run(["test", "-e", f"{PLACE}/up"]).returncode == 0)
    host.write(f"{PLACE}/may-end", b"")
    asleep = on_host(host, "sleep 100")
    assert len(asleep) >= 2
    (keeper,) = on_host(host, *KEEPER)
    os.kill(keeper, signal.SIGKILL)
    cluster.iris("job", "wait", tree)
    assert not set(asleep) & set(host.processes())
    assert cluster.losses(tree) == [(2, 1)]
    # Of both: what is left is killed before anything runs again.
    job = Ticking(cluster, hosts)
    job.begun()
    both = [*on_host(host, *KEEPER), *on_host(host, *SESSION)]
    assert len(both) == 2
    # Neither sees the other's end.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in both:
            os.kill(pid, number)
    job.begun(2)
    job.never_twice()
    job.end()
    cluster.iris("job", "wait", job.id)
    assert cluster.losses(job.id) == [(2, 1)]


def test_b42_b43_hosts_and_controllers_that_cannot_be_heard(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 4)
    cluster = quick(hosts, task_lease="12s")
    cluster.iris("cluster", "start")
    job = Ticking(cluster, hosts, "--replicas", "3")
    by_name = {host.name: host for host in hosts}
    away = [by_name[run.host] for run in job.begun(3)]
    assert len({host.name for host in away}) == 3
    with cluster.events() as watch:
        # B42, for less than the lease: both ways, or one.
        _cut(away)
        watch.wait_for("worker", "SUSPECT", 3)
        for host in away:
            host.heal()
        wait_until(lambda: set(cluster.workers()) == {"HEALTHY"})
    # B43: the controller stands still for longer than it takes to suspect somebody.
    pid = cluster.controller_pid()
    os.kill(pid, signal.SIGSTOP)
    since = job.runs()[-1].ticks[-1]
    wait_until(lambda: job.runs()[-1].ticks[-1] > since + 4)
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "STALLED" in cluster.told())
    assert set(cluster.workers()) == {"HEALTHY"}
    assert cluster.losses(job.id) == [(1, 0)] * 3
    # B42, for longer: it has ended there before it begins elsewhere.
    _cut(away)
    job.begun(4)
    assert not [host for host in away if on_host(host, PLACE)]
    for host in away:
        host.heal()
    job.end()
    cluster.iris("job", "wait", job.id)
    assert cluster.losses(job.id) == [(2, 1)] * 3
    job.never_twice()


def _cut(hosts: list[Host]) -> None:
    for host, (incoming, outgoing) in zip(hosts, WAYS, strict=True):
        host.cut(incoming=incoming, outgoing=outgoing)


def test_b45_b47_a_lost_and_an_old_state_directory(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    cluster = quick(hosts, forwarded=True)
    cluster.iris("cluster", "start")
    first = Ticking(cluster, hosts, name="first")
    first.begun()
    agents = {pid for host in hosts for pid in on_host(host, *KEEPER)}
    cluster.kill_controller()
    copy = cluster.home / "copy"
    shutil.copytree(cluster.state_dir, copy)
    shutil.rmtree(cluster.state_dir)
    # B45: everything is lost.
    cluster.iris("cluster", "start")
    wait_until(lambda: "ADOPTED" in cluster.told())
    second = Ticking(cluster, hosts, name="second")
    second.begun()
    assert cluster.losses(first.id) == [(1, 0)]
    cluster.kill_controller()
    shutil.rmtree(cluster.state_dir)
    copy.rename(cluster.state_dir)
    # B47: the copy knows the first job, and nothing of the second and of its slice.
    cluster.iris("cluster", "start")
    wait_until(lambda: second.id in cluster.iris("job", "list").out)
    for job in (first, second):
        job.goes_on()
        job.end()
        # The job itself ends when every place has been heard of.
        wait_until(lambda job=job: cluster.states(job.id) == ["SUCCEEDED"])  # type: ignore[misc]
        assert cluster.losses(job.id) == [(1, 0)]
        assert len(job.runs()) == 1
    assert agents <= {pid for host in hosts for pid in on_host(host, *KEEPER)}


def test_b46_b63_a_controller_that_never_comes_back(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 1)
    (host,) = hosts
    before = host.listing()
    cluster = quick(hosts, task_lease="3s", orphan_timeout="3s")
    cluster.iris("cluster", "start")
    cluster.submit("--", "sh", "-c", "setsid sleep 1000 & sleep 1001")
    wait_until(lambda: len(on_host(host, "sleep 100")) >= 2)
    cluster.kill_controller()
    wait_until(lambda: not host.processes(), 60)
    after = host.listing()
    assert after.processes == before.processes and after.cgroups == before.cgroups
    left = {path for path, what in after.files.items() if before.files.get(path) != what}
    assert before.files.keys() <= after.files.keys()
    assert {path for path in left if not f"{path}/".startswith(f"{ROOT}/bundles/")} == KEPT
    cluster.iris("cluster", "stop", "-y")
    assert host.listing().since(before) == []


def test_b44_b56_a_full_disk_and_words_of_any_kind(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 1)
    (host,) = hosts
    cluster = quick(hosts, task_lease="20s")
    cluster.iris("cluster", "start")
    # B56: names, values, arguments and paths arrive as they are.
    words = ["two words", "", "'\"\\", "a\nb", "$(touch /tmp/pwned)`touch /tmp/pwned`", "*", "grüße ☃", "-x"]
    environ = [f"WORD{number}={word}" for number, word in enumerate(words)]
    given = [part for pair in environ for part in ("-e", pair)]
    command = ["python3", "-c", ARRIVED, *words]
    ran = cluster.iris("job", "run", "--name", "my $(name) ü", *given, "--", *command)
    assert json.loads(ran.out) == [words, words]
    assert host.run(["test", "-e", "/tmp/pwned"]).returncode == 1
    # B44: its disk is full while a task runs, for longer than agents are silent.
    job = Ticking(cluster, hosts)
    job.begun()
    (agent,) = on_host(host, *SESSION)
    host.fill_disk()
    assert host.run(["sh", "-c", f"head -c 100000 /dev/zero >{PLACE}/more"]).returncode
    since = job.runs()[-1].ticks[-1]
    wait_until(lambda: float(host.read("/proc/uptime").split()[0]) > since + 4)
    assert (cluster.workers(), cluster.losses(job.id)) == (["HEALTHY"], [(1, 0)])
    host.free_disk()
    job.goes_on()
    job.end()
    cluster.iris("job", "wait", job.id)
    assert cluster.losses(job.id) == [(1, 0)]
    assert on_host(host, *SESSION) == [agent]
    assert cluster.iris("job", "run", "--", "echo", "again").out == "again\n"
