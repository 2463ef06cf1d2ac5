"""Builders for the ledger's tests: messages, and an agent whose keeper answers at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.book import Memory, id_of
from iris_bootstrap.session.ledger import Identity, Ledger
from iris_bootstrap.session.outputs import (
    Output,
    PingKeeper,
    SendToController,
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


def release(key: AttemptKey, epoch: int = 7) -> ControllerMessage:
    order = worker_pb2.ReleaseAttempt(id=id_of(key), task_addresses=["h:1", "h:2"])
    return ControllerMessage(commands=worker_pb2.Commands(epoch=epoch, release=[order]))


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


def welcome_agent() -> Agent:
    """One that a controller has taken in."""
    agent = Agent()
    agent.connect(welcome())
    return agent
