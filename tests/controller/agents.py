"""An agent as the core meets it: it speaks in events and keeps what it was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.values import (
    AttemptEnd,
    AttemptId,
    AttemptSpec,
    JobSpec,
    Notice,
    Place,
    Reason,
    Resources,
)

GIB = 1024**3
REPORTED = s.AttemptPreparing | s.AttemptRunning | s.AttemptEnded
RUNNING = s.AttemptRunning(1)


def spec(
    tasks: int = 1,
    cpu: float = 1,
    memory: int = 0,
    failures: int = 0,
    losses: int = 100,
    *,
    gang: bool = False,
) -> JobSpec:
    """What a person submits; `failures` and `losses` are the budgets."""
    resources = Resources(round(cpu * 1000), memory)
    return JobSpec(
        "job",
        ("true",),
        {},
        tasks,
        resources=resources,
        gang=gang,
        max_failures=failures,
        max_losses=losses,
    )


def end(reason: str = "exit", code: int | None = None, log_bytes: int = 0) -> AttemptEnd:
    return AttemptEnd(2, Reason(reason, f"{reason} of the program"), code, log_bytes=log_bytes)


def succeeded(log_bytes: int = 0) -> s.AttemptSucceeded:
    return s.AttemptSucceeded(1, end(code=0, log_bytes=log_bytes))


def failed(reason: str = "exit", code: int = 1, log_bytes: int = 0) -> s.AttemptFailed:
    return s.AttemptFailed(1, end(reason, code, log_bytes))


def killed(reason: str) -> s.AttemptKilled:
    return s.AttemptKilled(1, end(reason))


def observed(
    attempt: AttemptId,
    state: REPORTED = RUNNING,
    *,
    job: JobSpec | None = None,
    failures: int = 0,
    losses: int = 0,
    address: str = "",
) -> e.ObservedAttempt:
    """An attempt as a hello shows it."""
    told = AttemptSpec(attempt, failures, losses)
    report = e.AttemptReport(attempt, state, address)
    return e.ObservedAttempt(told, report, job or spec(), f"request-{attempt.job_id}", 5)


def address_of(attempt: AttemptId) -> str:
    """Where an agent of these tests says that a gang's member is."""
    return f"host:{20_000 + 100 * attempt.number + attempt.task_index}"


class Controller(Protocol):
    """Whom an agent talks to."""

    def batch(self, *events: e.Event) -> list[fx.Effect]: ...

    def new_session(self, agent: "Agent") -> int: ...


@dataclass
class Agent:
    """One host. `started`, `stopped` and `verdicts` are what it was told since its last hello."""

    controller: Controller
    cluster_id: str
    place: Place
    resources: Resources
    boot_id: str = "boot-1"
    session: int = 0
    silent: bool = False
    lease_ms: int = 0
    refused: str = ""
    acknowledged: list[int] = field(default_factory=list)
    started: list[AttemptId] = field(default_factory=list)
    stopped: dict[AttemptId, str] = field(default_factory=dict)
    released: dict[AttemptId, tuple[str, ...]] = field(default_factory=dict)
    verdicts: dict[AttemptId, str] = field(default_factory=dict)
    noticed: list[Notice] = field(default_factory=list)

    def hello(
        self,
        *seen: e.ObservedAttempt,
        previous_boot_id: str = "",
        highest_epoch: int = 0,
        highest_commit: int = 0,
        with_events: Sequence[e.Event] = (),
    ) -> list[fx.Effect]:
        """Dials and tells everything; `with_events` come in the same batch, after the hello."""
        self.session = self.controller.new_session(self)
        self.refused = ""
        self.acknowledged, self.started, self.stopped, self.verdicts = [], [], {}, {}
        self.released = {}
        event = e.AgentHello(
            session_id=self.session,
            cluster_id=self.cluster_id,
            place=self.place,
            boot_id=self.boot_id,
            previous_boot_id=previous_boot_id,
            highest_epoch=highest_epoch,
            resources=self.resources,
            version="1.0",
            observed=seen,
            highest_commit=highest_commit,
            our_commit=100,
        )
        return self.controller.batch(event, *with_events)

    def reboots(self, *seen: e.ObservedAttempt, quotes: bool = True) -> list[fx.Effect]:
        """Says hello with a new boot id; `quotes` the old one from its disk."""
        old = self.boot_id
        self.boot_id = f"{old}+"
        return self.hello(*seen, previous_boot_id=old if quotes else "")

    def hangs_up(self) -> list[fx.Effect]:
        return self.controller.batch(e.SessionClosed(self.session))

    def beats(self) -> list[fx.Effect]:
        return self.controller.batch(e.AgentBeat(self.session, 1))

    def says(self, attempt: AttemptId, *states: REPORTED) -> list[fx.Effect]:
        """Reports an attempt's states, in one message."""
        reports = tuple(e.AttemptReport(attempt, state) for state in states)
        return self.controller.batch(e.AgentReports(self.session, 1, reports))

    def prepares(self, attempt: AttemptId) -> list[fx.Effect]:
        """Reports a gang's member that has its address."""
        report = e.AttemptReport(attempt, s.AttemptPreparing(), address_of(attempt))
        return self.controller.batch(e.AgentReports(self.session, 1, (report,)))

    def runs(self, attempt: AttemptId) -> list[fx.Effect]:
        return self.says(attempt, RUNNING)

    def is_told(self, effect: fx.Effect) -> None:
        """Keeps a message of the controller."""
        match effect:
            case fx.SendWelcome(_, lease_ms, verdicts):
                self.lease_ms = lease_ms
                self.verdicts = {v.id: "KEEP" if v.keep else f"STOP {v.reason}" for v in verdicts}
            case fx.SendCommands(_, start, stop, release):
                self.released.update({one.id: one.addresses for one in release})
                self.started += [told.id for told in start]
                self.stopped.update({order.id: order.reason for order in stop})
            case fx.SendNotice(_, notice):
                self.noticed.append(notice)
            case fx.AckBeat(_, sequence) | fx.AckReports(_, sequence):
                self.acknowledged.append(sequence)
            case fx.RefuseSession(session_id, reason):
                # An earlier stream of the same process ends unheard.
                self.refused = reason.code if session_id == self.session else self.refused
            case _:
                raise AssertionError(f"not for an agent: {effect}")
