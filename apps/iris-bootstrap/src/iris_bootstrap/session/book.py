"""What one agent knows of its jobs and attempts, and what of that a controller has yet to hear.

Pure, like the ledger that it is a part of: it knows no connections, no epochs
and no time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from iris_bootstrap.attempt import AttemptKey, SeenKeys
from iris_bootstrap.session.outputs import Forget, Output, ReleaseProcess, StartProcess, StopProcess
from iris_proto.v1 import job_pb2
from iris_proto.v1.job_pb2 import AttemptState
from iris_proto.v1.worker_pb2 import AttemptReport, AttemptSpec, JobContext, ObservedAttempt

# No kernel takes a command and an environment of this size, and a frame to the keeper must hold them.
_LARGEST_JOB_BYTES = 8 * 1024 * 1024

_FAILED = AttemptState.ATTEMPT_STATE_FAILED
_KILLED = AttemptState.ATTEMPT_STATE_KILLED
_PREPARING = AttemptState.ATTEMPT_STATE_PREPARING
_TERMINAL = frozenset({AttemptState.ATTEMPT_STATE_SUCCEEDED, _FAILED, _KILLED})

Batch = dict[AttemptKey, AttemptReport]


@dataclass
class KnownAttempt:
    """An attempt that was started here and is not forgotten.

    `acknowledged`: the controller has this very report. `log_durable`: it has
    all of the log, the end mark included.
    """

    spec: AttemptSpec
    report: AttemptReport
    acknowledged: bool = False
    log_durable: bool = False


@dataclass
class Memory:
    """What a keeper and the disk remember when a session starts."""

    highest_epoch: int = 0
    highest_commit: int = 0
    jobs: dict[str, JobContext] = field(default_factory=dict)
    attempts: dict[AttemptKey, KnownAttempt] = field(default_factory=dict)
    seen: SeenKeys = field(default_factory=SeenKeys)


def key_of(attempt_id: job_pb2.AttemptId) -> AttemptKey:
    """An attempt's id as a value."""
    return AttemptKey(attempt_id.job_id, attempt_id.task_index, attempt_id.epoch, attempt_id.number)


def id_of(key: AttemptKey) -> job_pb2.AttemptId:
    """An attempt's id as it travels."""
    return job_pb2.AttemptId(job_id=key.job_id, task_index=key.task_index, epoch=key.epoch, number=key.number)


def is_terminal(report: AttemptReport) -> bool:
    """Whether this is an attempt's last report."""
    return report.state in _TERMINAL


