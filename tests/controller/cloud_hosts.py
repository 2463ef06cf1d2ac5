"""Agents on the machines of a test cloud, as the controller's loop meets them: they speak in events.

One lives as long as its machine has power. It runs what it is given until it is told to
end, and keeps it in memory whatever becomes of the controller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import Job
from iris_controller.core.values import AttemptId, Place, Resources
from tests.controller.agents import RUNNING, killed, succeeded


@dataclass
class Host:
    """One agent. `key` is its machine's, and its boot id; `stopped` is all that it was ever told to stop."""

    key: str
    place: Place
    zone: str
    offer: Resources
    session: int = 0
    highest_epoch: int = 0
    highest_commit: int = 0
    refused: str = ""
    runs: dict[AttemptId, e.ObservedAttempt] = field(default_factory=dict)
    stopped: dict[AttemptId, str] = field(default_factory=dict)

    def hello(self, cluster_id: str, our_commit: int) -> e.AgentHello:
        """Everything that it knows."""
        return e.AgentHello(
            session_id=self.session,
            cluster_id=cluster_id,
            place=self.place,
            boot_id=self.key,
            previous_boot_id="",
            highest_epoch=self.highest_epoch,
            resources=self.offer,
            version="1",
            observed=tuple(self.runs.values()),
            zone=self.zone,
            highest_commit=self.highest_commit,
            our_commit=our_commit,
        )

    def hears(self, effect: fx.Effect, jobs: dict[str, Job]) -> Iterator[e.Event]:
        """Takes what it is told; what it answers to that."""
        match effect:
            case fx.SendWelcome(_, _, verdicts):
                for verdict in verdicts:
                    if not verdict.keep:
                        yield from self._stops(verdict.id, verdict.reason)
            case fx.SendCommands(_, start, stop):
                for told in start:
                    job = jobs[told.id.job_id]
                    report = e.AttemptReport(told.id, RUNNING)
                    known = e.ObservedAttempt(told, report, job.spec, job.request_id, job.submitted_ms)
                    self.runs[told.id] = known
                    yield self._says(report)
                for order in stop:
                    yield from self._stops(order.id, order.reason)
            case fx.RefuseSession(_, reason):
                self.refused = reason.code
            case _:
                pass

    def _stops(self, attempt: AttemptId, why: str) -> Iterator[e.Event]:
        if self.runs.pop(attempt, None) is not None:
            self.stopped[attempt] = why
            yield self._says(e.AttemptReport(attempt, killed(why)))

    def ends(self, job_id: str) -> Iterator[e.Event]:
        """The programs of a job that run here do their last line."""
        for attempt in [one for one in self.runs if one.job_id == job_id]:
            del self.runs[attempt]
            yield self._says(e.AttemptReport(attempt, succeeded()))

    def _says(self, report: e.AttemptReport) -> e.AgentReports:
        return e.AgentReports(self.session, 1, (report,))
