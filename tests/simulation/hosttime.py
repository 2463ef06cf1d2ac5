"""Time as one machine has it: its clock drifts, and while it is suspended nothing on it happens.

The boot-time clock goes on during suspension; whatever fell due is done at its end.
"""

from __future__ import annotations

from tests.simulation.engine import Action, Engine


class HostTime:
    """One machine's boot-time clock and its timers."""

    def __init__(self, engine: Engine, rate: int) -> None:
        """`rate`: how many of its milliseconds pass in a thousand of ours."""
        self._engine = engine
        self._rate = rate
        self._due: list[Action] = []
        self.is_suspended = False

    @property
    def now_ms(self) -> int:
        """This moment on its clock."""
        return self._engine.now_ms * self._rate // 1000

    def after(self, delay_ms: int, action: Action) -> None:
        """Has something done when its clock has gone on by so much."""
        # From the moment that is meant, so that what is due first comes first.
        due_ms = -(-(self.now_ms + delay_ms) * 1000 // self._rate)
        self._engine.after(due_ms - self._engine.now_ms, lambda: self.when_awake(action))

    def when_awake(self, action: Action) -> None:
        """Does something now, or as soon as the machine goes on."""
        if self.is_suspended:
            self._due.append(action)
        else:
            action()

    def suspend(self, for_ms: int) -> None:
        """Stands still for a while."""
        if not self.is_suspended:
            self.is_suspended = True
            self._engine.after(for_ms, self.resume)

    def resume(self) -> None:
        """Goes on, with what is overdue."""
        self.is_suspended = False
        due, self._due = self._due, []
        for action in due:
            self.when_awake(action)
