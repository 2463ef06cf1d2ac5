"""The simulated session: the real agent's ledger, between a keeper and a stream.

Carries out what the ledger wants, as `iris_bootstrap.session.agent` does. Dies
with everything that only it knew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper import frames
from iris_bootstrap.session import outputs as out
from iris_bootstrap.session.book import Memory, is_terminal, key_of
from iris_bootstrap.session.ledger import Identity, Ledger
from iris_bootstrap.session.translate import (
    job_frame,
    read_memory,
    read_report,
    release_frame,
    start_frame,
)
from iris_proto.v1 import worker_pb2
from tests.simulation.engine import Action, Pipe, Take
from tests.simulation.hosttime import HostTime
from tests.simulation.keeper import Disk, Keeper
from tests.simulation.lines import Stream
from tests.simulation.scene import CLUSTER
from tests.simulation.stage import Stage

WELCOME_TIMEOUT_MS = 10_000
FIRST_PAUSE_MS = 100
LONGEST_PAUSE_MS = 5_000


class Way(Protocol):
    """How a host reaches the controller; it may be cut off."""

    def dial(self, take: Take, on_end: Action) -> Stream | None:
        """Opens a session's stream."""

    def ship_log(self, key: AttemptKey, on_durable: Action) -> None:
        """Sends an attempt's log, for as long as it takes."""


