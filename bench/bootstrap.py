"""Benchmark 6: from asking for capacity on bare SSH hosts to all of their agents registered.

Hosts are 20 ms of round trip away for whoever bootstraps them. Both peers upload the same
bundle and start the same agent by the same startup script, for the product's own controller,
which only leaves the hosts to them; a serial loop is measured over few hosts, since only
hosts a second are compared. The limit is SSH connections that do nothing.
"""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.by_hand import Given, by_hand_cluster
from bench.companion import Companion
from bench.environments import ASYNCSSH_RELEASE
from bench.fleet import BUNDLE_THERE, HOST_CPU, PARALLEL, SSH_PORT, Fleet, fleet
from bench.local_cluster import CALL_S, PAGE, Client, cpu_seconds
from bench.measure import (
    Benchmark,
    Floor,
    Lineup,
    Missing,
    PeerMissing,
    Role,
    Sample,
    Scale,
    Setting,
    Subject,
    Unit,
    Work,
)
from bench.sealed import on_hosts
from iris_platform.ssh import KnownHosts, SshSettings, SshTarget, connect, for_each
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1.job_pb2 import JobState
from tests.harness.cluster import LocalCluster

EACH = "a slice for each host"
WHOLE = "one slice of all hosts"
FORWARDS = "one slice, agents come back through SSH"
LIMIT = "SSH connections alone"
RAW = "asyncssh fan-out"
SERIAL = "serial loop of scp and ssh"

ALL_UP_S = 300.0
LOOK_S = 0.02
COMMAND_S = 120.0
SCRIPT_THERE = "/var/tmp/iris-host.sh"
# As many hosts as tell how long one takes.
SERIAL_HOSTS = 4
# The size of a test.
FEW = 2
SSH_OPTIONS = {
    "BatchMode": "yes",
    "IdentitiesOnly": "yes",
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "LogLevel": "ERROR",
}


def _submit(client: Client, hosts: int) -> str:
    """Asks for all hosts at once: as many tasks, each as large as one."""
    return client.submit("/bin/true", replicas=hosts, cpu_millis=HOST_CPU * 1000)


def _registered(client: Client) -> list[str]:
    """The boot ids of the hosts whose agents have registered."""
    request = pb.ListWorkersRequest(page_size=PAGE)
    workers = client.stub.ListWorkers(request, CALL_S, client.metadata).workers
    healthy = pb.WorkerState.WORKER_STATE_HEALTHY
    # Behind the kernel's stands which process tree it is.
    return sorted(worker.boot_id.partition(".")[0] for worker in workers if worker.state == healthy)


def _await_agents(client: Client, count: int) -> None:
    """Returns when so many agents have registered."""
    deadline = time.monotonic() + ALL_UP_S
    while (found := len(_registered(client))) < count:
        assert time.monotonic() < deadline, f"{found} of {count} agents registered in {ALL_UP_S:g} s"
        time.sleep(LOOK_S)


def _sample(
    fleet_: Fleet, cluster: LocalCluster, client: Client, job_id: str, hosts: int, seconds: float
) -> Sample:
    """After the clock: every host has registered, with its own boot, and the tasks have run."""
    counts, cpu = fleet_.count()[:hosts], cpu_seconds(cluster)["controller"]
    state = JobState.Name(client.wait(job_id).state)
    asked = [*sorted(host.boot_id for host in fleet_.hosts[:hosts]), "JOB_STATE_SUCCEEDED"]
    work = Work("hosts by boot, and the job", asked, [*_registered(client), state])
    notes = {
        "controller CPU ms a host": cpu * 1e3 / hosts,
        "SSH connections a host": sum(count["connections"] for count in counts) / hosts,
        "round trips a host": sum(count["turns"] for count in counts) / hosts,
        "bytes to a host": sum(count["sent"] for count in counts) / hosts,
        "bytes from a host": sum(count["received"] for count in counts) / hosts,
    }
    return Sample((hosts / seconds,), work, notes)


def _product(
    fleet_: Fleet, scratch: Path, slice_size: int, *, forwards: bool = False
) -> Callable[[], Sample]:
    """The product's own way, in slices of so many hosts."""
    numbers = itertools.count(1)
    hosts = len(fleet_.hosts)

    def measure() -> Sample:
        fleet_.reset()
        home = scratch / f"slices-of-{slice_size}{'-forwards' if forwards else ''}-{next(numbers)}"
        cluster = fleet_.cluster(home, slice_size, forwards=forwards)
        try:
            # With the controller's first look at its hosts, whose connections serve for the rest.
            fleet_.count()
            cluster.iris("cluster", "start")
            client = Client(cluster.state_dir)
            try:
                began = time.perf_counter()
                job_id = _submit(client, hosts)
                _await_agents(client, hosts)
                return _sample(fleet_, cluster, client, job_id, hosts, time.perf_counter() - began)
            finally:
                client.close()
        finally:
            cluster.destroy()

    return measure


def _by_hand(
    fleet_: Fleet, scratch: Path, hosts: int, start: Callable[[Path, Sequence[Given]], None]
) -> Callable[[], Sample]:
    """Some other way, for a controller that has asked for the hosts before the clock runs."""
    numbers = itertools.count(1)

    def measure() -> Sample:
        fleet_.reset()
        home = scratch / f"{start.__name__.strip('_')}-{next(numbers)}"
        with by_hand_cluster(fleet_.by_hand(home, hosts)) as cluster:
            client = Client(cluster.state_dir)
            try:
                job_id = _submit(client, hosts)
                given = cluster.given(hosts)
                for number, one in enumerate(given):
                    (home / f"{number}.sh").write_text(one.script)
                fleet_.count()
                began = time.perf_counter()
                start(home, given)
                _await_agents(client, hosts)
                return _sample(fleet_, cluster, client, job_id, hosts, time.perf_counter() - began)
            finally:
                client.close()

    return measure


