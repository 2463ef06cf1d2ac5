"""The simulated keeper: it speaks the real one's frames, and its processes are plans.

Its memory outlives sessions and, being on disk, agents and reboots.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iris_bootstrap.attempt import AttemptKey, SeenKeys, parse_key
from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.attempts import (
    Exit,
    Signalled,
    Stop,
    final_report,
    lost_report,
    new_report,
    stopped_report,
)
from iris_controller.core.values import Place
from iris_proto.v1 import worker_pb2
from tests.simulation.oracle import Oracle
from tests.simulation.scene import FIRST_WALL_MS, Run, plan_run
from tests.simulation.stage import Stage

LEASE_EXPIRED = Stop("lease_expired", "no word from the controller for the task lease")
_KILLED = Signalled(9)


@dataclass
class Process:
    """A program that runs. `stop` once it was told to end."""

    run: Run
    grace_ms: int
    stop: Stop | None = None


@dataclass
class Kept:
    """An attempt that is not forgotten; without report and process it is about to start."""

    key: AttemptKey
    document: str
    report: frames.Report | None = None
    process: Process | None = None

    @property
    def ended(self) -> bool:
        """Whether its report is the last."""
        return self.report is not None and self.report.state != "RUNNING"


@dataclass
class Disk:
    """What a host's directory holds, whoever writes it."""

    boot_id: str = ""
    epoch: int = 0
    commit: int = 0


