"""What is left of a gang of which a member ended badly: it must end in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from iris_controller.core.entities import Job
from iris_controller.core.values import AttemptId, Place, TaskId
from tests.simulation.engine import Engine
from tests.simulation.gangs import Gangs
from tests.simulation.orders import Live
from tests.simulation.rows import Rows, attempt_name
from tests.simulation.sleepers import Sleepers
from tests.simulation.story import Objection


class Halves:
    """Looks again at what runs of a broken gang, after the longest time that it may."""

    def __init__(
        self,
        engine: Engine,
        live: Mapping[TaskId, Live],
        rows: Callable[[], Rows],
        gangs: Gangs,
        sleepers: Sleepers,
        steady_since_ms: Callable[[int], int],
    ) -> None:
        self._engine = engine
        self._live = live
        self._rows = rows
        self._gangs = gangs
        self._sleepers = sleepers
        self._steady_since_ms = steady_since_ms
        self._complete_since_ms: int | None = 0
        # Places where nobody is who could end what runs, as long as no controller comes (DESIGN 7: if
        # both halves of an agent are gone, its next start or the deletion of its slice cleans up).
        self.is_forsaken: Callable[[Place], bool] = lambda _: False

    def note_memory(self) -> None:
        """After a commit: nobody judges a gang while memory is incomplete, nor has had time to just after."""
        if self._rows().cluster.incomplete is not None:
            self._complete_since_ms = None
        elif self._complete_since_ms is None:
            self._complete_since_ms = self._engine.now_ms

    def watch(self, job_id: str) -> None:
        """A gang is broken."""
        rows = self._rows()
        there = [live.id for live in self._live.values() if live.id.job_id == job_id]
        if there:
            longest_ms = self._gangs.longest_half_ms(rows.jobs[job_id])
            self._engine.after(longest_ms, lambda: self._check(job_id, there))

    def _check(self, job_id: str, there: list[AttemptId]) -> None:
        rows = self._rows()
        if job_id not in rows.jobs:
            return
        if self._had_no_time(rows.jobs[job_id]):
            self.watch(job_id)
            return
        still = [attempt_id for attempt_id in there if self._could_have_ended(attempt_id)]
        if still and self._gangs.broken(rows, job_id):
            raise Objection("half_gang", f"{[attempt_name(a) for a in still]} run on", [job_id])

    def _had_no_time(self, job: Job) -> bool:
        """Whether the controller could not judge a gang for most of the time."""
        if self._complete_since_ms is None:
            return True
        now_ms = self._engine.now_ms
        since_ms = max(self._complete_since_ms, self._steady_since_ms(now_ms))
        return now_ms - since_ms < self._gangs.longest_half_ms(job)

    def _could_have_ended(self, attempt_id: AttemptId) -> bool:
        """Whether it still runs, and somebody was there to end it."""
        live = self._live.get(attempt_id.task)
        if live is None or live.id != attempt_id:
            return False
        return not self._sleepers.holds(live) and not self.is_forsaken(live.place)
