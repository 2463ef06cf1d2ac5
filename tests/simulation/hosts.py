"""A simulated machine: a disk, a keeper, a session, and what may befall them."""

from __future__ import annotations

from collections.abc import Callable

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper import frames
from iris_bootstrap.session.ledger import Identity
from iris_controller.core.effects import Answer
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.values import AttemptId, Place
from tests.simulation.engine import Action, Take
from tests.simulation.hosttime import HostTime
from tests.simulation.keeper import Disk, Keeper
from tests.simulation.lines import Lines, Stream
from tests.simulation.oracle import Oracle
from tests.simulation.session import Session
from tests.simulation.stage import Stage

# The service manager and the keeper start again what died.
RESTART_MS = 500
LATEST_RESTART_MS = 3_000
# Of a machine's clock in ours, in thousandths: within the 5 % that leases allow for.
SLOWEST, FASTEST = 953, 1_050


class Host:
    """One machine at one place."""

    def __init__(
        self,
        stage: Stage,
        oracle: Oracle,
        lines: Lines,
        place: Place,
        zone: str,
        policy: GroupPolicy,
        remove_agent: Callable[[Place], None],
    ) -> None:
        """`remove_agent` is called by an agent that has had no controller for too long."""
        self._stage = stage
        self._lines = lines
        self._oracle = oracle
        self._zone = zone
        self._policy = policy
        self._remove_agent = remove_agent
        self._clock_random = stage.random(f"clock/{place.slice_name}/{place.worker_index}")
        drifts = stage.faults.hits("clock_drifts")
        rate = self._clock_random.randint(SLOWEST, FASTEST) if drifts else 1000
        self._time = HostTime(stage.engine, rate)
        self._keeper = Keeper(stage, oracle, place, self._time)
        self._boots = 0
        self._streams: list[Stream] = []
        self._disk = Disk()
        self._session: Session | None = None
        self.place = place
        self.name = f"{place.slice_name}/{place.worker_index}"
        self._random = stage.random(f"host/{self.name}/{stage.engine.now_ms}")
        self.alive = True
        self.cut_off_until_ms = 0
        self.last_contact_ms = stage.engine.now_ms

    @property
    def has_agent(self) -> bool:
        """Whether its agent runs, both parts of it."""
        return self._session is not None and not self._session.dead

    @property
    def remembers(self) -> list[str]:
        """The attempts whose ends its agent still has to deliver."""
        return [] if self._session is None else self._session.remembers

    @property
    def is_supervised(self) -> bool:
        """Whether a service manager starts its agent again."""
        return self._policy.provider != "local"

    @property
    def policy(self) -> GroupPolicy:
        """Of its scale group."""
        return self._policy

    def boot(self) -> None:
        """The machine starts, and its agent a little later."""
        self._boots += 1
        self.last_contact_ms = self._stage.engine.now_ms
        # Unlike any other boot anywhere: a name may come to life twice.
        self._disk.boot_id = f"boot-{self._boots}-{self._random.randrange(2**32)}"
        self._later(self._random.randint(100, 3_000), self._register)
        self._watch_orphan()

    def _later(self, delay_ms: int, action: Action) -> None:
        """Something that a reboot or the machine's end prevents."""
        boots = self._boots

        def act() -> None:
            if self.alive and self._boots == boots:
                action()

        self._time.after(delay_ms, act)

    def _register(self) -> None:
        # Only at first: what has started is started again by its service manager, whatever befalls it.
        if self._boots == 1 and self._stage.faults.hits("host_never_registers"):
            self._stage.story.tell(self.name, "its agent never starts")
        else:
            self._start_agent()

    def _start_agent(self) -> None:
        self._keeper.begin(self._disk.boot_id)
        self._start_session()

    def _start_session(self) -> None:
        if self._session is None or self._session.dead:
            self._session = Session(
                self._stage, self._keeper, self._disk, self, self._identify, self.name, self._time
            )
            self._session.start()
            self._watch_session(self._session)

    def _watch_session(self, session: Session) -> None:
        """A session that died is started again by its keeper."""

        def check() -> None:
            if session is self._session:
                if session.dead:
                    self._start_session()
                else:
                    self._watch_session(session)

        self._later(RESTART_MS, check)

    def _identify(self, state: frames.State) -> Identity:
        return Identity(
            cluster_id=self._stage.scene.settings.cluster_id,
            slice_name=self.place.slice_name,
            worker_index=self.place.worker_index,
            boot_id=state.boot_id,
            previous_boot_id=state.previous_boot_id,
            cpu_millis=self._policy.host_resources.cpu_millis,
            memory_bytes=self._policy.host_resources.memory_bytes,
            version="simulated",
            labels={},
            zone=self._zone,
        )

    # -- what may befall it ------------------------------------------------

    def die(self) -> None:
        """The machine stops for good."""
        if self.alive:
            self._stop_agent()
            self._keeper.kill_all()
            self.alive = False

    def _stop_agent(self) -> None:
        if self._session is not None:
            self._session.die()
        self._keeper.die()

    def reboot(self) -> None:
        """The machine starts anew, with its disk."""
        self._stop_agent()
        self._keeper.kill_all()
        self._session = None
        self.boot()

    def kill_agent(self) -> None:
        """Keeper and session die, and every task with them."""
        self._stop_agent()
        self._keeper.kill_all()
        self._restart_agent()

    def fall_silent(self) -> None:
        """The agent dies with its tasks and does not come back."""
        self._stop_agent()
        self._keeper.kill_all()
        self._session = None

    def leave_tasks_alone(self) -> None:
        """Keeper and session die at once, and nobody kills their tasks before the next start."""
        self._stop_agent()
        self._restart_agent()

    def _restart_agent(self) -> None:
        self._session = None
        if self.is_supervised:
            self._later(self._random.randint(RESTART_MS, LATEST_RESTART_MS), self._start_agent)

    def suspend(self, for_ms: int) -> None:
        """The machine stands still; its boot-time clock goes on. One that does already stands no longer."""
        if self._time.is_suspended:
            return
        self._say_suspended(for_ms)
        # Before it goes on it can do nothing about being alone.
        self.last_contact_ms = self._stage.engine.now_ms + for_ms
        self._time.suspend(for_ms)

    def set_right(self) -> None:
        """Nothing is wrong with it any more."""
        self.cut_off_until_ms = 0
        self._time.resume()
        self._say_suspended(0)

    def _say_suspended(self, for_ms: int) -> None:
        lease_is_fence = self._policy.fence_after_ms is None
        self._oracle.sleepers.suspend(self.place, for_ms, lease_is_fence=lease_is_fence)

    def kill_session(self) -> None:
        """The session alone dies; its tasks do not notice."""
        if self._session is not None:
            self._session.die()

    def cut_off(self, for_ms: int) -> None:
        """Nothing gets through for a while."""
        self.cut_off_until_ms = self._stage.engine.now_ms + for_ms
        self.break_lines(0, for_ms)

    def slow_down(self, slow_ms: int, for_ms: int) -> None:
        """What the controller says takes its time, and soon it hears nothing more from here."""
        for stream in self._streams:
            stream.down.delay_next(slow_ms)
        self._later(1_000, lambda: self._cut_slowly(slow_ms, for_ms))

    def _cut_slowly(self, slow_ms: int, for_ms: int) -> None:
        if self._stage.faults.are_on:
            self.cut_off_until_ms = self._stage.engine.now_ms + for_ms
            for stream in self._streams:
                stream.up.cut(0, for_ms)
                stream.down.cut(slow_ms, for_ms)

    def break_lines(self, arrive_ms: int, notice_ms: int) -> None:
        """Its streams break; things may still arrive for a while, and each end notices in its own time."""
        for stream in self._streams:
            stream.break_(self._random.randint, arrive_ms, notice_ms)

    def _watch_orphan(self) -> None:
        idle_ms = self._keeper.idle_since_ms
        patience_ms = self._stage.scene.timings.orphan_timeout.ToMilliseconds()
        if self._keeper.lease is not None:
            patience_ms = round(self._keeper.lease.orphan_timeout_s * 1000)
        now_ms = self._time.now_ms
        if idle_ms is not None and now_ms - idle_ms >= patience_ms:
            self._stage.story.tell(self.name, "has had no controller for too long and goes")
            self._stage.faults.happened("agent_orphaned")
            self._remove_agent(self.place)
            return
        self._later(5_000, self._watch_orphan)

    # -- the way to the controller (see `session.Way`) -----------------------

    @property
    def _is_cut_off(self) -> bool:
        return self._stage.engine.now_ms < self.cut_off_until_ms

    def dial(self, take: Take, on_end: Action) -> Stream | None:
        """Opens a session's stream, if anything gets through."""
        if self._is_cut_off:
            return None
        stream = self._lines.dial(
            lambda data: self._time.when_awake(lambda: self._hear(take, data)),
            lambda: self._time.when_awake(on_end),
        )
        self._streams = [s for s in self._streams if not (s.up.closed and s.down.closed)]
        if stream is not None:
            self._streams.append(stream)
        return stream

    def _hear(self, take: Take, data: bytes) -> None:
        self.last_contact_ms = self._stage.engine.now_ms
        take(data)

    def ship_log(self, key: AttemptKey, on_durable: Action) -> None:
        """Sends an attempt's log until it is stored."""

        def again() -> None:
            self._later(self._random.randint(500, 3_000), arrive)

        def reply(answer: Answer | None) -> None:
            if answer is None:
                again()
            else:
                self._later(self._random.randint(1, 20), on_durable)

        def arrive() -> None:
            if self._is_cut_off:
                again()
            else:
                self._lines.ship_log(AttemptId(*key), reply)

        self._later(self._random.randint(1, 100), arrive)
