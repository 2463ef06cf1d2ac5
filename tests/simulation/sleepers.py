"""Machines that are suspended: what was given up there meanwhile must never run again."""

from __future__ import annotations

from iris_controller.core.values import AttemptId, Place
from tests.simulation.engine import Engine
from tests.simulation.orders import Live
from tests.simulation.rows import attempt_name
from tests.simulation.story import Objection

# A machine that was suspended for longer than its lease kills what ran on it so soon after.
AWAKE_MS = 2_000


class Sleepers:
    """Suspended places, and their processes that are as good as dead."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # By place, until when it is suspended and a little longer.
        self._until_ms: dict[Place, int] = {}
        # Places of groups whose lease is a fence: only what cannot run is given up there.
        self._may_oversleep: dict[Place, None] = {}
        self.given_up: dict[AttemptId, Live] = {}

    def suspend(self, place: Place, for_ms: int, *, lease_is_fence: bool) -> None:
        """A machine stands still: what was to be dead by then dies when it goes on."""
        if lease_is_fence:
            self._may_oversleep[place] = None
        until_ms = self._until_ms[place] = self._engine.now_ms + for_ms + AWAKE_MS
        self._engine.after(for_ms + AWAKE_MS, lambda: self._check_awake(place, until_ms))

    def _check_awake(self, place: Place, until_ms: int) -> None:
        here = [attempt_name(live.id) for live in self.given_up.values() if live.place == place]
        if self._until_ms[place] == until_ms and here:
            raise Objection("woke_and_lived", f"{here} run on {place}, given up long ago", [place.slice_name])

    def holds(self, live: Live) -> bool:
        """Whether a process stands still."""
        return self._engine.now_ms < self._until_ms.get(live.place, 0)

    def may_be_given_up(self, live: Live) -> bool:
        """Whether it is certain that a process will not run again, though it is there."""
        return self.holds(live) and live.place in self._may_oversleep
