"""The simulated keeper: it speaks the real one's frames, and its processes are plans.

Its memory outlives sessions and, being on disk, agents and reboots.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
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
from iris_controller.core.values import AttemptId, Place
from iris_proto.v1 import worker_pb2
from tests.simulation.engine import Action
from tests.simulation.hosttime import HostTime
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
    """An attempt that is not forgotten; without report and process it is about to start.

    A member of a gang has a port from PREPARING on.
    """

    key: AttemptKey
    document: str
    report: frames.Report | None = None
    process: Process | None = None
    port: int = 0

    @property
    def ended(self) -> bool:
        """Whether its report is the last."""
        return self.report is not None and self.report.state not in ("PREPARING", "RUNNING")

    @property
    def is_preparing(self) -> bool:
        """Whether it waits for the rest of its gang."""
        return self.report is not None and self.report.state == "PREPARING"


@dataclass
class Disk:
    """What a host's directory holds, whoever writes it."""

    boot_id: str = ""
    epoch: int = 0
    commit: int = 0


class Keeper:
    """One host's keeper; see the module."""

    def __init__(self, stage: Stage, oracle: Oracle, place: Place, time: HostTime) -> None:
        self._stage = stage
        self._oracle = oracle
        self._place = place
        self._time = time
        self._seen = SeenKeys()
        self._jobs: dict[str, frames.Job] = {}
        self._attempts: dict[AttemptKey, Kept] = {}
        self._boot = frames.State("", "")
        self._busy_until_ms = time.now_ms
        self._ports = 0
        # Counts its starts and deaths: what one of them wanted done later dies with it.
        self._life = 0
        self._is_there = False
        self.address = f"{place.slice_name}.{place.worker_index}"
        self.lease: frames.Lease | None = None
        self.news: Callable[[frames.Reports], None] | None = None

    def begin(self, boot_id: str) -> None:
        """A keeper starts, on an empty host or after another: what that one ran is killed and lost."""
        self.kill_all()
        self._life += 1
        self._is_there = True
        was = self._boot
        self._boot = frames.State(boot_id, was.boot_id if was.boot_id != boot_id else was.previous_boot_id)
        self.lease = None
        if was.boot_id != boot_id:
            self._busy_until_ms = self._time.now_ms
        for kept in self._attempts.values():
            if not kept.ended:
                started_ms = kept.report.started_at_ms if kept.report is not None else 0
                kept.report = lost_report(kept.key, started_ms, self._wall_ms(), 0, kept.port)

    def die(self) -> None:
        """The keeper is gone; nothing is reported. Its processes go on, unless somebody kills them."""
        idle_ms = self.idle_since_ms
        # On disk, more or less: a later keeper of this boot has been alone for as long.
        self._busy_until_ms = self._time.now_ms if idle_ms is None else idle_ms
        self._life += 1
        self._is_there = False
        self.lease = None

    def kill_all(self) -> None:
        """Every process of every attempt is killed; nothing is reported."""
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
        # Where no keeper is left, the host's own timer sees processes alone.
        attempts = self._attempts.values()
        if any(kept.process or (self._is_there and not kept.ended) for kept in attempts):
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
            case frames.Release():
                self._release(order)
            case frames.Stop():
                self._oracle.orders.on_stop_reached(AttemptId(*parse_key(order.id)), order.reason)
                self._on_stop(parse_key(order.id), Stop(order.reason))
            case frames.Lease():
                self.lease = order
                self._watch_lease(order, _ms(order.deadline_s - order.lease_s / 4))
            case frames.Forget():
                self._forget(order)
            case frames.Ping() | frames.Notice():
                # No program here asks to hear of its machine's end.
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
        self._soon(1, lambda: self._begin_attempt(kept))

    def _soon(self, delay_ms: int, action: Action) -> None:
        """Something that this life of the keeper does later."""
        life = self._life
        self._time.after(delay_ms, lambda: action() if self._life == life else None)

    def _begin_attempt(self, kept: Kept) -> None:
        job = self._jobs[kept.key.job_id]
        if kept.ended or self._is_refused(kept, _ms(job.grace_s)):
            return
        if not job.is_gang:
            self._spawn(kept, ())
        elif self._stage.faults.hits("no_port"):
            self._end_unstarted(kept, "no_port")
        else:
            self._ports += 1
            kept.port = self._ports
            self._oracle.on_prepared(kept.key, f"{self.address}:{kept.port}", self._place)
            self._report(kept, new_report(kept.key, "PREPARING", 0)._replace(port=kept.port))

    def _is_refused(self, kept: Kept, grace_ms: int) -> bool:
        """Whether no lease is left for it to run under."""
        if self.lease is not None and self._time.now_ms < _term_at_ms(self.lease, grace_ms):
            return False
        self._report(kept, stopped_report(kept.key, LEASE_EXPIRED, self._wall_ms(), kept.port))
        return True

    def _release(self, order: frames.Release) -> None:
        kept = self._attempts.get(parse_key(order.id))
        if kept is not None and kept.is_preparing and kept.process is None:
            grace_ms = _ms(self._jobs[kept.key.job_id].grace_s)
            if not self._is_refused(kept, grace_ms):
                self._spawn(kept, order.env["IRIS_TASK_ADDRESSES"].split(","))

    def _end_unstarted(self, kept: Kept, reason: str) -> None:
        now_ms = self._wall_ms()
        killed = new_report(kept.key, "KILLED", now_ms)
        self._report(kept, killed._replace(reason=reason, finished_at_ms=now_ms, port=kept.port))

    def _spawn(self, kept: Kept, addresses: Sequence[str]) -> None:
        if self._stage.faults.hits("start_fails"):
            self._end_unstarted(kept, "start_failed")
            return
        job = self._jobs[kept.key.job_id]
        context = worker_pb2.JobContext.FromString(base64.b64decode(job.document))
        process = Process(plan_run(self._stage.scene.seed, kept.key, context.spec), _ms(job.grace_s))
        kept.process = process
        self._oracle.on_process_started(kept.key, self._place, context.spec.resources, addresses)
        self._report(kept, new_report(kept.key, "RUNNING", self._wall_ms())._replace(port=kept.port))
        self._end_in(kept, process.run.duration_ms, process.run.exit, by_itself=True)

    # -- ends --------------------------------------------------------------

    def _end_in(self, kept: Kept, delay_ms: int, how: Exit, *, by_itself: bool) -> None:
        """A process ends later, unless it has ended by then."""
        process = kept.process

        def end() -> None:
            if kept.process is process and process is not None:
                self._end(kept, process, how, by_itself and process.stop is None)

        self._time.after(delay_ms, end)

    def _end(self, kept: Kept, process: Process, how: Exit, by_itself: bool) -> None:
        assert kept.report is not None
        kept.process = None
        self._oracle.on_process_ended(kept.key, how, by_itself=by_itself and self._is_there)
        if not self._is_there:
            # Nobody sees it.
            return
        self._busy_until_ms = self._time.now_ms
        log_bytes = process.run.log_bytes
        self._report(kept, final_report(kept.report, process.stop, how, self._wall_ms(), log_bytes))

    def _on_stop(self, key: AttemptKey, stop: Stop) -> None:
        kept = self._attempts.get(key)
        if kept is None:
            self._seen.add(key)
        elif kept.process is not None:
            self._terminate(kept, kept.process, stop, kept.process.grace_ms)
        elif not kept.ended:
            self._report(kept, stopped_report(key, stop, self._wall_ms(), kept.port))

    def _terminate(self, kept: Kept, process: Process, stop: Stop, grace_ms: int) -> None:
        if process.stop is None:
            process.stop = stop
            if process.run.term_ms is not None:
                self._end_in(kept, process.run.term_ms, process.run.term_exit, by_itself=False)
        life = self._life

        def kill() -> None:
            if self._life == life and kept.process is process:
                self._end(kept, process, _KILLED, by_itself=False)

        self._time.after(grace_ms, kill)

    def _watch_lease(self, lease: frames.Lease, at_ms: int) -> None:
        """Kills what outlives the lease, unless another one comes first."""

        def check() -> None:
            if self.lease is lease:
                self._enforce(lease)

        self._time.after(at_ms - self._time.now_ms, check)

    def _enforce(self, lease: frames.Lease) -> None:
        now_ms, deadline_ms = self._time.now_ms, _ms(lease.deadline_s)
        next_ms = deadline_ms
        for kept in list(self._attempts.values()):
            if kept.process is not None:
                term_at_ms = _term_at_ms(lease, kept.process.grace_ms)
                if now_ms >= term_at_ms:
                    self._terminate(kept, kept.process, LEASE_EXPIRED, max(0, deadline_ms - now_ms))
                else:
                    next_ms = min(next_ms, term_at_ms)
            elif kept.is_preparing and now_ms >= deadline_ms:
                self._report(kept, stopped_report(kept.key, LEASE_EXPIRED, self._wall_ms(), kept.port))
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
