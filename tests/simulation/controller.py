"""The simulated controller: does what `shell.controller`, `shell.sessions` and `serve` do, under our clock.

Gathers events, applies them as a batch, commits, then lets answers, effects and
messages go; may die at every point between. The rules are the real core's, and
the bytes are the real codec's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from iris_controller.codec import wire
from iris_controller.codec.rows import RowWrite, writes
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import JobStatus, Settings
from iris_controller.core.moves import IllegalMove
from iris_controller.core.problems import problems
from iris_controller.core.restore import restore
from iris_controller.core.step import step
from iris_controller.core.values import Place, Reason
from iris_controller.core.view import findings, view_of
from iris_controller.core.world import Changes, World
from iris_proto.v1 import worker_pb2
from tests.simulation.calls import Calls
from tests.simulation.engine import Action, Pipe, Take
from tests.simulation.lines import Reply
from tests.simulation.machine import Machine, Memory
from tests.simulation.story import Objection

BATCH_EVENTS = 1_000


@dataclass(frozen=True)
class _Posted:
    event: e.Event
    reply: Reply | None = None


@dataclass(frozen=True)
class _Batch:
    """What is let go once its rows are committed."""

    decided_ms: int
    events: list[_Posted]
    changes: Changes
    rows: list[RowWrite]
    effects: list[fx.Effect]
    answers: list[tuple[Reply, fx.Answer]]


class Controller:
    """One run of the controller, from its start to its death."""

    def __init__(
        self,
        machine: Machine,
        settings: Settings,
        memory: Memory,
        epoch: int,
        calls: Calls,
        on_crash: Callable[[str], None],
    ) -> None:
        """`on_crash` is called when a fault ends this run."""
        self._stage = machine.stage
        self._settings = settings
        self._machine = machine
        self._memory = memory
        self._epoch = epoch
        self._calls = calls
        self._on_crash = on_crash
        self._random = self._stage.random(f"controller/{epoch}")
        self._inbox: deque[_Posted] = deque()
        # Those whose events are in the batch that is being committed.
        self._askers: list[Reply] = []
        self._busy = False
        # The last commit failed; nothing goes on before a write succeeds.
        self._in_trouble = False
        self._down: dict[int, Pipe[bytes]] = {}
        self._sessions = 0
        self._dialled: dict[int, tuple[Place, int]] = {}
        self.dead = False
        self.world = self._load()
        self.view = view_of(self.world)
        self._note_older()

    def _note_older(self) -> None:
        """First of all, as long as it is not on record; see `shell.controller`."""
        if self._memory.incomplete:
            self._inbox.appendleft(_Posted(e.StoreFoundOlder(self._memory.incomplete)))

    def _load(self) -> World:
        rows = self._memory.load()
        world = restore(self._settings, self._epoch, rows, self._machine.now())
        self._machine.on_loaded(world.jobs, self._epoch)
        return world

    def start(self) -> None:
        """Begins to tick."""
        self._check_view(list(self.view.statuses.values()))
        self._tick()

    def _tick(self) -> None:
        if not self.dead:
            self.post(e.Tick())
            self._stage.engine.after(self._stage.scene.tick_ms, self._tick)

    def die(self) -> None:
        """The process is gone; agents notice in their own time."""
        self.dead = True
        self._calls.crash()
        for down in self._down.values():
            down.cut(self._random.choice((0, 100)), self._random.choice((10, 10, 15_000)))
        self._refuse_askers()
        for posted in self._inbox:
            if posted.reply is not None:
                posted.reply(None)

    # -- the loop ------------------------------------------------------------

    def post(self, event: e.Event, reply: Reply | None = None) -> None:
        """Hands over an event."""
        if self.dead:
            if reply is not None:
                reply(None)
            return
        self._inbox.append(_Posted(event, reply))
        self._wake()

    def _wake(self) -> None:
        if self._inbox and not self._busy:
            self._busy = True
            self._unless_dead(self._random.randint(0, 2), self._handle)

    def _unless_dead(self, delay_ms: int, action: Action) -> None:
        def act() -> None:
            if self.dead:
                return
            stalled_ms = self._machine.stalled_until_ms - self._stage.engine.now_ms
            if stalled_ms > 0:
                self._stage.engine.after(stalled_ms, act)
            else:
                action()

        self._stage.engine.after(delay_ms, act)

    def _handle(self) -> None:
        events = [self._inbox.popleft() for _ in range(min(len(self._inbox), BATCH_EVENTS))]
        self._askers = [posted.reply for posted in events if posted.reply is not None]
        hits = self._stage.faults.hits
        if self._in_trouble and hits("store_stays_full"):
            self._drop(events, "the store cannot be written yet")
            return
        self._in_trouble = False
        batch = self._apply(events)
        if hits("crash_before_commit"):
            self._on_crash("before a commit")
        elif not batch.changes:
            self._let_go(batch)
        else:
            slow = hits("commit_slow")
            disk_ms = self._stage.faults.between("commit_slow", 500, 15_000) if slow else 0
            self._unless_dead(self._random.randint(1, 8) + disk_ms, lambda: self._commit(batch))

    def _apply(self, events: list[_Posted]) -> _Batch:
        now = self._machine.now()
        effects: list[fx.Effect] = []
        answers: list[tuple[Reply, fx.Answer]] = []
        event: e.Event = e.Decide()
        try:
            for posted in events:
                event = posted.event
                outcome = step(self.world, event, now)
                effects += outcome.effects
                if posted.reply is not None and outcome.answer is not None:
                    answers.append((posted.reply, outcome.answer))
            event = e.Decide()
            effects += step(self.world, event, now).effects
        except (IllegalMove, AssertionError, KeyError, ValueError, IndexError, AttributeError) as error:
            raise Objection("core_raised", f"{type(error).__name__}: {error} at {event}") from error
        changes = self.world.take_changes()
        if changes or not all(isinstance(p.event, e.AgentBeat | e.Tick) for p in events):
            self._check_world()
        return _Batch(self._stage.engine.now_ms, events, changes, writes(changes), effects, answers)

    def _check_world(self) -> None:
        for problem in problems(self.world):
            raise Objection(problem.code, f"{problem.where}: {problem.words}", [problem.where])

    def _commit(self, batch: _Batch) -> None:
        hits = self._stage.faults.hits
        if hits("commit_fails"):
            self._fail(batch)
            return
        above = self.world.cluster.commits_lost
        self._memory.put(batch.rows, list(batch.changes.values()), batch.decided_ms, above)
        if hits("commit_in_doubt"):
            self._fail(batch)
        elif hits("crash_after_commit"):
            self._on_crash("after a commit")
        else:
            self.view.apply(batch.changes)
            self._let_go(batch)

    def _let_go(self, batch: _Batch) -> None:
        self.view.findings = findings(self.world)
        self._check_view([row for row in batch.changes.values() if isinstance(row, JobStatus)])
        self._askers.clear()
        for reply, answer in batch.answers:
            reply(None if self._stage.faults.hits("answer_lost") else answer)
        for effect in batch.effects:
            if self._stage.faults.hits("crash_amid_effects"):
                self._on_crash("amid its effects")
                return
            self._deliver(effect)
        self._busy = False
        self._wake()

    def _check_view(self, statuses: list[JobStatus]) -> None:
        """What readers are shown of a job accounts for each of its tasks."""
        for status in statuses:
            job = self.view.jobs[status.job_id]
            if not job.adopted and sum(status.counts.values()) != job.spec.replicas:
                words = f"{status.counts} of {job.spec.replicas} tasks are shown"
                raise Objection("miscounted", f"{job.job_id}: {words}", [job.job_id])

    def _refuse_askers(self) -> None:
        askers, self._askers = self._askers, []
        for reply in askers:
            reply(None)

    def _fail(self, batch: _Batch) -> None:
        """The store refused: sessions end, and the world is as the store has it."""
        self._in_trouble = True
        # Those that the batch ended are open still.
        ended = [effect.session_id for effect in batch.effects if isinstance(effect, fx.RefuseSession)]
        sessions = [*self.world.sessions, *ended]
        self.world = self._load()
        self.view = view_of(self.world)
        for session_id in sessions:
            self._refuse(session_id)
        self._drop(batch.events, f"a commit of {len(batch.rows)} rows failed")

    def _drop(self, events: list[_Posted], why: str) -> None:
        """A batch is forgotten: callers are told, agents dial again."""
        self._stage.story.tell("controller", why)
        self._refuse_askers()
        for posted in events:
            if isinstance(posted.event, e.AgentHello):
                self._refuse(posted.event.session_id)
        self._note_older()
        self._busy = False
        self._wake()

    def _refuse(self, session_id: int) -> None:
        self._machine.oracle.fleet.on_turned_away(session_id)
        self._deliver(fx.RefuseSession(session_id, Reason("store", "the store cannot be written")))

    # -- sessions ------------------------------------------------------------

    def accept(self, down: Pipe[bytes]) -> tuple[Take, Action]:
        """A new stream; its first message must be a Hello."""
        self._sessions += 1
        session_id = self._sessions
        self._down[session_id] = down
        place = Place("", 0)

        def take(data: bytes) -> None:
            nonlocal place
            if session_id in self._down and not self.dead:
                message = worker_pb2.AgentMessage.FromString(data)
                self.post(_event(message, session_id, self._memory.commit_number))
                if message.HasField("hello"):
                    place = wire.place_from_proto(message.hello.place)
                    self._dialled[session_id] = (place, self._stage.engine.now_ms)
                    self._machine.oracle.fleet.on_hello(place, session_id, self._stage.engine.now_ms)
                else:
                    self._machine.oracle.on_contact(place, self._stage.engine.now_ms)

        return take, lambda: self._end_session(session_id)

    def _end_session(self, session_id: int) -> None:
        down = self._down.pop(session_id, None)
        if down is not None and not self.dead:
            down.finish()
            self.post(e.SessionClosed(session_id))

    def _deliver(self, effect: fx.Effect) -> None:
        epoch, commit = self._epoch, self._memory.commit_number
        match effect:
            case fx.CreateSlice() | fx.DeleteSlice() | fx.LookAtSlice() | fx.ListZone():
                self._calls.perform(effect)
            case fx.SendWelcome(session_id, _, verdicts):
                self._machine.oracle.on_contact(*self._dialled[session_id])
                for verdict in verdicts:
                    self._machine.oracle.orders.on_verdict(verdict)
                self._send(session_id, wire.welcome(effect, self._stage.scene.timings, epoch, commit))
            case fx.SendCommands(session_id, start, stop):
                for order in stop:
                    self._machine.oracle.orders.on_stop_order(order.id, order.reason)
                jobs = [self.world.jobs[job_id] for job_id in dict.fromkeys(spec.id.job_id for spec in start)]
                contexts = [wire.job_context(job) for job in jobs]
                self._send(session_id, wire.commands(effect, contexts, epoch, commit))
            case fx.SendNotice(session_id):
                self._send(session_id, wire.slice_notice(effect, epoch, commit))
            case fx.AckBeat(session_id):
                self._send(session_id, wire.beat_ack(effect, epoch, commit))
            case fx.AckReports(session_id):
                self._send(session_id, wire.reports_ack(effect, epoch, commit))
            case fx.RefuseSession(session_id, reason):
                self._stage.story.tell("controller", f"session {session_id} ends: {reason}")
                self._end_session(session_id)
            case fx.StepDown(reason):
                raise Objection("stepped_down", f"the only controller steps down: {reason}")

    def _send(self, session_id: int, message: worker_pb2.ControllerMessage) -> None:
        down = self._down.get(session_id)
        if down is not None:
            down.send(message.SerializeToString())


def _event(message: worker_pb2.AgentMessage, session_id: int, our_commit: int) -> e.Event:
    match message.WhichOneof("message"):
        case "hello":
            return wire.hello_from_proto(message.hello, session_id, our_commit)
        case "beat":
            return e.AgentBeat(session_id, message.beat.sequence)
        case "reports":
            return wire.reports_from_proto(message.reports, session_id)
        case other:
            raise Objection("bad_message", f"an agent sent {other}")
