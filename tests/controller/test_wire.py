"""Messages there and back, and the words for those that nobody should have sent."""

import contextlib
import re
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from iris_controller.codec import wire
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.entities import Job
from iris_controller.core.values import AttemptEnd, AttemptId, AttemptSpec, JobSpec, Place, Reason, Resources
from iris_proto.v1 import job_pb2, worker_pb2
from tests.controller.agents import REPORTED
from tests.controller.drawn import ATTEMPT_IDS, JOBS, PLACES, REPORTED_STATES, RESOURCES, SPECS, TEXT, quick

ATTEMPT = job_pb2.AttemptId(job_id="j1", task_index=0, epoch=1, number=1)
SPEC = job_pb2.JobSpec(command=["true"])


@quick
@given(SPECS)
def test_a_job_travels_and_is_stored_unchanged(spec: JobSpec) -> None:
    message = wire.job_spec_to_proto(spec)
    assert wire.job_spec_from_proto(message) == spec
    assert wire.job_spec_from_bytes(message.SerializeToString()) == spec


@quick
@given(ATTEMPT_IDS, PLACES, RESOURCES)
def test_small_values_travel_unchanged(attempt: AttemptId, place: Place, resources: Resources) -> None:
    assert wire.attempt_id_from_proto(wire.attempt_id_to_proto(attempt)) == attempt
    assert wire.place_from_proto(wire.place_to_proto(place)) == place
    assert wire.resources_from_proto(wire.resources_to_proto(resources)) == resources


def report_to_proto(attempt: AttemptId, state: e.AttemptReport) -> worker_pb2.AttemptReport:
    """A report as an agent writes it; the controller never does."""
    message = worker_pb2.AttemptReport(id=wire.attempt_id_to_proto(attempt))
    match state.state:
        case s.AttemptPreparing():
            message.state = job_pb2.ATTEMPT_STATE_PREPARING
        case s.AttemptRunning(started_ms):
            message.state = job_pb2.ATTEMPT_STATE_RUNNING
            message.started_at_ms = started_ms
        case (
            s.AttemptSucceeded(started_ms, end)
            | s.AttemptFailed(started_ms, end)
            | s.AttemptKilled(started_ms, end)
        ) as ended:
            word = type(ended).__name__.removeprefix("Attempt").upper()
            message.state = job_pb2.AttemptState.Value(f"ATTEMPT_STATE_{word}")
            message.started_at_ms, message.finished_at_ms = started_ms, end.finished_ms
            message.reason, message.message = end.reason
            message.log_bytes = end.log_bytes or 0
            if end.exit_code is not None:
                message.exit_code = end.exit_code
            if end.signal is not None:
                message.signal = end.signal
    return message


@quick
@given(ATTEMPT_IDS, REPORTED_STATES)
def test_a_report_is_understood_as_it_was_meant(attempt: AttemptId, state: REPORTED) -> None:
    meant = e.AttemptReport(attempt, state)
    assert wire.report_from_proto(report_to_proto(attempt, meant)) == meant


@quick
@given(JOBS, st.integers(1, 9), REPORTED_STATES)
def test_a_hello_carries_all_that_a_takeover_needs(job: Job, number: int, state: REPORTED) -> None:
    attempt = AttemptId(job.job_id, 0, 7, number)
    report = e.AttemptReport(attempt, state)
    message = worker_pb2.Hello(
        protocol_version=1,
        cluster_id="c",
        place=job_pb2.Place(slice_name="s", worker_index=2),
        boot_id="b",
        previous_boot_id="a",
        highest_epoch=9,
        highest_commit=60,
        zone="z",
        resources=job_pb2.Resources(cpu_millis=4000),
        version="1.0",
        jobs=[wire.job_context(job)],
        observed=[
            worker_pb2.ObservedAttempt(
                spec=worker_pb2.AttemptSpec(id=wire.attempt_id_to_proto(attempt), failures=1, losses=2),
                report=report_to_proto(attempt, report),
            )
        ],
    )
    seen = e.ObservedAttempt(AttemptSpec(attempt, 1, 2), report, job.spec, job.request_id, job.submitted_ms)
    assert wire.hello_from_proto(message, 5, 70) == e.AgentHello(
        5, "c", Place("s", 2), "b", "a", 9, Resources(4000), "1.0", (seen,), "z", 60, 70
    )


