"""The network between agents and whichever controller runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from iris_controller.core.effects import Answer
from iris_controller.core.values import AttemptId
from tests.simulation import stale
from tests.simulation.engine import Action, Pipe, Take
from tests.simulation.stage import Stage

# Gets the answer to a request, or None: it never came.
Reply = Callable[[Answer | None], None]


@dataclass
class Stream:
    """One session's stream: two directions that break independently."""

    up: Pipe[bytes]
    down: Pipe[bytes]

    def break_(self, draw: Callable[[int, int], int], arrive_ms: int, notice_ms: int) -> None:
        """Breaks it. `draw` picks, for each direction, how long things still arrive and nobody notices."""
        self.up.cut(draw(0, arrive_ms), draw(0, notice_ms))
        self.down.cut(draw(0, arrive_ms), draw(0, notice_ms))


class Listener(Protocol):
    """The controller's end."""

    def accept(self, down: Pipe[bytes]) -> tuple[Take, Action] | None:
        """Takes a new stream: who gets its messages and its end; None if nobody is there."""

    def store_log(self, attempt_id: AttemptId, reply: Reply) -> None:
        """Stores an attempt's whole log."""


class Lines:
    """Makes streams; see the module."""

    def __init__(self, stage: Stage, listener: Listener) -> None:
        self._stage = stage
        self._listener = listener
        self._random = stage.random("lines")

    def dial(self, take: Take, on_end: Action) -> Stream | None:
        """Opens a stream; None if that fails."""
        if self._stage.faults.hits("dial_fails"):
            return None
        down = Pipe[bytes](self._stage.engine, self._delay_ms, take, on_end)
        accepted: tuple[Take, Action] | None
        if self._stage.faults.hits("stale_controller"):
            accepted = stale.accept(down, self._stage.scene.timings)
        else:
            accepted = self._listener.accept(down)
        if accepted is None:
            return None
        up = Pipe[bytes](self._stage.engine, self._delay_ms, *accepted)
        if self._stage.faults.hits("hello_stalls"):
            up.delay_next(self._stage.faults.between("hello_stalls", 500, 40_000))
        return Stream(up, down)

    def ship_log(self, attempt_id: AttemptId, reply: Reply) -> None:
        """Sends an attempt's whole log; the reply is None if it may not be stored."""
        if self._stage.faults.hits("log_not_shipped"):
            reply(None)
        else:
            self._listener.store_log(attempt_id, reply)

    def _delay_ms(self) -> int:
        if self._stage.faults.hits("message_stalls"):
            return self._stage.faults.between("message_stalls", 500, 30_000)
        return self._random.randint(0, 20)
