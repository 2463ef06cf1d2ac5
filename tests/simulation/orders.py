"""What agents are told to keep and to end, against what the store has and what really runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from iris_controller.core import effects as fx
from iris_controller.core import states as s
from iris_controller.core.values import AttemptId, Place, TaskId
from iris_proto.v1 import job_pb2
from tests.simulation.gangs import Gangs
from tests.simulation.rows import Rows, attempt_name, task_name
from tests.simulation.stale import STALE
from tests.simulation.story import Objection


@dataclass(frozen=True)
class Live:
    """A process that runs."""

    id: AttemptId
    place: Place
    resources: job_pb2.Resources


class Orders:
    """The table KEEP/STOP of DESIGN 7, from outside."""

    def __init__(
        self,
        live: Mapping[TaskId, Live],
        just_assigned: Mapping[AttemptId, None],
        rows: Callable[[], Rows],
        gangs: Gangs,
    ) -> None:
        """`just_assigned`: by the last batch."""
        self._live = live
        self._just_assigned = just_assigned
        self._rows = rows
        self._gangs = gangs

    def on_verdict(self, verdict: fx.Verdict) -> None:
        """An agent is told what becomes of an attempt that it reported."""
        if not verdict.keep:
            self.on_stop_order(verdict.id, verdict.reason)
            return
        live = self._live.get(verdict.id.task)
        lives = live is not None and live.id == verdict.id
        task = self._rows().tasks.get(verdict.id.task)
        current = task.attempt if task is not None else None
        if not lives and (current is None or current.id in self._just_assigned):
            # Its end was news, and its task has another run already.
            return
        is_current = current is not None and current.id == verdict.id
        if not is_current or (
            lives and current is not None and not isinstance(current.state, s.ATTEMPT_LIVE)
        ):
            words = f"{attempt_name(verdict.id)} is kept, and the store has {current}"
            raise Objection("kept_unjustly", words, [task_name(verdict.id.task)])

    def on_stop_order(self, attempt_id: AttemptId, reason: str) -> None:
        """An agent is told to end an attempt."""
        live = self._live.get(attempt_id.task)
        if live is None or live.id != attempt_id:
            return
        if not self._may_stop(live):
            words = f"{attempt_name(attempt_id)} is told to end ({reason}), and nothing newer is known"
            raise Objection("stopped_for_nothing", words, [task_name(attempt_id.task)])

    def on_stop_reached(self, attempt_id: AttemptId, reason: str) -> None:
        """An agent is about to end an attempt on somebody's word."""
        if reason == STALE:
            words = f"{attempt_name(attempt_id)} ends on the word of a controller that was replaced"
            raise Objection("stale_obeyed", words, [task_name(attempt_id.task)])

    def _may_stop(self, live: Live) -> bool:
        rows = self._rows()
        status = rows.statuses.get(live.id.job_id)
        task = rows.tasks.get(live.id.task)
        slice_ = rows.slices.get(live.place.slice_name)
        if status is None or task is None or slice_ is None or task.attempt is None:
            return status is not None and status.stop is not None
        attempt = task.attempt
        given_up = attempt.id == live.id and not isinstance(attempt.state, s.ATTEMPT_LIVE)
        return (
            status.stop is not None
            or task.state.is_terminal
            or attempt.id.is_newer_than(live.id)
            or given_up
            or isinstance(slice_.state, s.SliceDraining)
            or self._gangs.broken(rows, live.id.job_id)
        )