def test_what_a_submission_leaves_out_has_a_default() -> None:
    spec = wire.job_spec_from_proto(job_pb2.JobSpec(command=["/usr/bin/python3", "-V"]))
    assert spec == JobSpec("python3", ("/usr/bin/python3", "-V"), {}, 1, Resources(1000), max_losses=100)


def test_zero_is_a_budget_and_not_a_default() -> None:
    assert wire.job_spec_from_proto(job_pb2.JobSpec(command=["true"], max_losses=0)).max_losses == 0


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (job_pb2.JobSpec(), "command: expected the program and its arguments, found nothing"),
        (job_pb2.JobSpec(command=[""]), "command: the program's name is empty"),
        (job_pb2.JobSpec(command=["true"], replicas=-1), "replicas: expected 1 to 1,000,000, found -1"),
        (
            job_pb2.JobSpec(command=["true"], replicas=2_000_000),
            "replicas: expected 1 to 1,000,000, found 2000000",
        ),
        (
            job_pb2.JobSpec(command=["true", "\0"]),
            "command[1]: a NUL character cannot be passed to a program",
        ),
        (
            job_pb2.JobSpec(command=["true"], name="a\0b"),
            "name: a NUL character cannot be passed to a program",
        ),
        (
            job_pb2.JobSpec(command=["true"], env={"A": "\0"}),
            "env[A]: a NUL character cannot be passed to a program",
        ),
        (
            job_pb2.JobSpec(command=["true"], env={"A\0": ""}),
            "env: a NUL character cannot be passed to a program",
        ),
        (job_pb2.JobSpec(command=["true"], env={"A=B": ""}), "env: 'A=' is not the name of a variable"),
        (job_pb2.JobSpec(command=["true"], env={"": ""}), "env: '' is not the name of a variable"),
        (
            job_pb2.JobSpec(command=["true"], resources=job_pb2.Resources(cpu_millis=-1)),
            "resources: expected amounts of at least 0",
        ),
        (
            job_pb2.JobSpec(command=["true"], slices=2, replicas=4),
            "slices: only a gang has several; expected gang, or an accelerator",
        ),
        (
            job_pb2.JobSpec(command=["true"], slices=2, gang=True),
            "replicas: expected a multiple of 2, as many on each slice, found 1",
        ),
        (
            job_pb2.JobSpec(command=["true"], slices=3, replicas=7, accelerator="v5litepod-16"),
            "replicas: expected a multiple of 3, as many on each slice, found 7",
        ),
        (
            job_pb2.JobSpec(command=["true"], slices=-1),
            "slices: expected 1 to 1,000,000, found -1",
        ),
        (job_pb2.JobSpec(command=["true"], max_failures=-1), "max_failures, max_losses: expected at least 0"),
        (
            job_pb2.JobSpec(command=["true"], stop_grace=Duration(seconds=-1)),
            "stop_grace: expected at least 0",
        ),
    ],
)
def test_a_wrong_submission_is_refused_in_words(message: job_pb2.JobSpec, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        wire.job_spec_from_proto(message)


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "../../etc/passwd"},
        {"job_id": "a/b"},
        {"job_id": ""},
        {"job_id": "j1\n"},
        {"job_id": "J1"},
        {"job_id": "j" * 65},
        {"task_index": -1},
        {"epoch": -1},
        {"number": 0},
    ],
)
def test_an_attempt_that_no_controller_named_is_refused(change: dict[str, Any]) -> None:
    message = job_pb2.AttemptId(job_id="j1", task_index=0, epoch=1, number=1)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match="not an attempt's identifier"):
        wire.attempt_id_from_proto(message)


@pytest.mark.parametrize("state", [0, 99, job_pb2.ATTEMPT_STATE_ASSIGNED, job_pb2.ATTEMPT_STATE_WORKER_LOST])
def test_a_state_that_agents_do_not_report_is_refused(state: Any) -> None:
    with pytest.raises(ValueError, match=f"unexpected state {state}"):
        wire.report_from_proto(worker_pb2.AttemptReport(id=ATTEMPT, state=state))


