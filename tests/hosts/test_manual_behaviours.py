"""Agents, networks and controllers that die or stand still, with tasks on hosts over real SSH."""

from __future__ import annotations

import json
import os
import shutil
import signal

from tests.harness.cluster import wait_until
from tests.harness.hosts import Lab
from tests.hosts.test_manual_cluster import hosts_of
from tests.hosts.ticking import PLACE, MakeQuick, Ticking, on_host

# Several claims in one where they share a start; none is about how long it takes.

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


def test_b41_b42_b43_what_is_shorter_than_the_lease_disturbs_nothing(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 1)
    (host,) = hosts
    cluster = quick(hosts, task_lease="2m")
    cluster.iris("cluster", "start")
    job = Ticking(cluster, hosts)
    job.begun()
    # B41: its session is killed, and started again.
    (session,) = on_host(host, *SESSION)
    os.kill(session, signal.SIGKILL)
    wait_until(lambda: on_host(host, *SESSION) not in ([], [session]))
    # B42: packets vanish, both ways or one.
    for incoming, outgoing in WAYS:
        wait_until(lambda: cluster.workers() == ["HEALTHY"])
        host.cut(incoming=incoming, outgoing=outgoing)
        wait_until(lambda: cluster.workers() == ["SUSPECT"])
        host.heal()
    wait_until(lambda: cluster.workers() == ["HEALTHY"])
    # B43: the controller stands still for longer than it takes to suspect somebody.
    pid = cluster.controller_pid()
    os.kill(pid, signal.SIGSTOP)
    since = job.runs()[-1].ticks[-1]
    wait_until(lambda: job.runs()[-1].ticks[-1] > since + 4)
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "STALLED" in cluster.told())
    assert cluster.workers() == ["HEALTHY"]
    job.end()
    cluster.iris("job", "wait", job.id)
    assert cluster.losses(job.id) == [(1, 0)]
    (run,) = job.runs()
    assert [float(line) for line in cluster.iris("job", "logs", job.id).out.split()] == list(run.ticks)


def test_b41_of_a_keeper_or_of_both_nothing_is_left_when_the_task_runs_again(
    quick: MakeQuick, lab: Lab
) -> None:
    hosts = hosts_of(lab, 1)
    (host,) = hosts
    cluster = quick(hosts)
    cluster.iris("cluster", "start")
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


def test_b42_what_is_away_for_longer_has_ended_before_it_begins_elsewhere(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 6)
    cluster = quick(hosts, task_lease="8s")
    cluster.iris("cluster", "start")
    job = Ticking(cluster, hosts, "--replicas", "5")
    by_name = {host.name: host for host in hosts}
    replaced, reinstalled, *away = (by_name[run.host] for run in job.begun(5))
    assert len({host.name for host in (replaced, reinstalled, *away)}) == 5
    # Packets vanish, both ways or one.
    for host, (incoming, outgoing) in zip(away, WAYS, strict=True):
        host.cut(incoming=incoming, outgoing=outgoing)
    # Its address is another machine's from now on, which shows another key: nothing is done there.
    replaced.kill()
    stranger = lab.host("stranger")
    stranger.set_address(replaced.address)
    before = stranger.listing()
    # With the same key, and nothing of the slice: it is not taken for the old one, nor for its end.
    reinstalled.kill()
    reinstalled.boot(fresh_disk=True)
    job.begun(4)
    assert not [host for host in away if on_host(host, PLACE)]
    for host in away:
        host.heal()
    job.end()
    cluster.iris("job", "wait", job.id)
    assert cluster.losses(job.id) == [(2, 1)] * 5
    job.never_twice()
    changed = f"the host key of {replaced.address} has changed"
    wait_until(lambda: changed in cluster.told() and "ssh-keygen -R" in cluster.told())
    assert stranger.listing().since(before) == []


def test_b45_b47_a_lost_and_an_old_state_directory(quick: MakeQuick, lab: Lab) -> None:
    hosts = hosts_of(lab, 2)
    cluster = quick(hosts, forwarded=True, task_lease="2m")
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
    cluster = quick(hosts, task_lease="2m")
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