class Book:
    """The attempts of one agent."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._unsent: dict[AttemptKey, None] = {}
        # About attempts that are not known, or no longer; said on the connection that asked.
        self._answers: Batch = {}
        # How many attempts keep a job from being forgotten.
        self._uses = Counter(key.job_id for key in memory.attempts)
        for job_id in memory.jobs.keys() - self._uses.keys():
            del memory.jobs[job_id]

    @property
    def attempts(self) -> Mapping[AttemptKey, KnownAttempt]:
        """The attempts that are not forgotten."""
        return self._memory.attempts

    @property
    def jobs(self) -> Iterable[JobContext]:
        """The jobs that those attempts belong to."""
        return self._memory.jobs.values()

    def tell_all(self) -> tuple[list[ObservedAttempt], Batch]:
        """Every attempt for a Hello, and the reports in it. Answers to an earlier connection are dropped."""
        self._answers.clear()
        observed = [ObservedAttempt(spec=known.spec, report=known.report) for known in self.attempts.values()]
        return observed, {key: known.report for key, known in self.attempts.items()}

    def on_told(self, told: Batch) -> None:
        """The Hello was answered. Ends are said again: only a `ReportsAck` says that they are stored."""
        for key, known in self.attempts.items():
            if not is_terminal(known.report) and told.get(key) is known.report:
                known.acknowledged = True
            elif not known.acknowledged:
                self._unsent[key] = None

    def on_reports(self, reports: Iterable[AttemptReport]) -> None:
        """The keeper says how attempts are doing."""
        for report in reports:
            key = key_of(report.id)
            known = self.attempts.get(key)
            # A last report stands; what is forgotten stays so.
            if known is not None and not is_terminal(known.report):
                known.report = report
                known.acknowledged = False
                self._unsent[key] = None

    def take_unsent(self, at_most: int) -> Batch:
        """The next reports to send."""
        batch: Batch = {}
        for key in list(islice(self._unsent, at_most)):
            del self._unsent[key]
            known = self.attempts.get(key)
            report = known.report if known is not None else self._answers.get(key)
            if report is not None:
                batch[key] = report
        return batch

    def on_acknowledged(self, batch: Batch) -> list[Output]:
        """The controller has stored these reports."""
        for key, report in batch.items():
            known = self.attempts.get(key)
            if known is not None and known.report is report:
                known.acknowledged = True
            if self._answers.get(key) is report:
                del self._answers[key]
        return self._settle(batch)

    def on_log_durable(self, key: AttemptKey) -> list[Output]:
        """The controller has stored an attempt's log to its end."""
        known = self.attempts.get(key)
        if known is None:
            return []
        known.log_durable = True
        return self._settle([key])

    def start(
        self, spec: AttemptSpec, jobs: Mapping[str, JobContext], default_grace_s: float
    ) -> list[Output]:
        """Start an attempt, unless its id was ever seen."""
        key = key_of(spec.id)
        memory = self._memory
        if key in self.attempts:
            # It was asked for before; how it is doing is the answer.
            report = self.attempts[key].report
            if report.state != _PREPARING or report.address:
                self._unsent[key] = None
            return []
        if key in memory.seen:
            self._answer(key, _KILLED, "keeper_lost", "it ran here before; how it ended is no longer known")
            return []
        job = memory.jobs.get(key.job_id) or jobs.get(key.job_id)
        problem = _problem(key, job)
        if job is None or problem:
            self._answer(key, _FAILED, "start_failed", problem)
            return []
        memory.seen.add(key)
        memory.jobs[key.job_id] = job
        self._uses[key.job_id] += 1
        memory.attempts[key] = KnownAttempt(spec, AttemptReport(id=spec.id, state=_PREPARING))
        grace = job.spec.stop_grace
        grace_s = grace.seconds + grace.nanos / 1e9 if job.spec.HasField("stop_grace") else default_grace_s
        return [StartProcess(key, spec, job, grace_s)]

    def release(self, key: AttemptKey, addresses: Iterable[str]) -> list[Output]:
        """Start the program of a gang's member that is PREPARING; any other has been started, or never is."""
        known = self.attempts.get(key)
        if known is None or known.report.state != _PREPARING:
            return []
        return [ReleaseProcess(key, self._memory.jobs[key.job_id], tuple(addresses))]

    def stop(self, key: AttemptKey, reason: str) -> list[Output]:
        """Stop an attempt; one that is not known is not to start any more."""
        known = self.attempts.get(key)
        if known is None:
            # It may be on its way to us, or never have got here.
            self._memory.seen.add(key)
            self._answer(key, _KILLED, reason, "it was not running here")
        elif is_terminal(known.report):
            self._unsent[key] = None
            return []
        return [StopProcess(key, reason)]

    def _answer(self, key: AttemptKey, state: AttemptState.ValueType, reason: str, message: str) -> None:
        self._answers[key] = AttemptReport(id=id_of(key), state=state, reason=reason, message=message)
        self._unsent[key] = None

    def _settle(self, keys: Iterable[AttemptKey]) -> list[Output]:
        """Forget those of the attempts that there is nothing left to do about."""
        settled = tuple(key for key in keys if key in self.attempts and _is_settled(self.attempts[key]))
        if not settled:
            return []
        unused = []
        for key in settled:
            del self._memory.attempts[key]
            self._uses[key.job_id] -= 1
            if self._uses[key.job_id] == 0:
                del self._uses[key.job_id]
                self._memory.jobs.pop(key.job_id, None)
                unused.append(key.job_id)
        return [Forget(settled, tuple(unused))]


def _is_settled(known: KnownAttempt) -> bool:
    report = known.report
    return is_terminal(report) and known.acknowledged and (known.log_durable or report.log_bytes == 0)


def _problem(key: AttemptKey, job: JobContext | None) -> str:
    """Why an attempt cannot be started at all; empty if it can."""
    if job is None:
        return "the controller did not say what the job runs"
    if job.ByteSize() > _LARGEST_JOB_BYTES:
        return "the command and its environment are too long"
    try:
        key.check()
    except ValueError as error:
        return str(error)
    return ""
