"""The agent's decisions, one event at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from google.protobuf.duration_pb2 import Duration

from iris_bootstrap.attempt import AttemptKey, SeenKeys, SeenRange
from iris_bootstrap.session.book import KnownAttempt, Memory, id_of
from iris_bootstrap.session.ledger import Identity, Ledger
from iris_bootstrap.session.outputs import (
    Disconnect,
    Forget,
    Output,
    PingKeeper,
    SaveCommit,
    SaveEpoch,
    SendToController,
    SetLease,
    StartProcess,
    StopProcess,
)
from iris_proto.v1 import job_pb2, worker_pb2
from iris_proto.v1.job_pb2 import AttemptState
from iris_proto.v1.worker_pb2 import AgentMessage, AttemptReport, ControllerMessage

PREPARING = AttemptState.ATTEMPT_STATE_PREPARING
RUNNING = AttemptState.ATTEMPT_STATE_RUNNING
SUCCEEDED = AttemptState.ATTEMPT_STATE_SUCCEEDED
FAILED = AttemptState.ATTEMPT_STATE_FAILED
KILLED = AttemptState.ATTEMPT_STATE_KILLED

ME = Identity("cluster", "slice", 3, "boot", "before", 4000, 0, "0.1", {"zone": "local"})
A = AttemptKey("job", 0, 7, 1)
B = AttemptKey("job", 1, 7, 1)
OLD = AttemptKey("old", 0, 5, 1)


def job(job_id: str = "job", grace_s: int | None = None, command: str = "true") -> worker_pb2.JobContext:
    spec = job_pb2.JobSpec(command=[command], replicas=2)
    if grace_s is not None:
        spec.stop_grace.CopyFrom(Duration(seconds=grace_s))
    return worker_pb2.JobContext(job_id=job_id, spec=spec)


def spec(key: AttemptKey) -> worker_pb2.AttemptSpec:
    return worker_pb2.AttemptSpec(id=id_of(key))


def report(key: AttemptKey, state: AttemptState.ValueType, log_bytes: int = 0) -> AttemptReport:
    return AttemptReport(id=id_of(key), state=state, log_bytes=log_bytes)


def welcome(epoch: int = 7, commit: int = 0, stop: tuple[AttemptKey, ...] = ()) -> ControllerMessage:
    timings = worker_pb2.Timings(
        beat_interval=Duration(seconds=2),
        task_lease=Duration(seconds=60),
        stop_grace=Duration(seconds=5),
        orphan_timeout=Duration(seconds=300),
        suspect_after=Duration(seconds=6),
    )
    verdicts = [
        worker_pb2.AttemptVerdict(id=id_of(key), verdict=worker_pb2.VERDICT_STOP, reason="superseded")
        for key in stop
    ]
    return ControllerMessage(
        welcome=worker_pb2.Welcome(
            protocol_version=1, epoch=epoch, commit=commit, timings=timings, verdicts=verdicts
        )
    )


def start(*keys: AttemptKey, epoch: int = 7, commit: int = 0, jobs: bool = True) -> ControllerMessage:
    contexts = [job(job_id) for job_id in sorted({key.job_id for key in keys})] if jobs else []
    commands = worker_pb2.Commands(epoch=epoch, commit=commit, jobs=contexts, start=map(spec, keys))
    return ControllerMessage(commands=commands)


def stop(key: AttemptKey, epoch: int = 7) -> ControllerMessage:
    order = worker_pb2.StopAttempt(id=id_of(key), reason="job_stopped")
    return ControllerMessage(commands=worker_pb2.Commands(epoch=epoch, stop=[order]))


def reports_ack(sequence: int, epoch: int = 7, commit: int = 0) -> ControllerMessage:
    return ControllerMessage(reports_ack=worker_pb2.ReportsAck(sequence=sequence, epoch=epoch, commit=commit))


def beat_ack(sequence: int, epoch: int = 7) -> ControllerMessage:
    return ControllerMessage(beat_ack=worker_pb2.BeatAck(sequence=sequence, epoch=epoch))


@dataclass
class Agent:
    """A ledger with a keeper that answers at once."""

    memory: Memory = field(default_factory=Memory)
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.ledger = Ledger(ME, self.memory)

    def connect(self, answer: ControllerMessage | None = None) -> list[Output]:
        outputs = self.ledger.on_connected(self.now_s)
        ping = outputs[-1]
        assert isinstance(ping, PingKeeper)
        self.ledger.on_pong(ping.sequence, self.now_s)
        return outputs if answer is None else self.hear(answer)

    def hear(self, message: ControllerMessage) -> list[Output]:
        return self.ledger.on_message(message, self.now_s)

    def tell(self, *reports: AttemptReport) -> list[AttemptReport]:
        """The keeper's reports in; what goes out to the controller."""
        self.ledger.on_reports(reports)
        return reports_in(self.ledger.on_ready_to_send())


