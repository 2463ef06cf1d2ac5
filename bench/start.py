"""Benchmark 3: from submitting a job to the first instruction of its task, on an idle slice.

The task is `/bin/date +%s%N`, which prints the wall clock as soon as it runs; its
own start, about a millisecond from spawn to clock, counts for all alike. The
limit is two unary calls in a row, client to controller to host, and the spawn.
Jobs come one by one, a pause after each has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import grpc

from bench.companion import Companion
from bench.environments import RAY_RELEASE
from bench.local_cluster import CALL_S, Client, idle_cluster
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
from bench.ssh import reused_connection
from iris_proto.v1.job_pb2 import JobState

PRODUCT = "submit to start"
OVER_TLS = "the same, agent over TLS"
LIMIT = "two calls and a spawn"
SSH = "ssh, connection reused"
RAY = "ray, task in a warm worker"
COMMAND = ("/bin/date", "+%s%N")
METHOD = "/iris.bench.Relay/Run"
# Long enough for what the last job left to settle.
PAUSE_S = 0.05
NS = 1e-9


def _sample(size: int, times: Sequence[tuple[int, int, int]]) -> Sample:
    """From when each was called, had started and was known to be over, in nanoseconds of wall clock."""
    in_order = sum(called < started < over for called, started, over in times)
    work = Work("starts between their call and their end", size, in_order)
    return Sample(tuple((started - called) * NS for called, started, _ in times), work)


def _one_by_one(size: int, run: Callable[[], bytes]) -> Sample:
    """Runs `run` so often; it starts a process and returns what that printed, a time."""
    times = []
    for _ in range(size):
        time.sleep(PAUSE_S)
        called = time.time_ns()
        printed = run()
        times.append((called, int(printed), time.time_ns()))
    return _sample(size, times)


def _job(client: Client) -> bytes:
    job_id = client.submit(*COMMAND)
    job = client.wait(job_id)
    assert job.state == JobState.JOB_STATE_SUCCEEDED, f"not SUCCEEDED: {job}"
    return client.log(job_id)


@contextmanager
def _relay(setting: Setting) -> Iterator[Callable[[], bytes]]:
    """Calls the stand-in of a controller, which calls the stand-in of a host."""
    with ExitStack() as stack:
        host = stack.enter_context(Companion("relay", home=setting.scratch))
        controller = stack.enter_context(Companion("relay", home=setting.scratch))
        address = controller.ask(host.ask(""))
        channel = stack.enter_context(grpc.insecure_channel(address))
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        request = "\0".join(COMMAND).encode()
        yield lambda: call(request, CALL_S)


def _ray(setting: Setting) -> Subject | Missing:
    try:
        python = setting.peers.environment("ray", RAY_RELEASE) / "python"
    except PeerMissing as error:
        return Missing(RAY, str(error))

    def measure() -> Sample:
        with Companion("ray_latency", home=setting.scratch, python=python) as companion:
            times = companion.ask(setting.size)
            over = time.time_ns()
        return _sample(setting.size, [(called, started, over) for called, started in times])

    return Subject(RAY, Role.PEER, measure, LIMIT)


@contextmanager
def _ssh(setting: Setting) -> Iterator[Subject | Missing]:
    with ExitStack() as stack:
        try:
            setting.peers.allow()
            run = stack.enter_context(reused_connection(setting.scratch / "ssh"))
        except PeerMissing as error:
            yield Missing(SSH, str(error))
            return
        yield Subject(SSH, Role.PEER, lambda: _one_by_one(setting.size, lambda: run(COMMAND)), LIMIT)


@contextmanager
def _lineup(setting: Setting) -> Iterator[Lineup]:
    size = setting.size
    with (
        idle_cluster(setting.scratch / "cluster") as (_, client),
        idle_cluster(setting.scratch / "tls", tls=True) as (_, client_of_tls),
        _relay(setting) as relay,
        _ssh(setting) as ssh,
    ):
        yield [
            Subject(PRODUCT, Role.PRODUCT, lambda: _one_by_one(size, lambda: _job(client)), LIMIT),
            Subject(OVER_TLS, Role.PRODUCT, lambda: _one_by_one(size, lambda: _job(client_of_tls)), PRODUCT),
            Subject(LIMIT, Role.LIMIT, lambda: _one_by_one(size, relay)),
            ssh,
            _ray(setting),
        ]


START = Benchmark(
    name="start",
    number=3,
    title="from SubmitJob to the task's first instruction, idle slice, one job at a time",
    unit=Unit.SECONDS,
    full=Scale(rounds=15, size=34),
    smoke=Scale(rounds=1, size=5),
    floors=(
        Floor(PRODUCT, 0.005),
        Floor(PRODUCT, 0.010, quantile=0.99),
        Floor(PRODUCT, 0.25, against=SSH),
    ),
    lineup=_lineup,
    quantiles=(0.5, 0.99),
)
