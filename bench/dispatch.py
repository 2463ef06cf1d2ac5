"""Benchmark 2: tasks submitted, run, recorded durably and acknowledged, a second.

Every task is `/bin/true`. The limit is a Python process that only spawns and
reaps as many; a product that kept no record could not be faster. Each sample of
the product has a cluster of its own, one agent with room for 64 tasks at once,
and SQLite with synchronous=FULL.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from bench.companion import Companion
from bench.environments import DASK_RELEASE, HYPERQUEUE_RELEASE, RAY_RELEASE
from bench.local_cluster import CALL_S, PAGE, Client, cpu_seconds, idle_cluster, peak_mib, request_of
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
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1.job_pb2 import AttemptState, Task, TaskState
from tests.harness.cluster import LocalCluster

LIMIT = "spawn and reap"
ONE_JOB = "one job of all tasks"
MANY_JOBS = "a job for each task"
OVER_TLS = "one job, agent over TLS"
COMMAND = ("/bin/true",)

# Calls of one client that wait for their answer.
IN_FLIGHT = 256
# How finely the end of many jobs is seen.
LOOK_S = 0.05

# What has to be found of every task: its state, its attempts, and the last one's state and exit code.
DONE = ("SUCCEEDED", 1, "SUCCEEDED", 0)

PEERS = {"hyperqueue": HYPERQUEUE_RELEASE, "ray": RAY_RELEASE, "dask": DASK_RELEASE}


# Submits, waits for the end, and returns how to read the tasks.
Submit: TypeAlias = Callable[[Client, int], Callable[[], Iterable[Task]]]


def outcome(task: Task) -> tuple[str, int, str, int | None]:
    """What is to be proved of one task."""
    return (
        TaskState.Name(task.state).removeprefix("TASK_STATE_"),
        task.attempts,
        AttemptState.Name(task.attempt.state).removeprefix("ATTEMPT_STATE_"),
        task.attempt.exit_code if task.attempt.HasField("exit_code") else None,
    )


def _one_job(client: Client, size: int) -> Callable[[], Iterable[Task]]:
    """One job."""
    job_id = client.submit(*COMMAND, replicas=size)
    client.wait(job_id)
    return lambda: client.tasks(job_id)


def _many_jobs(client: Client, size: int) -> Callable[[], Iterable[Task]]:
    """So many jobs of one task."""
    requests = (request_of(COMMAND) for _ in range(size))
    jobs = [response.job.job_id for response in pipelined(client, client.stub.SubmitJob, requests)]
    client.wait(jobs[-1])
    while client.unfinished_jobs():
        time.sleep(LOOK_S)
    return lambda: itertools.chain.from_iterable(
        page.tasks
        for page in pipelined(
            client,
            client.stub.ListTasks,
            (pb.ListTasksRequest(job_id=job_id, page_size=PAGE) for job_id in jobs),
        )
    )


def pipelined(client: Client, method: Any, requests: Iterable[Any]) -> list[Any]:
    """The answers to many calls, some of which are always under way."""
    room = threading.Semaphore(IN_FLIGHT)
    calls = []
    for request in requests:
        room.acquire()
        call = method.future(request, CALL_S, client.metadata)
        call.add_done_callback(lambda _: room.release())
        calls.append(call)
    return [call.result() for call in calls]


def _on_new_clusters(setting: Setting, submit: Submit, *, tls: bool = False) -> Callable[[], Sample]:
    """Measures a way of submitting, each time on a cluster of its own."""
    numbers = itertools.count(1)
    name = f"{submit.__name__}{'-tls' if tls else ''}"

    def measure() -> Sample:
        home = setting.scratch / f"{name}-{next(numbers)}"
        with idle_cluster(home, tls=tls) as (cluster, client):
            before = cpu_seconds(cluster)
            started = time.perf_counter()
            tasks = submit(client, setting.size)
            seconds = time.perf_counter() - started
            used = {name: after - before[name] for name, after in cpu_seconds(cluster).items()}
            found = Counter(map(outcome, tasks()))
            work = Work("tasks by outcome", Counter({DONE: setting.size}), found)
            return Sample((setting.size / seconds,), work, _notes(cluster, used, setting.size))

    return measure


def _notes(cluster: LocalCluster, used: dict[str, float], size: int) -> dict[str, float]:
    """What a task cost beside time: CPU of each process, disk and memory of the controller."""
    database = sum(file.stat().st_size for file in cluster.state_dir.glob("iris.db*"))
    return {
        **_cpu_notes(used, size),
        "database bytes a task": database / size,
        "controller MiB at most": peak_mib(cluster.controller_pid()),
    }


def _cpu_notes(used: dict[str, float], size: int) -> dict[str, float]:
    return {f"{name} CPU us a task": seconds / size * 1e6 for name, seconds in used.items()}


def _limit(companion: Companion, size: int) -> Sample:
    answer = companion.ask(size)
    work = Work("processes by exit status", {"0": size}, answer["codes"])
    return Sample((size / answer["seconds"],), work, _cpu_notes(answer["cpu"], size))


def _peer(name: str, setting: Setting) -> Subject | Missing:
    try:
        python = setting.peers.environment(name, PEERS[name]) / "python"
    except PeerMissing as error:
        return Missing(name, str(error))

    def measure() -> Sample:
        # Only while it is measured: what it leaves running would slow the others down.
        with Companion(f"{name}_tasks", home=setting.scratch, python=python) as companion:
            answer = companion.ask(setting.size)
        work = Work("tasks by exit status", {"0": setting.size}, answer["codes"])
        return Sample((setting.size / answer["seconds"],), work)

    return Subject(name, Role.PEER, measure, LIMIT)


@contextmanager
def _lineup(setting: Setting) -> Iterator[Lineup]:
    with Companion("spawn_and_reap", home=setting.scratch) as limit:
        yield [
            Subject(ONE_JOB, Role.PRODUCT, _on_new_clusters(setting, _one_job), LIMIT),
            Subject(LIMIT, Role.LIMIT, lambda: _limit(limit, setting.size)),
            Subject(OVER_TLS, Role.PRODUCT, _on_new_clusters(setting, _one_job, tls=True), ONE_JOB),
            Subject(MANY_JOBS, Role.PRODUCT, _on_new_clusters(setting, _many_jobs), LIMIT),
            *[_peer(name, setting) for name in PEERS],
        ]


DISPATCH = Benchmark(
    name="dispatch",
    number=2,
    title="durable dispatch of /bin/true, tasks a second",
    unit=Unit.PER_SECOND,
    full=Scale(rounds=15, size=20_000),
    smoke=Scale(rounds=1, size=200),
    floors=(
        Floor(ONE_JOB, 0.6, against=LIMIT),
        Floor(ONE_JOB, 5.0, against="hyperqueue"),
        Floor(ONE_JOB, 2.5, against="ray"),
    ),
    lineup=_lineup,
)
