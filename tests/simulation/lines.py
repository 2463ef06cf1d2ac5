"""The network between agents and whichever controller runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.simulation.engine import Action, Pipe
from tests.simulation.stage import Stage

Take = Callable[[bytes], None]


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
        accepted = self._listener.accept(down)
        if accepted is None:
            return None
        up = Pipe[bytes](self._stage.engine, self._delay_ms, *accepted)
        if self._stage.faults.hits("hello_stalls"):
            up.delay_next(self._stage.faults.between("hello_stalls", 500, 40_000))
        return Stream(up, down)

    def _delay_ms(self) -> int:
        if self._stage.faults.hits("message_stalls"):
            return self._stage.faults.between("message_stalls", 500, 30_000)
        return self._random.randint(0, 20)
