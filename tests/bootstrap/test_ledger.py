"""The agent's decisions about connections, epochs, beats and leases, one event at a time."""

from __future__ import annotations

import pytest

from iris_bootstrap.session.book import KnownAttempt, Memory
from iris_bootstrap.session.outputs import (
    Disconnect,
    PingKeeper,
    SaveCommit,
    SaveEpoch,
    SetLease,
    StartProcess,
    StopProcess,
)
from iris_proto.v1 import worker_pb2
from iris_proto.v1.worker_pb2 import ControllerMessage
from tests.bootstrap.ledgers import (
    RUNNING,
    SUCCEEDED,
    A,
    Agent,
    B,
    beat_ack,
    job,
    of_type,
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
    assert outputs[:2] == [SaveEpoch(7, 5), SetLease(160.0, 60.0, 300.0, 6.0)]
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
    assert agent.hear(beat_ack(2)) == [SetLease(162.0, 60.0, 300.0, 6.0)]
    assert agent.hear(beat_ack(2)) == []
    # The one before it says nothing new.
    assert agent.hear(beat_ack(1)) == []


def test_controller_that_acknowledges_no_beat_is_left(agent: Agent) -> None:
    assert of_type(agent.ledger.on_beat_due(106.0), Disconnect) == []
    (output,) = agent.ledger.on_beat_due(106.1)
    assert isinstance(output, Disconnect)