def observed(index: int = 0) -> worker_pb2.ObservedAttempt:
    attempt = job_pb2.AttemptId(job_id="j1", task_index=index, epoch=1, number=1)
    report = worker_pb2.AttemptReport(id=attempt, state=job_pb2.ATTEMPT_STATE_RUNNING)
    return worker_pb2.ObservedAttempt(spec=worker_pb2.AttemptSpec(id=attempt), report=report)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (worker_pb2.Hello(protocol_version=2), "protocol version 2 is not spoken here; expected 1"),
        (
            worker_pb2.Hello(protocol_version=1, observed=[observed()]),
            "of a job that it does not describe",
        ),
        (
            worker_pb2.Hello(
                protocol_version=1,
                observed=[observed(3)],
                jobs=[worker_pb2.JobContext(job_id="j1", spec=SPEC)],
            ),
            "of a job with 1 tasks",
        ),
        (
            worker_pb2.Hello(
                protocol_version=1, observed=[observed()], jobs=[worker_pb2.JobContext(job_id="j1")]
            ),
            "command: expected the program",
        ),
    ],
)
def test_a_wrong_hello_is_refused_in_words(message: worker_pb2.Hello, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wire.hello_from_proto(message, 1, 0)


@quick
@given(st.binary(max_size=60))
def test_any_bytes_are_a_job_or_a_readable_error(data: bytes) -> None:
    with contextlib.suppress(ValueError, DecodeError):
        spec = wire.job_spec_from_bytes(data)
        assert wire.job_spec_from_proto(wire.job_spec_to_proto(spec)) == spec


def test_orders_describe_each_job_once() -> None:
    starts = tuple(AttemptSpec(AttemptId("j1", index, 1, 1), 1, 2) for index in range(2))
    stop = fx.StopOrder(AttemptId("j2", 0, 1, 1), "draining")
    job = Job("j1", "r", JobSpec("n", ("true",), {}, 2, Resources(1)), 5, 1)
    message = wire.commands(fx.SendCommands(1, starts, (stop,)), [wire.job_context(job)], 7, 8).commands
    assert (message.epoch, message.commit, [context.job_id for context in message.jobs]) == (7, 8, ["j1"])
    assert [(spec.id.task_index, spec.failures, spec.losses) for spec in message.start] == [
        (0, 1, 2),
        (1, 1, 2),
    ]
    assert [(order.id.job_id, order.reason) for order in message.stop] == [("j2", "draining")]


@quick
@given(TEXT)
def test_a_welcome_answers_for_every_attempt(reason: str) -> None:
    verdicts = (
        fx.Verdict(AttemptId("j1", 0, 1, 1), keep=True),
        fx.Verdict(AttemptId("j1", 1, 1, 1), keep=False, reason=reason),
    )
    timings = worker_pb2.Timings()
    timings.beat_interval.FromSeconds(10)
    message = wire.welcome(fx.SendWelcome(1, 90_000, verdicts), timings, 7, 8).welcome
    assert (message.protocol_version, message.epoch, message.commit) == (1, 7, 8)
    assert (message.timings.task_lease.seconds, message.timings.beat_interval.seconds) == (90, 10)
    assert [(v.id.task_index, v.verdict, v.reason) for v in message.verdicts] == [
        (0, worker_pb2.VERDICT_KEEP, ""),
        (1, worker_pb2.VERDICT_STOP, reason),
    ]
    assert not timings.HasField("task_lease")


def test_acknowledgements_carry_epoch_and_commit() -> None:
    beat = wire.beat_ack(fx.AckBeat(1, 3), 7, 8).beat_ack
    reports = wire.reports_ack(fx.AckReports(1, 4), 7, 8).reports_ack
    assert (beat.sequence, beat.epoch, beat.commit) == (3, 7, 8)
    assert (reports.sequence, reports.epoch, reports.commit) == (4, 7, 8)


def test_a_batch_of_reports_keeps_its_order() -> None:
    running = worker_pb2.AttemptReport(id=ATTEMPT, state=job_pb2.ATTEMPT_STATE_RUNNING, started_at_ms=3)
    failed = worker_pb2.AttemptReport(
        id=ATTEMPT, state=job_pb2.ATTEMPT_STATE_FAILED, reason="exit", exit_code=2
    )
    event = wire.reports_from_proto(worker_pb2.Reports(sequence=9, reports=[running, failed]), 4)
    end = AttemptEnd(0, Reason("exit"), 2, None, 0)
    states: list[REPORTED] = [s.AttemptRunning(3), s.AttemptFailed(0, end)]
    assert event == e.AgentReports(4, 9, tuple(e.AttemptReport(AttemptId("j1", 0, 1, 1), v) for v in states))