def sent(outputs: list[Output], kind: str) -> AgentMessage:
    (message,) = [out.message for out in outputs if isinstance(out, SendToController)]
    assert message.WhichOneof("message") == kind
    return message


def reports_in(outputs: list[Output]) -> list[AttemptReport]:
    return list(sent(outputs, "reports").reports.reports) if outputs else []


def of_type(outputs: list[Output], kind: type) -> list[Output]:
    return [output for output in outputs if isinstance(output, kind)]


@pytest.fixture
def agent() -> Agent:
    """One that is welcome."""
    agent = Agent()
    agent.connect(welcome())
    return agent


# Connecting.


def test_hello_says_who_we_are_and_all_we_know() -> None:
    memory = Memory(
        6, 44, {"job": job(), "unused": job("unused")}, {A: KnownAttempt(spec(A), report(A, RUNNING))}
    )
    hello = sent(Agent(memory).connect(), "hello").hello
    assert (hello.protocol_version, hello.cluster_id, hello.version) == (1, "cluster", "0.1")
    assert (hello.place.slice_name, hello.place.worker_index) == ("slice", 3)
    assert (hello.boot_id, hello.previous_boot_id) == ("boot", "before")
    assert (hello.highest_epoch, hello.highest_commit) == (6, 44)
    assert (hello.resources.cpu_millis, dict(hello.labels)) == (4000, {"zone": "local"})
    assert [context.job_id for context in hello.jobs] == ["job"]
    assert list(hello.observed) == [worker_pb2.ObservedAttempt(spec=spec(A), report=report(A, RUNNING))]


def test_welcome_saves_the_epoch_first_then_leases_from_the_hello_and_beats() -> None:
    agent = Agent()
    agent.connect()
    agent.now_s += 3
    outputs = agent.hear(welcome(epoch=7, commit=5))
    assert outputs[:2] == [SaveEpoch(7, 5), SetLease(160.0, 60.0, 300.0)]
    assert sent(outputs, "beat").beat.sequence == 1
    assert outputs[-1] == PingKeeper(2)
    assert agent.ledger.welcomed
    assert agent.ledger.timings.beat_interval_s == 2.0


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (welcome(epoch=6), "stale epoch 6; 7 was seen"),
        (ControllerMessage(welcome=worker_pb2.Welcome(epoch=7)), "protocol version 0"),
        (start(A), "commands came before the welcome"),
        (beat_ack(1), "beat_ack came before the welcome"),
        (reports_ack(1), "reports_ack came before the welcome"),
    ],
    ids=["stale", "no version", "commands", "beat_ack", "reports_ack"],
)
def test_answers_that_end_the_stream(message: ControllerMessage, why: str) -> None:
    agent = Agent(Memory(highest_epoch=7))
    (output,) = agent.connect(message)
    assert isinstance(output, Disconnect)
    assert why in output.reason
    assert not agent.ledger.welcomed


def test_second_welcome_ends_the_stream(agent: Agent) -> None:
    assert agent.hear(welcome()) == [Disconnect("a second welcome on one stream")]


def test_message_of_a_later_release_is_nothing(agent: Agent) -> None:
    assert agent.hear(ControllerMessage()) == []


def test_nothing_is_heard_without_a_stream(agent: Agent) -> None:
    agent.ledger.on_disconnected()
    assert agent.hear(start(A)) == []
    assert agent.ledger.on_beat_due(agent.now_s) == []
    assert not agent.ledger.welcomed


@pytest.mark.parametrize(
    "stale",
    [start(A, epoch=6), stop(A, epoch=6), beat_ack(1, epoch=6), reports_ack(1, epoch=6)],
    ids=["start", "stop", "beat_ack", "reports_ack"],
)
def test_word_of_a_replaced_controller_is_not_taken(agent: Agent, stale: ControllerMessage) -> None:
    assert agent.hear(stale) == []


def test_higher_epoch_is_saved_before_its_orders(agent: Agent) -> None:
    outputs = agent.hear(start(A, epoch=8, commit=2))
    assert [type(output) for output in outputs] == [SaveEpoch, StartProcess]


def test_commit_is_saved_when_it_rises(agent: Agent) -> None:
    assert agent.hear(reports_ack(9, commit=12)) == [SaveCommit(12)]
    assert agent.hear(reports_ack(9, commit=12)) == []
    assert agent.hear(reports_ack(9, commit=11)) == []