class Session:
    """One session's process, from its start to its death."""

    def __init__(
        self,
        stage: Stage,
        keeper: Keeper,
        disk: Disk,
        way: Way,
        identify: Callable[[frames.State], Identity],
        name: str,
        time: HostTime,
    ) -> None:
        self._stage = stage
        self._time = time
        self._address = keeper.address
        self._disk = disk
        self._way = way
        self._name = name
        self._random = stage.random(f"session/{name}/{stage.engine.now_ms}")
        memory = Memory(highest_epoch=disk.epoch, highest_commit=disk.commit)
        state = read_memory(keeper.messages(), memory, keeper.address)
        assert state is not None
        self._ledger = Ledger(identify(state), memory)
        self._reader = frames.FrameReader()
        self._jobs_told: dict[str, None] = {}
        self._orders = Pipe[frames.FromSession](time, self._short, self._deliver(keeper), _nothing)
        self._news = Pipe[frames.FromKeeper](time, self._short, self._on_news, _nothing)
        keeper.news = self._news.send
        self._stream: Stream | None = None
        self._pause_ms = FIRST_PAUSE_MS
        self._shipping: dict[AttemptKey, None] = {}
        self.dead = False

    @property
    def remembers(self) -> list[str]:
        """The attempts that are not forgotten."""
        return [str(key) for key in self._ledger.attempts]

    def start(self) -> None:
        """Goes to work on what the keeper told."""
        for known in list(self._ledger.attempts.values()):
            self._ship(known.report)
        self._dial()

    def die(self) -> None:
        """The process is killed: whatever had not left it is lost."""
        self.dead = True
        self._orders.close()
        self._news.close()
        self._drop_stream()

    def _short(self) -> int:
        return self._random.randint(0, 3)

    # -- the keeper --------------------------------------------------------

    def _deliver(self, keeper: Keeper) -> Callable[[frames.FromSession], None]:
        def deliver(sent: frames.FromSession) -> None:
            for order in self._reader.feed(frames.encode([sent])):
                keeper.on_order(order)
                if isinstance(order, frames.Ping):
                    self._answer(order)

        return deliver

    def _answer(self, ping: frames.Ping) -> None:
        faults = self._stage.faults
        slow_ms = faults.between("keeper_is_slow", 1_000, 40_000) if faults.hits("keeper_is_slow") else 0
        self._time.after(slow_ms, lambda: self._news.send(frames.Pong(ping.sequence)))

    def _on_news(self, message: frames.FromKeeper) -> None:
        match message:
            case frames.Reports(reports):
                read = [read_report(report, self._address) for report in reports]
                self._ledger.on_reports(read)
                for report in read:
                    self._ship(report)
            case frames.Pong(sequence):
                self._perform(self._ledger.on_pong(sequence, self._now_s()))
            case _:
                raise AssertionError(f"not after State: {message}")
        self._write()

    # -- the controller ----------------------------------------------------

    def _now_s(self) -> float:
        return self._time.now_ms / 1000

    def _dial(self) -> None:
        if self.dead:
            return
        stream: Stream | None = None

        def on_end() -> None:
            self._hung_up(stream)

        stream = self._way.dial(self._on_data, on_end)
        if stream is None:
            self._redial()
            return
        self._stream = stream
        self._perform(self._ledger.on_connected(self._now_s()))
        self._time.after(WELCOME_TIMEOUT_MS, lambda: self._check_welcome(stream))
        self._beat_later(stream)

    def _check_welcome(self, stream: Stream) -> None:
        if self._stream is stream and not self._ledger.welcomed:
            self._hung_up(stream)

    def _hung_up(self, stream: Stream | None) -> None:
        """A stream has ended, or has to; unless another has taken its place."""
        if stream is None or stream is not self._stream:
            return
        if self._ledger.welcomed:
            self._pause_ms = FIRST_PAUSE_MS
        self._drop_stream()
        self._ledger.on_disconnected()
        self._redial()

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.down.close()
            self._stream.up.finish()
            self._stream = None

    def _redial(self) -> None:
        pause_ms = self._random.randint(self._pause_ms // 2, self._pause_ms)
        self._pause_ms = min(2 * self._pause_ms, LONGEST_PAUSE_MS)
        self._time.after(pause_ms, self._dial)

    def _on_data(self, data: bytes) -> None:
        message = worker_pb2.ControllerMessage.FromString(data)
        self._perform(self._ledger.on_message(message, self._now_s()))
        self._write()

    def _write(self) -> None:
        while self._stream is not None and (wanted := self._ledger.on_ready_to_send()):
            self._perform(wanted)

    def _beat_later(self, stream: Stream) -> None:
        def beat() -> None:
            if self._stream is stream:
                self._perform(self._ledger.on_beat_due(self._now_s()))
                self._beat_later(stream)

        self._time.after(round(self._ledger.timings.beat_interval_s * 1000), beat)

    # -- what the ledger wants ---------------------------------------------

    def _perform(self, wanted: list[out.Output]) -> None:
        for output in wanted:
            if self._stage.faults.hits("session_dies_amid_orders"):
                self._stage.story.tell(self._name, "its session dies amid its orders")
                self.die()
            if self.dead:
                return
            self._perform_one(output)

    def _perform_one(self, output: out.Output) -> None:
        match output:
            case out.SendToController(message):
                if self._stream is not None:
                    self._stream.up.send(message.SerializeToString())
            case out.Disconnect(reason):
                self._stage.story.tell(self._name, f"hangs up: {reason}")
                self._hung_up(self._stream)
            case out.SaveEpoch(epoch, commit):
                self._disk.epoch, self._disk.commit = epoch, commit
            case out.SaveCommit(commit):
                self._disk.commit = commit
            case out.StartProcess(job=job):
                if job.job_id not in self._jobs_told:
                    self._jobs_told[job.job_id] = None
                    self._orders.send(job_frame(output, CLUSTER, {}))
                self._orders.send(start_frame(output, "controller"))
            case out.StopProcess(key, reason):
                self._orders.send(frames.Stop(str(key), reason))
            case out.ReleaseProcess():
                self._orders.send(release_frame(output, {}))
            case out.TellTasks(kind, message, deadline_s):
                self._orders.send(frames.Notice(kind, message, deadline_s))
            case out.SetLease(deadline_s, lease_s, orphan_timeout_s, suspect_after_s):
                self._orders.send(frames.Lease(deadline_s, lease_s, orphan_timeout_s, suspect_after_s))
            case out.PingKeeper(sequence):
                self._orders.send(frames.Ping(sequence))
            case out.Forget(keys, jobs):
                for job_id in jobs:
                    self._jobs_told.pop(job_id, None)
                self._orders.send(frames.Forget([str(key) for key in keys], list(jobs), []))

    # -- logs --------------------------------------------------------------

    def _ship(self, report: worker_pb2.AttemptReport) -> None:
        key = key_of(report.id)
        if not is_terminal(report) or not report.log_bytes or key in self._shipping:
            return
        self._shipping[key] = None

        def on_durable() -> None:
            if not self.dead:
                self._perform(self._ledger.on_log_durable(key))
                self._write()

        self._way.ship_log(key, on_durable)


def _nothing() -> None:
    """A pipe inside the host has no end that anyone waits for."""
