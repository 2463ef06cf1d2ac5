"""The agent's decisions: what it says to a controller and what it makes of the answers.

Pure: no sockets, files, clocks or tasks; what happened and the time go in, what
is to be done comes out. The simulator's agents decide with this same class.
Protobuf messages that went in or came out are not changed by either side.

Rules it keeps: nothing is taken from an epoch below the highest ever seen. An
attempt is started at most once, whatever is asked. Absence means nothing: only
an explicit STOP stops. A report is repeated until it is acknowledged, and an
attempt is forgotten when its end is acknowledged and its log is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from google.protobuf.duration_pb2 import Duration

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.book import Batch, Book, KnownAttempt, Memory, is_terminal, key_of
from iris_bootstrap.session.outputs import (
    Disconnect,
    Output,
    PingKeeper,
    SaveCommit,
    SaveEpoch,
    SendToController,
    SetLease,
    TellTasks,
)
from iris_proto.v1 import job_pb2, worker_pb2
from iris_proto.v1.worker_pb2 import AgentMessage, AttemptReport, ControllerMessage

PROTOCOL_VERSION = 1

# Reports to a message, and messages without an acknowledgement; what is beyond waits here,
# at most one report for each attempt.
_REPORTS_PER_MESSAGE = 500
_UNACKNOWLEDGED_MESSAGES = 16
# Where the controller does not say.
_LOG_MAX_BYTES = 1024**3


@dataclass(frozen=True)
class Identity:
    """Who this agent is: the fields of its `Hello` that do not change."""

    cluster_id: str
    slice_name: str
    worker_index: int
    boot_id: str
    previous_boot_id: str
    cpu_millis: int
    memory_bytes: int
    version: str
    labels: Mapping[str, str]
    zone: str = ""


@dataclass(frozen=True)
class Timings:
    """How long to wait for whom, as the controller says; these are for one that does not."""

    beat_interval_s: float = 10.0
    task_lease_s: float = 600.0
    stop_grace_s: float = 30.0
    orphan_timeout_s: float = 1800.0
    suspect_after_s: float = 30.0


@dataclass
class _Stream:
    """What belongs to one connection and ends with it."""

    hello_sent_s: float
    # The reports that the Hello carried.
    told: Batch
    welcomed: bool = False
    takes_notices: bool = False
    reports_sent: int = 0
    # By sequence: the beats' times, and the reports of each message.
    beats: dict[int, float] = field(default_factory=dict)
    reports: dict[int, Batch] = field(default_factory=dict)


class Ledger:
    """One agent's side of the conversation, over any number of connections.

    Every method that begins with `on_` takes in one thing that happened and
    returns what is to be done about it, in order. `now_s` is of the boot-time
    clock.
    """

    def __init__(self, identity: Identity, memory: Memory) -> None:
        self._identity = identity
        self._memory = memory
        self._book = Book(memory)
        self._stream: _Stream | None = None
        # Of the last ping to the keeper; the beat that follows on its answer has the same number.
        self._sequence = 0
        self._keeper_answered = False
        self._beat_due = False
        self.timings = Timings()
        # By kind: what this host's provider said, for every controller that comes.
        self._noticed: dict[str, TellTasks] = {}
        # What is kept of each attempt's log.
        self.log_max_bytes = _LOG_MAX_BYTES

    @property
    def welcomed(self) -> bool:
        """Whether a controller has taken us in on the present connection."""
        return self._stream is not None and self._stream.welcomed

    @property
    def attempts(self) -> Mapping[AttemptKey, KnownAttempt]:
        """The attempts that are not forgotten; not to be changed."""
        return self._book.attempts

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that was ever taken from a controller."""
        return self._memory.highest_epoch

    @property
    def undelivered(self) -> bool:
        """Whether there is a last report that no controller has acknowledged."""
        return any(is_terminal(known.report) and not known.acknowledged for known in self.attempts.values())

    # The connection.

    def on_connected(self, now_s: float) -> list[Output]:
        """A stream is open: say who we are and all we know."""
        observed, told = self._book.tell_all()
        self._stream = _Stream(now_s, told)
        self._beat_due = False
        return [SendToController(AgentMessage(hello=self._hello(observed))), self._ping()]

    def on_disconnected(self) -> None:
        """The stream has ended. What was not acknowledged is said again on the next."""
        self._stream = None

    def on_message(self, message: ControllerMessage, now_s: float) -> list[Output]:
        """Something came from the controller."""
        stream = self._stream
        if stream is None:
            return []
        match message.WhichOneof("message"):
            case None | "certificate":
                # Of a later release; or of no concern to attempts.
                return []
            case "welcome":
                return self._on_welcome(stream, message.welcome, now_s)
            case kind if not stream.welcomed:
                return [Disconnect(f"{kind} came before the welcome")]
            case "beat_ack":
                ack = message.beat_ack
                return self._from_epoch(ack.epoch, ack.commit, lambda: self._on_beat_ack(stream, ack))
            case "reports_ack":
                done = message.reports_ack
                return self._from_epoch(done.epoch, done.commit, lambda: self._on_reports_ack(stream, done))
            case "commands":
                orders = message.commands
                return self._from_epoch(orders.epoch, orders.commit, lambda: self._on_commands(orders))
            case "notice":
                told = message.notice
                return self._from_epoch(told.epoch, told.commit, lambda: [_tell(told.notice, now_s)])

    def _on_welcome(self, stream: _Stream, welcome: worker_pb2.Welcome, now_s: float) -> list[Output]:
        if stream.welcomed:
            return [Disconnect("a second welcome on one stream")]
        if welcome.protocol_version < 1:
            return [
                Disconnect(
                    f"protocol version {welcome.protocol_version}; this agent speaks {PROTOCOL_VERSION}"
                )
            ]
        if welcome.epoch < self.highest_epoch:
            return [Disconnect(f"stale epoch {welcome.epoch}; {self.highest_epoch} was seen")]
        stream.welcomed = True
        self.timings = _timings(welcome.timings)
        self.log_max_bytes = welcome.log_max_bytes or _LOG_MAX_BYTES
        outputs = self._note(welcome.epoch, welcome.commit)
        # The Hello counts as a beat, so that what is started next is under a lease.
        outputs.append(self._lease_from(stream.hello_sent_s))
        for verdict in welcome.verdicts:
            if verdict.verdict == worker_pb2.VERDICT_STOP:
                outputs += self._book.stop(key_of(verdict.id), verdict.reason)
        self._book.on_told(stream.told)
        stream.takes_notices = welcome.takes_notices
        outputs += [out for noticed in self._noticed.values() for out in self._report(noticed, now_s)]
        self._beat_due = True
        return outputs + self._beat_if_due(stream, now_s)

    # Notices.

    def on_noticed(self, kind: str, message: str, left_s: float, now_s: float) -> list[Output]:
        """This host's provider says that it is to go: tell our own tasks, and the slice's others."""
        noticed = self._noticed[kind] = TellTasks(kind, message, now_s + left_s)
        return [noticed, *self._report(noticed, now_s)]

    def _report(self, noticed: TellTasks, now_s: float) -> list[Output]:
        stream, left_s = self._stream, noticed.deadline_s - now_s
        if stream is None or not stream.takes_notices or left_s <= 0:
            return []
        notice = worker_pb2.Notice(kind=noticed.kind, message=noticed.message)
        notice.time_left.FromMilliseconds(round(left_s * 1000))
        return [SendToController(AgentMessage(notice=notice))]

    def _from_epoch(self, epoch: int, commit: int, then: Callable[[], list[Output]]) -> list[Output]:
        """What `then` wants done, unless it is the word of a controller that was replaced."""
        return [] if epoch < self.highest_epoch else self._note(epoch, commit) + then()

    def _note(self, epoch: int, commit: int) -> list[Output]:
        memory = self._memory
        if epoch > memory.highest_epoch:
            memory.highest_epoch = epoch
            memory.highest_commit = max(memory.highest_commit, commit)
            return [SaveEpoch(epoch, memory.highest_commit)]
        if commit > memory.highest_commit:
            memory.highest_commit = commit
            return [SaveCommit(commit)]
        return []

    # Beats and the lease.

    def on_beat_due(self, now_s: float) -> list[Output]:
        """A beat interval has passed since the last call, or since the welcome."""
        stream = self._stream
        if stream is None or not stream.welcomed:
            return []
        oldest_s = min(stream.beats.values(), default=now_s)
        if now_s - oldest_s > self.timings.suspect_after_s:
            return [Disconnect(f"no beat was acknowledged for {self.timings.suspect_after_s:g} s")]
        self._beat_due = True
        return self._beat_if_due(stream, now_s)

    def on_pong(self, sequence: int, now_s: float) -> list[Output]:
        """The keeper answered a ping."""
        if sequence == self._sequence:
            self._keeper_answered = True
        stream = self._stream
        return [] if stream is None else self._beat_if_due(stream, now_s)

    def _beat_if_due(self, stream: _Stream, now_s: float) -> list[Output]:
        # A beat says that tasks are looked after, so it is the keeper's to give.
        if not (stream.welcomed and self._beat_due and self._keeper_answered):
            return []
        self._beat_due = False
        beat = worker_pb2.Beat(sequence=self._sequence)
        stream.beats[self._sequence] = now_s
        return [SendToController(AgentMessage(beat=beat)), self._ping()]

    def _ping(self) -> PingKeeper:
        self._sequence += 1
        self._keeper_answered = False
        return PingKeeper(self._sequence)

    def _on_beat_ack(self, stream: _Stream, ack: worker_pb2.BeatAck) -> list[Output]:
        sent_s = stream.beats.get(ack.sequence)
        stream.beats = {sequence: at for sequence, at in stream.beats.items() if sequence > ack.sequence}
        return [] if sent_s is None else [self._lease_from(sent_s)]

    def _lease_from(self, sent_s: float) -> SetLease:
        timings = self.timings
        return SetLease(
            deadline_s=sent_s + timings.task_lease_s,
            lease_s=timings.task_lease_s,
            orphan_timeout_s=timings.orphan_timeout_s,
            suspect_after_s=timings.suspect_after_s,
        )

    # Attempts.

    def on_reports(self, reports: Iterable[AttemptReport]) -> None:
        """The keeper says how attempts are doing; `on_ready_to_send` passes it on."""
        self._book.on_reports(reports)

    def on_ready_to_send(self) -> list[Output]:
        """There is room on the stream: one message of reports, if there are any to send."""
        stream = self._stream
        if stream is None or not stream.welcomed or len(stream.reports) >= _UNACKNOWLEDGED_MESSAGES:
            return []
        batch = self._book.take_unsent(_REPORTS_PER_MESSAGE)
        if not batch:
            return []
        stream.reports_sent += 1
        stream.reports[stream.reports_sent] = batch
        message = worker_pb2.Reports(sequence=stream.reports_sent, reports=batch.values())
        return [SendToController(AgentMessage(reports=message))]

    def on_log_durable(self, key: AttemptKey) -> list[Output]:
        """The controller has all of an attempt's log, the end mark included."""
        return self._book.on_log_durable(key)

    def _on_reports_ack(self, stream: _Stream, ack: worker_pb2.ReportsAck) -> list[Output]:
        return self._book.on_acknowledged(stream.reports.pop(ack.sequence, {}))

    def _on_commands(self, commands: worker_pb2.Commands) -> list[Output]:
        outputs: list[Output] = []
        jobs = {job.job_id: job for job in commands.jobs}
        for spec in commands.start:
            outputs += self._book.start(spec, jobs, self.timings.stop_grace_s)
        for release in commands.release:
            outputs += self._book.release(key_of(release.id), release.task_addresses)
        for stop in commands.stop:
            outputs += self._book.stop(key_of(stop.id), stop.reason)
        return outputs

    def _hello(self, observed: list[worker_pb2.ObservedAttempt]) -> worker_pb2.Hello:
        me = self._identity
        memory = self._memory
        return worker_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            cluster_id=me.cluster_id,
            place=job_pb2.Place(slice_name=me.slice_name, worker_index=me.worker_index),
            boot_id=me.boot_id,
            previous_boot_id=me.previous_boot_id,
            highest_epoch=memory.highest_epoch,
            highest_commit=memory.highest_commit,
            resources=job_pb2.Resources(cpu_millis=me.cpu_millis, memory_bytes=me.memory_bytes),
            version=me.version,
            jobs=self._book.jobs,
            observed=observed,
            labels=me.labels,
            zone=me.zone,
        )


def _timings(said: worker_pb2.Timings) -> Timings:
    defaults = Timings()

    def seconds(
        name: Literal["beat_interval", "task_lease", "stop_grace", "orphan_timeout", "suspect_after"],
    ) -> float:
        return _seconds(getattr(said, name)) if said.HasField(name) else float(getattr(defaults, f"{name}_s"))

    return Timings(
        beat_interval_s=seconds("beat_interval"),
        task_lease_s=seconds("task_lease"),
        stop_grace_s=seconds("stop_grace"),
        orphan_timeout_s=seconds("orphan_timeout"),
        suspect_after_s=seconds("suspect_after"),
    )


def _tell(notice: worker_pb2.Notice, now_s: float) -> TellTasks:
    return TellTasks(notice.kind, notice.message, now_s + _seconds(notice.time_left))


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