def test_only_an_explicit_stop_stops() -> None:
    """Absence means nothing."""
    attempts = {key: KnownAttempt(spec(key), report(key, RUNNING)) for key in (A, B)}
    agent = Agent(Memory(jobs={"job": job()}, attempts=attempts))
    outputs = agent.connect(welcome(stop=(B,)))
    assert of_type(outputs, StopProcess) == [StopProcess(B, "superseded")]


def test_stop_for_what_has_ended_is_answered_with_the_end() -> None:
    agent = Agent(Memory(jobs={"job": job()}, attempts={A: KnownAttempt(spec(A), report(A, SUCCEEDED))}))
    outputs = agent.connect(welcome(stop=(A,)))
    assert of_type(outputs, StopProcess) == []
    assert reports_in(agent.ledger.on_ready_to_send()) == [report(A, SUCCEEDED)]


# Beats.


def test_beat_needs_an_answer_of_the_keeper_since_the_last(agent: Agent) -> None:
    agent.now_s = 102.0
    assert agent.ledger.on_beat_due(agent.now_s) == []
    # The answer to an earlier ping is not one to the last.
    assert agent.ledger.on_pong(1, agent.now_s) == []
    agent.now_s = 103.0
    outputs = agent.ledger.on_pong(2, agent.now_s)
    assert sent(outputs, "beat").beat.sequence == 2
    assert agent.ledger.on_pong(3, agent.now_s) == []
    assert sent(agent.ledger.on_beat_due(104.0), "beat").beat.sequence == 3


def test_lease_counts_from_the_sending_of_the_beat(agent: Agent) -> None:
    agent.ledger.on_pong(2, 101.0)
    agent.ledger.on_beat_due(102.0)
    agent.now_s = 105.0
    assert agent.hear(beat_ack(2)) == [SetLease(162.0, 60.0, 300.0)]
    assert agent.hear(beat_ack(2)) == []
    # The one before it says nothing new.
    assert agent.hear(beat_ack(1)) == []


def test_controller_that_acknowledges_no_beat_is_left(agent: Agent) -> None:
    assert of_type(agent.ledger.on_beat_due(106.0), Disconnect) == []
    (output,) = agent.ledger.on_beat_due(106.1)
    assert isinstance(output, Disconnect)


# Orders.


def test_start_is_carried_out_once(agent: Agent) -> None:
    assert agent.hear(start(A)) == [StartProcess(A, spec(A), job(), 5.0)]
    assert agent.hear(start(A, jobs=False)) == []
    assert agent.ledger.attempts[A].report == report(A, PREPARING)
    assert agent.ledger.on_ready_to_send() == []


def test_start_again_is_answered_with_how_it_is_doing(agent: Agent) -> None:
    agent.hear(start(A))
    agent.tell(report(A, RUNNING))
    assert agent.hear(start(A)) == []
    assert reports_in(agent.ledger.on_ready_to_send()) == [report(A, RUNNING)]


def test_grace_is_the_jobs_own_where_it_has_one(agent: Agent) -> None:
    commands = worker_pb2.Commands(epoch=7, jobs=[job(grace_s=0)], start=[spec(A)])
    (output,) = agent.hear(ControllerMessage(commands=commands))
    assert isinstance(output, StartProcess)
    assert output.grace_s == 0.0


@pytest.mark.parametrize(
    ("key", "context", "why"),
    [
        (A, None, "did not say what the job runs"),
        (AttemptKey("../up", 0, 7, 1), job("../up"), "job id"),
        (A, job(command="x" * 9_000_000), "too long"),
    ],
    ids=["no context", "path", "too long"],
)
def test_start_that_cannot_be_is_refused(
    agent: Agent, key: AttemptKey, context: worker_pb2.JobContext | None, why: str
) -> None:
    commands = worker_pb2.Commands(epoch=7, jobs=[context] if context else [], start=[spec(key)])
    assert agent.hear(ControllerMessage(commands=commands)) == []
    (answer,) = reports_in(agent.ledger.on_ready_to_send())
    assert (answer.state, answer.reason) == (FAILED, "start_failed")
    assert why in answer.message


def test_id_that_was_ever_seen_is_not_started_again() -> None:
    seen = SeenKeys([SeenRange("job", 7, 1, 0, 5)])
    agent = Agent(Memory(seen=seen))
    agent.connect(welcome())
    assert agent.hear(start(A)) == []
    (answer,) = reports_in(agent.ledger.on_ready_to_send())
    assert (answer.state, answer.reason) == (KILLED, "keeper_lost")


def test_stop_is_passed_on(agent: Agent) -> None:
    agent.hear(start(A))
    assert agent.hear(stop(A)) == [StopProcess(A, "job_stopped")]


