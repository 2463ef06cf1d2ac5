"""What a worker's certificate is good for: its own place, for as long as its slice is there.

Who came over loopback with the token is not asked: it may be any worker of this
machine. Reads the view and the history; changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from iris_controller.core import states as s
from iris_controller.core.entities import Slice
from iris_controller.core.values import AttemptId, Place, Reason, TaskId
from iris_controller.core.view import View
from iris_controller.shell.controller import Controller
from iris_controller.shell.peers import Peer

# Attempts whose owner one log stream remembers.
MOST_OWNERS = 10_000


class HasAttempt(Protocol):
    """Anything that is about an attempt."""

    @property
    def id(self) -> AttemptId: ...


def why_not_here(view: View, place: Place) -> Reason | None:
    """Why nobody may be a place now; None when somebody may."""
    slice_ = view.slices.get(place.slice_name)
    if slice_ is None:
        return Reason("unknown_slice", f"{place.slice_name} is not a slice of this cluster")
    if (gone := _why_gone(slice_)) is not None:
        return gone
    if not 0 <= place.worker_index < slice_.hosts:
        words = f"{slice_.name} has {slice_.hosts} hosts, none with index {place.worker_index}"
        return Reason("bad_index", words)
    return None


def _why_gone(slice_: Slice) -> Reason | None:
    if isinstance(slice_.state, s.SliceDeleting | s.SliceGone):
        return Reason("deleted_slice", f"{slice_.name} is being deleted")
    return None


class PlaceGuard:
    """One stream's caller, and what it may say."""

    def __init__(self, peer: Peer, controller: Callable[[], Controller]) -> None:
        self.peer = peer
        self._controller = controller
        self._owned: dict[AttemptId, bool] = {}

    def hello(self, place: Place) -> Reason | None:
        """Why the caller may not speak for a place; None when it may."""
        mine = self.peer.place
        if mine is not None and mine != place:
            words = f"the certificate is of {_name(mine)}, not of {_name(place)}"
            return Reason("other_place", words)
        return self.still_there()

    def still_there(self) -> Reason | None:
        """Why the stream of one that was let in has to end now; None when it may go on."""
        mine = self.peer.place
        if mine is None:
            return None
        if self.peer.has_expired():
            return Reason(
                "certificate_over", f"the certificate of {_name(mine)} is over; dial with a newer one"
            )
        slice_ = self._controller().view.slices.get(mine.slice_name)
        # One that is not known may be adopted, which is the core's to say. DELETING
        # ones are let be here: what they still have to say is worth hearing.
        if slice_ is not None and isinstance(slice_.state, s.SliceGone):
            return Reason("deleted_slice", f"{mine.slice_name} is gone")
        return None

    def reports(self, reports: Iterable[HasAttempt]) -> Reason | None:
        """Why the caller may not report these; older attempts are the core's to ignore."""
        mine = self.peer.place
        if mine is None:
            return None
        tasks = self._controller().view.tasks
        for report in reports:
            task = tasks.get(report.id.task)
            attempt = task.attempt if task is not None else None
            if attempt is not None and attempt.id == report.id and attempt.place != mine:
                return Reason("other_place", f"{_attempt(report.id)} does not run on {_name(mine)}")
        return None

    async def owns(self, attempt_id: AttemptId) -> bool | None:
        """Whether the log of an attempt is the caller's to send; None where nobody knows the attempt."""
        mine = self.peer.place
        if mine is None:
            return True
        known = self._owned.get(attempt_id)
        if known is not None:
            return known
        place = await self._place_of(attempt_id)
        if place is None:
            return None
        if len(self._owned) >= MOST_OWNERS:
            self._owned.clear()
        self._owned[attempt_id] = place == mine
        return place == mine

    async def _place_of(self, attempt_id: AttemptId) -> Place | None:
        controller = self._controller()
        view = await controller.view_with(attempt_id.job_id)
        task = view.tasks.get(TaskId(attempt_id.job_id, attempt_id.task_index))
        if task is None or task.attempt is None:
            return None
        if task.attempt.id == attempt_id:
            return task.attempt.place
        past = await controller.history.past_attempts(task.id)
        return next((one.place for one in past if one.id == attempt_id), None)


def _name(place: Place) -> str:
    return f"{place.slice_name}/{place.worker_index}"


def _attempt(attempt_id: AttemptId) -> str:
    return f"attempt {attempt_id.number} of {attempt_id.job_id}/{attempt_id.task_index}"
