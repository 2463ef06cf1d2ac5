"""Carries out the session's orders: which attempts start, which stop, and for how long any may run.

Knows no sockets, no signals to the keeper and no sessions: the loop calls it
with orders, reaped children and the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial

from iris_bootstrap.attempt import AttemptKey, parse_key
from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.attempts import (
    Attempt,
    Ended,
    JobPlan,
    Killing,
    Lingering,
    Preparing,
    Queued,
    Running,
    Stop,
    Stopping,
    new_report,
    stopped_report,
    timed_out,
)
from iris_bootstrap.keeper.ending import Clock, Endings
from iris_bootstrap.keeper.frames import Lease
from iris_bootstrap.keeper.memory import Memory
from iris_bootstrap.keeper.notices import Notices
from iris_bootstrap.keeper.ports import NoPort, reserve_port
from iris_bootstrap.keeper.spawn import CannotStart, Spawner, to_bytes
from iris_bootstrap.keeper.timers import Timers
from iris_bootstrap.keeper.tree import Trees
from iris_bootstrap.log import Log
from iris_platform import processes

LEASE_EXPIRED = Stop("lease_expired", "the agent had no word from the controller for the task lease")
LEAVING = Stop("stopped", "the agent was told to leave")


class Tasks:
    """The attempts of this host, under the lease that its controller gave last."""

    def __init__(
        self,
        base_env: Mapping[bytes, bytes],
        spawner: Spawner,
        trees: Trees,
        memory: Memory,
        clock: Clock,
        log: Log,
    ) -> None:
        self.trees = trees
        self._base_env = base_env
        self._spawner = spawner
        self._memory = memory
        self._clock = clock
        self._lease: Lease | None = None
        self._leaving = False
        self._queue: deque[Attempt] = deque()
        self._preparing: dict[AttemptKey, Attempt] = {}
        # Started, and not on record yet.
        self._unlisted: list[Attempt] = []
        self.timers = Timers()
        self.endings = Endings(trees, memory, spawner.log_bytes, self.timers, clock, log)
        self._notices = Notices(trees, spawner.write_notice, clock, log)

    @property
    def busy(self) -> bool:
        """Whether any attempt has a process, is about to, or waits for the rest of its gang."""
        return bool(self.endings.live or self._queue or self._preparing)

    @property
    def queued(self) -> int:
        """How many attempts wait for their process."""
        return len(self._queue)

    @property
    def lease(self) -> Lease | None:
        """The lease that came last."""
        return self._lease

    def on_job(self, job: frames.Job) -> None:
        """Remember what the attempts of a job run."""
        env = {**self._base_env, **to_bytes(job.env)}
        argv = [argument.encode() for argument in job.argv]
        plan = JobPlan(job.document, argv, env, job.grace_s, job.is_gang, job.timeout_s)
        self._memory.add_job(job.job_id, plan)

    def on_start(self, start: frames.Start) -> None:
        """Queue an attempt, unless its id was ever seen."""
        key = parse_key(start.id)
        key.check()
        attempt = Attempt(key, start.document, Queued(start.env))
        if self._memory.add_attempt(attempt):
            self._queue.append(attempt)

    def on_release(self, release: frames.Release) -> None:
        """Queue the process of a member of a gang; one that does not wait for it is left as it is."""
        attempt = self._preparing.pop(parse_key(release.id), None)
        if attempt is not None and isinstance(attempt.phase, Preparing):
            attempt.phase = Queued({**attempt.phase.env, **release.env}, released=True)
            self._queue.append(attempt)

    def on_stop(self, order: frames.Stop) -> None:
        """End an attempt; one that was never seen is not to start any more."""
        key = parse_key(order.id)
        attempt = self._memory.attempts.get(key)
        if attempt is None:
            self._memory.add_seen(key)
        else:
            self._stop(attempt, Stop(order.reason))

    def on_forget(self, forget: frames.Forget) -> None:
        """Keep only the ids of attempts whose ends are settled."""
        self._memory.forget(forget)
        self._spawner.add_spares(forget.spares)

    def on_notice(self, notice: frames.Notice) -> None:
        """Tell what runs that its machine is to go."""
        self._notices.tell(notice, self.endings.live.values())

    def on_lease(self, lease: Lease) -> None:
        """Tasks may run for longer. SIGTERM that has gone out is not taken back."""
        self._lease = lease
        self.timers.set("lease", lease.deadline_s - lease.lease_s / 4, self._on_lease_due)

    def leave(self) -> None:
        """Stop everything, in order; nothing starts any more."""
        self._leaving = True
        for attempt in [*self._queue, *self._preparing.values(), *self.endings.live.values()]:
            self._stop(attempt, LEAVING)

    def hurry(self) -> None:
        """Kill what was told to stop."""
        for attempt in list(self.endings.live.values()):
            self.endings.kill(attempt)

    def start_some(self, at_most: int) -> None:
        """Make the processes of the next few attempts. Their start must be on record."""
        if not self._queue:
            return
        for _ in range(min(at_most, len(self._queue))):
            attempt = self._queue.popleft()
            # Otherwise it was stopped while it waited.
            if isinstance(attempt.phase, Queued):
                self._start(attempt, attempt.phase)
        self._spawner.step_out()

    def refuse_queued(self, error: OSError) -> None:
        """The start of what is queued could not be put on record: it must not run."""
        for attempt in self._queue:
            if isinstance(attempt.phase, Queued):
                problem = f"cannot write the agent's file: {error.strerror}"
                self._end_unstarted(attempt, CannotStart("KILLED", "start_failed", None, problem))
        self._queue.clear()

    def list_new(self) -> None:
        """Put the processes on record that were started and have not ended already.

        The rest, most of them in a flood of short tasks, cost nothing.
        """
        for attempt in self._unlisted:
            if isinstance(attempt.phase, Running):
                pid = attempt.phase.pid
                started = processes.start_time(pid)
                if started is not None:
                    self._memory.add_process(attempt, pid, started)
        self._unlisted.clear()

    def _start(self, attempt: Attempt, phase: Queued) -> None:
        key = attempt.key
        plan = self._memory.jobs.get(key.job_id)
        if self._leaving:
            self._stop(attempt, LEAVING)
        elif plan is None:
            problem = CannotStart("KILLED", "start_failed", None, "the agent was not told what the job runs")
            self._end_unstarted(attempt, problem)
        elif self._lease is None or self._clock.boot_s() >= _term_at_s(self._lease, plan.grace_s):
            self._stop(attempt, LEASE_EXPIRED)
        elif plan.is_gang and not phase.released:
            self._prepare(attempt, phase)
        else:
            self._spawn(attempt, plan, phase.env)

    def _prepare(self, attempt: Attempt, phase: Queued) -> None:
        try:
            port = reserve_port()
        except NoPort as problem:
            self._end_unstarted(attempt, CannotStart("KILLED", "no_port", None, str(problem)))
            return
        attempt.phase = Preparing(phase.env)
        self._preparing[attempt.key] = attempt
        self._memory.add_port(attempt, port)
        # Nothing of the program has begun: its times are still to come.
        report = new_report(attempt.key, "PREPARING", 0)._replace(port=port.number)
        self._memory.add_report(attempt, report)

    def _spawn(self, attempt: Attempt, plan: JobPlan, own_env: Mapping[str, str]) -> None:
        if attempt.port is not None:
            attempt.port.let_go()
        try:
            pid = self._spawner.start(attempt.key, plan.argv, plan.env, own_env)
        except CannotStart as problem:
            self._end_unstarted(attempt, problem)
            return
        attempt.grace_s = plan.grace_s
        self.endings.begin(attempt, pid)
        report = new_report(attempt.key, "RUNNING", self._clock.wall_ms())
        if attempt.port is not None:
            report = report._replace(port=attempt.port.number)
        self._memory.add_report(attempt, report)
        if plan.timeout_s:
            # Under the name of the attempt's other timers, which begin when this one is of no more use.
            when_s = self._clock.boot_s() + plan.timeout_s
            self.timers.set(attempt.key, when_s, partial(self._on_timeout, attempt, plan.timeout_s))
        self._unlisted.append(attempt)

    def _stop(self, attempt: Attempt, stop: Stop) -> None:
        match attempt.phase:
            case Queued() | Preparing():
                self._preparing.pop(attempt.key, None)
                report = stopped_report(attempt.key, stop, self._clock.wall_ms(), _port_of(attempt))
                self._memory.end(attempt, report)
            case Running(pid):
                kill_at_s = self._clock.boot_s() + attempt.grace_s
                self.endings.terminate(attempt, pid, stop, kill_at_s)
            case Stopping() | Lingering() | Killing() | Ended():
                # The first reason stands.
                pass

    def _on_timeout(self, attempt: Attempt, timeout_s: float) -> None:
        if isinstance(attempt.phase, Running):
            self._stop(attempt, timed_out(timeout_s))

    def _on_lease_due(self) -> None:
        lease = self._lease
        if lease is None:
            return
        now_s = self._clock.boot_s()
        next_s = lease.deadline_s
        for attempt in list(self.endings.live.values()):
            if isinstance(attempt.phase, Running):
                term_at_s = _term_at_s(lease, attempt.grace_s)
                if now_s >= term_at_s:
                    self.endings.terminate(attempt, attempt.phase.pid, LEASE_EXPIRED, lease.deadline_s)
                else:
                    next_s = min(next_s, term_at_s)
            if now_s >= lease.deadline_s:
                self.endings.kill(attempt)
        if now_s >= lease.deadline_s:
            for attempt in list(self._preparing.values()):
                self._stop(attempt, LEASE_EXPIRED)
        else:
            self.timers.set("lease", next_s, self._on_lease_due)

    def _end_unstarted(self, attempt: Attempt, problem: CannotStart) -> None:
        now_ms = self._clock.wall_ms()
        report = new_report(attempt.key, problem.state, now_ms)._replace(
            reason=problem.reason,
            message=str(problem),
            finished_at_ms=now_ms,
            exit_code=problem.exit_code,
            log_bytes=self._spawner.log_bytes(attempt.key),
            port=_port_of(attempt),
        )
        self._memory.end(attempt, report)


def _port_of(attempt: Attempt) -> int:
    return 0 if attempt.port is None else attempt.port.number


def _term_at_s(lease: Lease, grace_s: float) -> float:
    """When SIGTERM goes out under a lease: one grace earlier, but never more than a quarter of it."""
    return lease.deadline_s - min(grace_s, lease.lease_s / 4)