class Keeper:
    """One host's keeper; see the module."""

    def __init__(self, stage: Stage, oracle: Oracle, place: Place) -> None:
        self._stage = stage
        self._oracle = oracle
        self._place = place
        self._seen = SeenKeys()
        self._jobs: dict[str, frames.Job] = {}
        self._attempts: dict[AttemptKey, Kept] = {}
        self._boot = frames.State("", "")
        self._busy_until_ms = stage.engine.now_ms
        self.lease: frames.Lease | None = None
        self.news: Callable[[frames.Reports], None] | None = None

    def begin(self, boot_id: str) -> None:
        """A keeper starts, on an empty host or after another: what that one ran is lost."""
        was = self._boot
        self._boot = frames.State(boot_id, was.boot_id if was.boot_id != boot_id else was.previous_boot_id)
        self.lease = None
        self._busy_until_ms = self._stage.engine.now_ms
        for kept in self._attempts.values():
            if not kept.ended:
                started_ms = kept.report.started_at_ms if kept.report is not None else 0
                kept.report = lost_report(kept.key, started_ms, self._wall_ms(), 0)

    def die(self) -> None:
        """The keeper's processes are killed with it; nothing is reported."""
        self.lease = None
        for kept in self._attempts.values():
            if kept.process is not None:
                kept.process = None
                self._oracle.on_process_ended(kept.key, _KILLED, by_itself=False)

    def messages(self) -> Iterator[frames.Message]:
        """What a new session is told."""
        yield frames.Seen(list(self._seen.ranges()))
        for job in self._jobs.values():
            yield frames.KnownJob(job.job_id, job.document)
        for kept in self._attempts.values():
            yield frames.Known(str(kept.key), kept.document, kept.report)
        yield self._boot

    @property
    def idle_since_ms(self) -> int | None:
        """Since when nothing has run and no controller has answered; None while something runs."""
        if any(kept.process is not None for kept in self._attempts.values()):
            return None
        contact_ms = 0 if self.lease is None else _ms(self.lease.deadline_s - self.lease.lease_s)
        return max(self._busy_until_ms, contact_ms)

    # -- orders ------------------------------------------------------------

    def on_order(self, order: frames.Message) -> None:
        """Carries out an order; `Ping` is the host's to answer."""
        match order:
            case frames.Job():
                self._jobs[order.job_id] = order
            case frames.Start():
                self._start(order)
            case frames.Stop():
                self._on_stop(parse_key(order.id), Stop(order.reason))
            case frames.Lease():
                self.lease = order
                self._watch_lease(order, _ms(order.deadline_s - order.lease_s / 4))
            case frames.Forget():
                self._forget(order)
            case frames.Ping():
                pass
            case _:
                raise AssertionError(f"not an order: {order}")

    def _forget(self, order: frames.Forget) -> None:
        for key in map(parse_key, order.ids):
            if key in self._attempts and self._attempts[key].ended:
                del self._attempts[key]
        for job_id in order.jobs:
            self._jobs.pop(job_id, None)

    def _start(self, order: frames.Start) -> None:
        key = parse_key(order.id)
        if key in self._seen:
            return
        self._seen.add(key)
        kept = self._attempts[key] = Kept(key, order.document)
        boot = self._boot
        self._stage.engine.after(1, lambda: self._spawn(kept) if self._boot is boot else None)

    def _spawn(self, kept: Kept) -> None:
        if kept.ended:
            return
        job = self._jobs[kept.key.job_id]
        grace_ms = _ms(job.grace_s)
        if self.lease is None or self._stage.engine.now_ms >= _term_at_ms(self.lease, grace_ms):
            self._report(kept, stopped_report(kept.key, LEASE_EXPIRED, self._wall_ms()))
            return
        if self._stage.faults.hits("start_fails"):
            killed = new_report(kept.key, "KILLED", self._wall_ms())
            self._report(kept, killed._replace(reason="start_failed", finished_at_ms=self._wall_ms()))
            return
        context = worker_pb2.JobContext.FromString(base64.b64decode(job.document))
        process = Process(plan_run(self._stage.scene.seed, kept.key, context.spec), grace_ms)
        kept.process = process
        self._oracle.on_process_started(kept.key, self._place, context.spec.resources)
        self._report(kept, new_report(kept.key, "RUNNING", self._wall_ms()))
        self._end_in(kept, process.run.duration_ms, process.run.exit, by_itself=True)

    def _end_in(self, kept: Kept, delay_ms: int, how: Exit, *, by_itself: bool) -> None:
        """A process ends later, unless it has ended by then."""
        process = kept.process

        def end() -> None:
            if kept.process is process and process is not None:
                self._end(kept, process, how, by_itself and process.stop is None)

        self._stage.engine.after(delay_ms, end)

    def _end(self, kept: Kept, process: Process, how: Exit, by_itself: bool) -> None:
        assert kept.report is not None
        kept.process = None
        self._busy_until_ms = self._stage.engine.now_ms
        self._oracle.on_process_ended(kept.key, how, by_itself=by_itself)
        log_bytes = process.run.log_bytes
        self._report(kept, final_report(kept.report, process.stop, how, self._wall_ms(), log_bytes))

    def _on_stop(self, key: AttemptKey, stop: Stop) -> None:
        kept = self._attempts.get(key)
        if kept is None:
            self._seen.add(key)
        elif kept.process is not None:
            self._terminate(kept, kept.process, stop, kept.process.grace_ms)
        elif not kept.ended:
            self._report(kept, stopped_report(key, stop, self._wall_ms()))

    def _terminate(self, kept: Kept, process: Process, stop: Stop, grace_ms: int) -> None:
        if process.stop is None:
            process.stop = stop
            if process.run.term_ms is not None:
                self._end_in(kept, process.run.term_ms, process.run.term_exit, by_itself=False)
        self._end_in(kept, grace_ms, _KILLED, by_itself=False)

    def _watch_lease(self, lease: frames.Lease, at_ms: int) -> None:
        """Kills what outlives the lease, unless another one comes first."""

        def check() -> None:
            if self.lease is lease:
                self._enforce(lease)

        self._stage.engine.after(at_ms - self._stage.engine.now_ms, check)

    def _enforce(self, lease: frames.Lease) -> None:
        now_ms, deadline_ms = self._stage.engine.now_ms, _ms(lease.deadline_s)
        next_ms = deadline_ms
        for kept in list(self._attempts.values()):
            if kept.process is not None:
                term_at_ms = _term_at_ms(lease, kept.process.grace_ms)
                if now_ms >= term_at_ms:
                    self._terminate(kept, kept.process, LEASE_EXPIRED, deadline_ms - now_ms)
                else:
                    next_ms = min(next_ms, term_at_ms)
        if now_ms < deadline_ms:
            self._watch_lease(lease, next_ms)

    def _report(self, kept: Kept, report: frames.Report) -> None:
        kept.report = report
        if self.news is not None:
            self.news(frames.Reports([report]))

    def _wall_ms(self) -> int:
        return FIRST_WALL_MS + self._stage.engine.now_ms


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _term_at_ms(lease: frames.Lease, grace_ms: int) -> int:
    return _ms(lease.deadline_s) - min(grace_ms, _ms(lease.lease_s / 4))
