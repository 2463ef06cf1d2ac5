"""Where the controller lives: starts it, kills it, and is the address that others reach it at."""

from __future__ import annotations

from dataclasses import replace

from iris_controller.core import events as e
from iris_controller.core.entities import Settings
from iris_controller.core.values import AttemptId
from iris_platform.names import parse_slice_name
from tests.simulation.calls import Calls
from tests.simulation.cloud import Cloud
from tests.simulation.controller import Controller
from tests.simulation.engine import Action, Pipe, Take
from tests.simulation.lines import Reply
from tests.simulation.machine import Machine, Memory
from tests.simulation.stage import Stage


class Site:
    """At most one controller at a time, and often none."""

    def __init__(self, stage: Stage, machine: Machine) -> None:
        self._stage = stage
        self._machine = machine
        self._random = stage.random("site")
        self._runs = 0
        self._is_closed = False
        # Whether the controller has been given all scale groups.
        self.is_whole = True
        self.cloud: Cloud | None = None
        self.controller: Controller | None = None

    def start(self) -> None:
        """Starts the controller."""
        assert self.cloud is not None
        if self._is_closed:
            return
        self._runs += 1
        memory = Memory(self._machine)
        epoch = memory.begin(self._machine.now().wall_ms, self._highest_epoch())
        self._stage.story.tell("controller", f"starts with epoch {epoch}")
        calls = Calls(self._stage, self.cloud, self._post, self._runs)
        settings = self._settings()
        self._machine.oracle.fleet.on_configured(settings)
        self.controller = Controller(self._machine, settings, memory, epoch, calls, self.crash)
        self.controller.start()

    def _highest_epoch(self) -> int:
        """In any slice's name; a provider that cannot be reached adds nothing."""
        assert self.cloud is not None
        if self._stage.engine.now_ms < self.cloud.unreachable_until_ms:
            return 0
        names = [parse_slice_name(name) for name in self.cloud.slices]
        return max([0, *(n.epoch for n in names if n is not None)])

    def _settings(self) -> Settings:
        """The configuration of a new run; somebody may have left a group out."""
        settings = self._stage.scene.settings
        names = list(settings.groups)
        self.is_whole = len(names) == 1 or not self._stage.faults.hits("group_dropped")
        if self.is_whole:
            return settings
        dropped = names[self._stage.faults.pick("group_dropped", len(names))]
        self._stage.story.tell("controller", f"is configured without {dropped}")
        return replace(settings, groups={name: g for name, g in settings.groups.items() if name != dropped})

    def _post(self, event: e.Event) -> None:
        if self.controller is not None:
            self.controller.post(event)

    def crash(self, when: str) -> None:
        """The controller is killed, and started again after a while."""
        if self.controller is None:
            return
        self._stage.story.tell("controller", f"dies {when}")
        self.controller.die()
        self.controller = None
        down_ms = self._random.randint(100, self._random.choice((1_000, 5_000, 50_000)))
        if self._random.random() < 0.2:
            self._machine.reboot()
        if not self._is_closed:
            self._stage.engine.after(down_ms, self.start)

    def close(self) -> None:
        """The controller never comes back."""
        self._is_closed = True
        self.crash("for good")

    def back_up(self) -> None:
        """Somebody copies the store."""
        self._machine.copy_store()

    # -- what others reach -----------------------------------------------------

    def ask(self, event: e.Event, reply: Reply) -> None:
        """A request, of a person or with a log."""
        if self.controller is None:
            reply(None)
        else:
            self.controller.post(event, reply)

    def accept(self, down: Pipe[bytes]) -> tuple[Take, Action] | None:
        """An agent's stream."""
        return None if self.controller is None else self.controller.accept(down)

    def store_log(self, attempt_id: AttemptId, reply: Reply) -> None:
        """An attempt's log, to its end: on disk at once, answered when the store knows."""
        self.ask(e.LogStored(attempt_id), reply)
