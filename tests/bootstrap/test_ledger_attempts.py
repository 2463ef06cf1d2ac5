"""The agent's decisions about attempts: orders, reports and forgetting, one event at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iris_bootstrap.attempt import AttemptKey, SeenKeys, SeenRange
from iris_bootstrap.session.book import Memory
from iris_bootstrap.session.outputs import (
    Forget,
    Output,
    ReleaseProcess,
    StartProcess,
    StopProcess,
)
from iris_proto.v1 import worker_pb2
from iris_proto.v1.worker_pb2 import ControllerMessage
from tests.bootstrap.ledgers import (
    FAILED,
    KILLED,
    PREPARING,
    RUNNING,
    SUCCEEDED,
    A,
    Agent,
    B,
    job,
    release,
    report,
    reports_ack,
    reports_in,
    sent,
    spec,
    start,
    stop,
    welcome,
    welcome_agent,
)


@pytest.fixture
def agent() -> Agent:
    return welcome_agent()


# Orders.


def test_start_is_carried_out_once(agent: Agent) -> None:
    assert agent.hear(start(A)) == [StartProcess(A, spec(A), job(), 5.0)]
    assert agent.hear(start(A, jobs=False)) == []
    assert agent.ledger.attempts[A].report == report(A, PREPARING)
    assert agent.ledger.on_ready_to_send() == []


def test_release_is_for_those_who_wait_for_it(agent: Agent) -> None:
    assert agent.hear(release(A)) == []
    agent.hear(start(A))
    assert agent.hear(release(A, epoch=6)) == []
    waiting = report(A, PREPARING)
    waiting.address = "h:1"
    assert agent.tell(waiting) == [waiting]
    assert agent.hear(start(A)) == []
    assert reports_in(agent.ledger.on_ready_to_send()) == [waiting]
    assert agent.hear(release(A)) == [ReleaseProcess(A, job(), ("h:1", "h:2"))]
    agent.tell(report(A, RUNNING))
    assert agent.hear(release(A)) == []
    agent.tell(report(A, FAILED))
    assert agent.hear(release(A)) == []


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