def _raw(setting: Setting, fleet_: Fleet) -> Subject | Missing:
    try:
        python = setting.peers.environment("asyncssh", ASYNCSSH_RELEASE) / "python"
    except PeerMissing as error:
        return Missing(RAW, str(error))
    companion: list[Companion] = []

    def fan_out(home: Path, given: Sequence[Given]) -> None:
        order = {
            "key": str(fleet_.lab.user_key),
            "parallel": PARALLEL,
            "bundle": [str(fleet_.bundle.path), BUNDLE_THERE],
            "script": SCRIPT_THERE,
            "hosts": [
                {
                    "address": address,
                    "port": SSH_PORT,
                    "script": str(home / f"{number}.sh"),
                    "token": one.token,
                }
                for number, (address, one) in enumerate(zip(fleet_.addresses, given, strict=True))
            ],
        }
        answers = companion[0].ask(order)
        assert set(answers) == {0}, answers

    measure = _by_hand(fleet_, setting.scratch, len(fleet_.hosts), fan_out)

    def with_companion() -> Sample:
        # Its imports are before the clock, as the product's are.
        with Companion("asyncssh_fan_out", home=setting.scratch, python=python) as one:
            companion[:] = [one]
            return measure()

    return Subject(RAW, Role.PEER, with_companion, LIMIT)


def _serial(setting: Setting, fleet_: Fleet) -> Subject | Missing:
    try:
        setting.peers.allow()
    except PeerMissing as error:
        return Missing(SERIAL, str(error))
    options = [f"-o{name}={value}" for name, value in SSH_OPTIONS.items()]
    options += ["-F", "/dev/null", "-i", str(fleet_.lab.user_key)]

    def loop(home: Path, given: Sequence[Given]) -> None:
        # The count of hosts is that of `given`: few of them.
        for number, (address, one) in enumerate(zip(fleet_.addresses, given, strict=False)):
            there = f"root@{address}"
            bundle, script = str(fleet_.bundle.path), str(home / f"{number}.sh")
            _run(["scp", "-q", *options, bundle, f"{there}:{BUNDLE_THERE}"])
            _run(["scp", "-q", *options, script, f"{there}:{SCRIPT_THERE}"])
            _run(["ssh", *options, there, "sh", SCRIPT_THERE, "start"], one.token)

    hosts = min(SERIAL_HOSTS, len(fleet_.hosts))
    return Subject(SERIAL, Role.PEER, _by_hand(fleet_, setting.scratch, hosts, loop), LIMIT)


def _run(command: Sequence[str], secret: str = "") -> None:
    done = subprocess.run(command, input=f"{secret}\n".encode(), capture_output=True, timeout=COMMAND_S)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


def _connections(fleet_: Fleet, scratch: Path) -> Callable[[], Sample]:
    """The product's own connections, as many at once, which are closed at once."""
    numbers = itertools.count(1)

    def measure() -> Sample:
        known = KnownHosts(scratch / f"known-{next(numbers)}")
        key = str(fleet_.lab.user_key)
        targets = {address: SshTarget(address, SSH_PORT, "root", key) for address in fleet_.addresses}

        def shake_hands(address: str) -> bool:
            connection = connect(targets[address], SshSettings(), known)
            try:
                return connection.is_alive
            finally:
                connection.close()

        fleet_.count()
        began = time.perf_counter()
        answers = for_each(targets, shake_hands, PARALLEL, ALL_UP_S)
        seconds = time.perf_counter() - began
        work = Work("connections", [True] * len(targets), [answer is True for answer in answers.values()])
        turns = sum(count["turns"] for count in fleet_.count())
        return Sample((len(targets) / seconds,), work, {"round trips a host": turns / len(targets)})

    return measure


@contextmanager
def lineup(setting: Setting) -> Iterator[Lineup]:
    """On hosts; runs sealed."""
    scratch = setting.scratch
    with fleet(setting.size, scratch) as fleet_:
        few = [Missing(name, "too few hosts to differ") for name in (WHOLE, FORWARDS)]
        yield [
            Subject(EACH, Role.PRODUCT, _product(fleet_, scratch, 1), LIMIT),
            _raw(setting, fleet_),
            Subject(LIMIT, Role.LIMIT, _connections(fleet_, scratch)),
            *(few if setting.size <= FEW else _in_one_slice(fleet_, scratch)),
            _serial(setting, fleet_),
        ]


def _in_one_slice(fleet_: Fleet, scratch: Path) -> list[Subject]:
    size = len(fleet_.hosts)
    return [
        Subject(WHOLE, Role.PRODUCT, _product(fleet_, scratch, size), LIMIT),
        Subject(FORWARDS, Role.PRODUCT, _product(fleet_, scratch, size, forwards=True), LIMIT),
    ]


BOOTSTRAP = Benchmark(
    name="bootstrap",
    number=6,
    title="bare SSH hosts 20 ms away, from asking for them to all agents registered, hosts a second",
    unit=Unit.PER_SECOND,
    full=Scale(rounds=15, size=64),
    smoke=Scale(rounds=1, size=2),
    floors=(
        Floor(EACH, 0.8, against=RAW),
        Floor(WHOLE, 0.8, against=RAW),
        Floor(EACH, 6.0, against=SERIAL),
        Floor(WHOLE, 6.0, against=SERIAL),
    ),
    lineup=on_hosts("bench.bootstrap:lineup", {"asyncssh": ASYNCSSH_RELEASE}),
)