def test_stop_of_what_is_not_known_keeps_it_from_ever_starting(agent: Agent) -> None:
    assert agent.hear(stop(A)) == [StopProcess(A, "job_stopped")]
    (answer,) = reports_in(agent.ledger.on_ready_to_send())
    assert (answer.state, answer.reason) == (KILLED, "job_stopped")
    assert agent.hear(start(A)) == []


# Reports.


def test_only_the_latest_state_of_an_attempt_is_sent(agent: Agent) -> None:
    agent.hear(start(A, B))
    assert agent.tell(report(A, RUNNING), report(B, RUNNING), report(A, SUCCEEDED)) == [
        report(A, SUCCEEDED),
        report(B, RUNNING),
    ]
    assert agent.ledger.on_ready_to_send() == []


def test_nothing_follows_an_end(agent: Agent) -> None:
    agent.hear(start(A))
    agent.tell(report(A, SUCCEEDED))
    assert agent.tell(report(A, RUNNING)) == []


def test_end_is_forgotten_when_it_is_acknowledged(agent: Agent) -> None:
    agent.hear(start(A, B))
    agent.tell(report(A, SUCCEEDED))
    assert agent.hear(reports_ack(1)) == [Forget((A,), ())]
    agent.tell(report(B, FAILED))
    assert agent.hear(reports_ack(2)) == [Forget((B,), ("job",))]
    assert agent.ledger.attempts == {}
    hello = sent(agent.connect(), "hello").hello
    assert (list(hello.jobs), list(hello.observed)) == ([], [])


@pytest.mark.parametrize("log_first", [True, False])
def test_end_with_a_log_is_forgotten_when_both_are_durable(agent: Agent, log_first: bool) -> None:
    agent.hear(start(A))
    agent.tell(report(A, SUCCEEDED, log_bytes=9))
    steps: list[Callable[[], list[Output]]] = [
        lambda: agent.ledger.on_log_durable(A),
        lambda: agent.hear(reports_ack(1)),
    ]
    first, second = steps if log_first else reversed(steps)
    assert first() == []
    assert second() == [Forget((A,), ("job",))]
    assert agent.ledger.on_log_durable(A) == []


def test_acknowledgement_of_an_earlier_state_is_not_one_of_the_end(agent: Agent) -> None:
    agent.hear(start(A))
    agent.tell(report(A, RUNNING))
    agent.tell(report(A, SUCCEEDED))
    assert agent.hear(reports_ack(1)) == []
    assert agent.ledger.undelivered
    assert agent.hear(reports_ack(2)) == [Forget((A,), ("job",))]
    assert not agent.ledger.undelivered


def test_what_was_not_acknowledged_is_said_again_on_the_next_stream(agent: Agent) -> None:
    agent.hear(start(A, B))
    agent.tell(report(A, SUCCEEDED), report(B, RUNNING))
    agent.ledger.on_disconnected()
    hello = sent(agent.connect(), "hello").hello
    assert {key.report.state for key in hello.observed} == {SUCCEEDED, RUNNING}
    assert agent.ledger.on_ready_to_send() == []
    agent.hear(welcome())
    # The Hello told of the running one; an end needs an acknowledgement of its own.
    assert reports_in(agent.ledger.on_ready_to_send()) == [report(A, SUCCEEDED)]
    assert agent.hear(reports_ack(1)) == [Forget((A,), ())]


def test_change_between_hello_and_welcome_is_told(agent: Agent) -> None:
    agent.hear(start(A))
    agent.tell(report(A, RUNNING))
    agent.ledger.on_disconnected()
    agent.connect()
    assert agent.tell(report(A, SUCCEEDED)) == []
    agent.hear(welcome())
    assert reports_in(agent.ledger.on_ready_to_send()) == [report(A, SUCCEEDED)]


def test_acknowledgement_of_another_stream_is_nothing(agent: Agent) -> None:
    agent.hear(start(A))
    agent.tell(report(A, SUCCEEDED))
    agent.ledger.on_disconnected()
    agent.connect(welcome())
    assert agent.hear(reports_ack(1)) == []


def test_controller_that_is_slow_gets_a_bounded_number_of_messages(agent: Agent) -> None:
    keys = [AttemptKey("job", index, 7, 1) for index in range(20)]
    agent.hear(start(*keys))
    told = [agent.tell(report(key, RUNNING)) for key in keys]
    assert [len(batch) for batch in told] == [1] * 16 + [0] * 4
    agent.hear(reports_ack(1))
    assert len(reports_in(agent.ledger.on_ready_to_send())) == 4


def test_many_reports_are_several_messages(agent: Agent) -> None:
    keys = [AttemptKey("job", index, 7, 1) for index in range(700)]
    agent.hear(start(*keys))
    assert len(agent.tell(*(report(key, RUNNING) for key in keys))) == 500
    assert len(reports_in(agent.ledger.on_ready_to_send())) == 200
