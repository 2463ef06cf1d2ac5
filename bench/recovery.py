"""Benchmark 9: a controller with a long past is killed with SIGKILL and started again.

The clock starts when the new process is spawned, the moment after the old one is
gone. The limit is a bare Python process that reads the live rows of the same file;
files are in the page cache for both. One real local slice with one agent is there
all the time: it finds the new controller by itself and gets the job whose task's
first instruction is the first dispatch.

Not covered: 10,000 slices that are there, with agents that all dial at once. Those
of the past are gone and only looked for, see `history`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cold import run_cold
from bench.companion import PROGRAMS
from bench.history import ATTEMPTS_A_TASK, TASKS_A_JOB, Past, fill
from bench.local_cluster import CALL_S, Client, cpu_seconds, peak_mib
from bench.measure import (
    Benchmark,
    Floor,
    Lineup,
    Role,
    Sample,
    Scale,
    Setting,
    Subject,
    Unit,
    Work,
    WorkNotDone,
)
from iris_controller.core.values import Resources
from iris_platform.controller_file import read_controller_file
from iris_platform.paths import default_paths
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1.job_pb2 import JobState
from tests.harness.cluster import LocalCluster

LIMIT = "open and scan of the live rows"
FIRST_ANSWER = "first answer"
FULL_VIEW = "full view"
FIRST_START = "first start of a task"
COMMAND = ("/bin/date", "+%s%N")
AGE_MS = 20 * 3_600_000
START_S = 60.0
LOOK_S = 0.001
NS = 1e-9

# The jobs that wait ask for what only `later` could offer, and it may have no slice.
CONFIG = """\
name: bench
scale_groups:
  here:
    provider: { local: {} }
    max_slices: 1
    host_resources: { cpu: 64 }
    idle_timeout: 1h
  later:
    provider: { local: {} }
    max_slices: 0
    host_resources: { cpu: 128 }
"""
WANTED = Resources(128_000)


class Restarts:
    """A cluster whose controller is killed and started again, as often as it takes."""

    def __init__(self, cluster: LocalCluster, past: Past) -> None:
        self._cluster = cluster
        self._past = past
        pid = cluster.controller_pid()
        self._argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        cluster.kill_controller()
        self.rows = fill(default_paths(cluster.name, cluster.environ), past)
        self._process: subprocess.Popen[bytes] | None = None
        self._called_ns = 0
        self.again().close()

    def again(self) -> Client:
        """A client of the new controller, as soon as that says where it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        with (self._cluster.home / "controller.log").open("ab") as log:
            self._called_ns = time.time_ns()
            self._process = subprocess.Popen(
                self._argv, env=self._cluster.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_for_record(self._process)
        return Client(self._cluster.state_dir)

    def _wait_for_record(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(round(START_S / LOOK_S)):
            record = read_controller_file(self._cluster.state_dir / "controller.json")
            if record is not None and record.pid == process.pid:
                return
            if process.poll() is not None:
                break
            time.sleep(LOOK_S)
        raise WorkNotDone(f"the controller did not come up (exit status {process.poll()})")

    def end(self) -> None:
        """The last one, too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def measure(self, until: Callable[[Client, Past], tuple[int, Work]]) -> Sample:
        """From spawning a new controller to a moment of wall clock."""
        client = self.again()
        try:
            moment_ns, work = until(client, self._past)
            # The agent is back after this, so that every start begins alike.
            client.wait(client.submit("/bin/true"))
        finally:
            client.close()
        used = cpu_seconds(self._cluster)["controller"]
        notes = {
            "rows in the store": self.rows,
            "controller CPU ms": used * 1e3,
            "controller MiB at most": peak_mib(self._cluster.controller_pid()),
        }
        return Sample(((moment_ns - self._called_ns) * NS,), work, notes)


def _status(client: Client) -> pb.GetClusterStatusResponse:
    return client.stub.GetClusterStatus(pb.GetClusterStatusRequest(), CALL_S, client.metadata)


def _first_answer(client: Client, _: Past) -> tuple[int, Work]:
    name = _status(client).name
    return time.time_ns(), Work("the cluster's name", "bench", name)


def _full_view(client: Client, past: Past) -> tuple[int, Work]:
    """Jobs are counted right, and the first of all is there with its tasks."""
    expected = (past.waiting_jobs, 0, TASKS_A_JOB, ATTEMPTS_A_TASK)
    seen: tuple[int, ...] = ()
    deadline = time.monotonic() + START_S
    while seen != expected and time.monotonic() < deadline:
        status = _status(client)
        tasks = list(client.tasks(past.a_job))
        seen = (status.jobs_pending, status.jobs_running, len(tasks), max(t.attempts for t in tasks))
    return time.time_ns(), Work("jobs that wait and run, tasks and attempts of one job", expected, seen)


def _first_start(client: Client, _: Past) -> tuple[int, Work]:
    """The clock as the first task printed it."""
    job_id = client.submit(*COMMAND)
    job = client.wait(job_id)
    state = JobState.Name(job.state)
    return int(client.log(job_id)), Work("a job", "JOB_STATE_SUCCEEDED", state)


def _scan(database: Path, rows: int, scratch: Path) -> Sample:
    program = str(PROGRAMS / "raw_scan.py")
    ended = run_cold((sys.executable, program, str(database)), os.environ, scratch / "scan")
    return Sample((ended.seconds,), Work("live rows, at least", True, int(ended.out) >= rows))


@contextmanager
def _lineup(setting: Setting) -> Iterator[Lineup]:
    home = setting.scratch / "cluster"
    home.mkdir()
    cluster = LocalCluster(home, name="bench")
    cluster.config.write_text(CONFIG)
    try:
        cluster.iris("cluster", "start")
        restarts = Restarts(cluster, _past(cluster, setting.size))
        try:
            database = cluster.state_dir / "iris.db"
            # Jobs with their status and tasks, slices with their worker.
            live = setting.size * (4 + TASKS_A_JOB)
            yield [
                Subject(FIRST_ANSWER, Role.PRODUCT, lambda: restarts.measure(_first_answer), LIMIT),
                Subject(FULL_VIEW, Role.PRODUCT, lambda: restarts.measure(_full_view), LIMIT),
                Subject(LIMIT, Role.LIMIT, lambda: _scan(database, live, setting.scratch)),
                Subject(FIRST_START, Role.PRODUCT, lambda: restarts.measure(_first_start), LIMIT),
            ]
        finally:
            restarts.end()
    finally:
        cluster.destroy()


def _past(cluster: LocalCluster, slices: int) -> Past:
    """So much of it, of a cluster that has run one task."""
    client = Client(cluster.state_dir)
    try:
        client.wait(client.submit("/bin/true"))
        began_ms = time.time_ns() // 1_000_000 - AGE_MS
        identity, zone = _status(client).cluster_id, _a_slice(client).zone
    finally:
        client.close()
    return Past(slices, identity, "here", zone, WANTED, began_ms, began_ms)


def _a_slice(client: Client) -> pb.Slice:
    return client.stub.ListSlices(pb.ListSlicesRequest(), CALL_S, client.metadata).slices[0]


RECOVERY = Benchmark(
    name="recovery",
    number=9,
    title="a controller with a long past, from being started after SIGKILL",
    unit=Unit.SECONDS,
    full=Scale(rounds=15, size=10_000),
    smoke=Scale(rounds=1, size=20),
    floors=(
        Floor(FIRST_ANSWER, 1.0),
        Floor(FIRST_START, 2.0, against=LIMIT),
        Floor(FIRST_START, 3.0),
    ),
    lineup=_lineup,
)
