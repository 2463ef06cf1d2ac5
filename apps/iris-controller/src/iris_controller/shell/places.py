"""What a worker's certificate is good for: its own place, for as long as its slice is there.

Who came over loopback with the token is not asked: it may be any worker of this
machine. Reads the view and the history; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from iris_controller.core import states as s
from iris_controller.core.events import AttemptReport
from iris_controller.core.slices import why_not_at
from iris_controller.core.values import AttemptId, Place, Reason
from iris_controller.core.view import View
from iris_controller.shell.controller import Controller
from iris_controller.shell.peers import Peer

# Attempts whose owner one log stream remembers.
MOST_OWNERS = 10_000


def why_not_here(view: View, place: Place) -> Reason | None:
    """Why nobody may be a place now; None when somebody may."""
    slice_ = view.slices.get(place.slice_name)
    if slice_ is None:
        return Reason("unknown_slice", f"{place.slice_name} is not a slice of this cluster")
    return why_not_at(slice_, place)


class PlaceGuard:
    """One stream's caller, and what it may say."""

    def __init__(self, peer: Peer, controller: Controller) -> None:
        self.peer = peer
        self._controller = controller
        self._owned: dict[AttemptId, bool] = {}

    def hello(self, place: Place) -> Reason | None:
        """Why the caller may not speak for a place; None when it may."""
        mine = self.peer.place
        if mine is not None and mine != place:
            return Reason("other_place", f"the certificate is of {mine.name}, not of {place.name}")
        return self.still_there()

    def still_there(self) -> Reason | None:
        """Why the stream of one that was let in has to end now; None when it may go on."""
        mine = self.peer.place
        if mine is None:
            return None
        if self.peer.has_expired():
            words = f"the certificate of {mine.name} is over; dial with a newer one"
            return Reason("certificate_over", words)
        slice_ = self._controller.view.slices.get(mine.slice_name)
        # One that is not known may be adopted, which is the core's to say. DELETING
        # ones are let be here: what they still have to say is worth hearing.
        if slice_ is not None and isinstance(slice_.state, s.SliceGone):
            return Reason("deleted_slice", f"{mine.slice_name} is gone")
        return None

    def reports(self, reports: Iterable[AttemptReport]) -> Reason | None:
        """Why the caller may not report these; older attempts are the core's to ignore."""
        mine = self.peer.place
        if mine is None:
            return None
        tasks = self._controller.view.tasks
        for report in reports:
            task = tasks.get(report.id.task)
            attempt = task.attempt if task is not None else None
            if attempt is not None and attempt.id == report.id and attempt.place != mine:
                words = f"{attempt_words(report.id)} does not run on {mine.name}"
                return Reason("other_place", words)
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
        view = await self._controller.view_with(attempt_id.job_id)
        task = view.tasks.get(attempt_id.task)
        if task is None or task.attempt is None:
            return None
        if task.attempt.id == attempt_id:
            return task.attempt.place
        past = await self._controller.history.past_attempts(task.id)
        return next((one.place for one in past if one.id == attempt_id), None)


def attempt_words(attempt_id: AttemptId) -> str:
    """An attempt, as a refusal names it."""
    return f"attempt {attempt_id.number} of {attempt_id.task.name}"
