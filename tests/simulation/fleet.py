"""What must be so of slices: who may be asked for, and why one may be deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from iris_controller.core import states as s
from iris_controller.core.entities import GroupPolicy, Settings, Slice
from iris_controller.core.values import AttemptId, Place, add_up
from tests.simulation.rows import Rows
from tests.simulation.story import Objection

# Why a slice is deleted of which the cloud has nothing good to say.
_ITS_OWN_FAULT = ("host_dead", "vanished", "preempted")
# What a provider says when it will not make a slice.
_REFUSALS = ("stockout", "quota", "refused", "permission")
# After any of these nothing is asked for again sooner than that.
LEAST_BACK_OFF_MS = 5_000
# DESIGN 6: two complete listings so far apart show a slice before it is deleted as unknown.
STANDS_MS = 60_000
# Messages and ticks are not instantaneous.
SLACK_MS = 1_000
# By then a Hello has been handled.
HANDLED_MS = 30_000


@dataclass(frozen=True)
class Slices:
    """What the oracle may ask the cloud."""

    is_there: Callable[[str], bool]
    is_sound: Callable[[str], bool]
    lands_late: Callable[[str], bool]


@dataclass
class _Listed:
    """When lists of this run showed a slice that the store did not know."""

    first_ms: int
    last_ms: int


class Fleet:
    """The rules of slices, from the cloud's side. Times are the simulation's."""

    def __init__(self, settings: Settings, deeds: Counter[str]) -> None:
        self._settings = settings
        self._deeds = deeds
        # When slices were asked for, by whose limits they count against.
        self._requested: dict[str, list[int]] = {}
        self._contact: dict[Place, list[int]] = {}
        # The scale groups that the controller has been given; somebody may have left one out.
        self._configured: Iterable[GroupPolicy] = settings.groups.values()
        # When a slice's agents dialled this run of the controller, by session.
        self._heard: dict[str, dict[int, int]] = {}
        # Since when the controller has run without a stop, each time that it did.
        self._steady: list[int] = [0]
        self._listed: dict[str, _Listed] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._unknown_deleted = 0
        # Slices that were deleted on suspicion, and when their leases are over.
        self._guessed: dict[str, int] = {}
        # When a creation failed, by scale group and zone, and when slices were asked for; in this run.
        self._failed: dict[tuple[str, str], int] = {}
        self._asked: dict[str, int] = {}
        self.cloud: Slices | None = None

    # -- what the controller gets to see -------------------------------------------

    def on_configured(self, settings: Settings) -> None:
        """What the next run of the controller is given."""
        self._configured = settings.groups.values()

    def on_loaded(self, now_ms: int) -> None:
        """A controller begins, or begins anew: nobody has been silent."""
        for group in self._settings.groups.values():
            if not group.is_cloud:
                self._requested.pop(group.account, None)
        self._failed.clear()
        self._asked.clear()
        self._contact.clear()
        self._heard.clear()
        self._listed.clear()
        self._sizes.clear()
        self._steady = [now_ms]

    def on_store_replaced(self) -> None:
        """What the store counted is forgotten with it."""
        self._unknown_deleted = 0

    def steady_since_ms(self, now_ms: int) -> int:
        """When the controller last came up, or went on after it had stood still."""
        return _last(self._steady, now_ms)

    def on_stalled(self, until_ms: int) -> None:
        """The controller stands still until then, whatever it was to do before."""
        self._steady = [*(at_ms for at_ms in self._steady if at_ms < until_ms), until_ms]

    def on_contact(self, place: Place, now_ms: int) -> None:
        """A word of an agent has reached the controller."""
        self._contact.setdefault(place, []).append(now_ms)

    def on_hello(self, place: Place, session_id: int, now_ms: int) -> None:
        """An agent dials."""
        self._heard.setdefault(place.slice_name, {})[session_id] = now_ms

    def on_turned_away(self, session_id: int) -> None:
        """What an agent said is forgotten, because the store cannot be written: it has reported nothing."""
        for heard in self._heard.values():
            heard.pop(session_id, None)

    def on_listed(self, provider: str, zone: str, names: Iterable[str], rows: Rows, now_ms: int) -> None:
        """The controller gets a complete list of a zone."""
        listed = list(names)
        self._sizes[provider, zone] = len(listed)
        for name in listed:
            if name not in rows.slices:
                self._listed.setdefault(name, _Listed(now_ms, now_ms)).last_ms = now_ms

    # -- the store -------------------------------------------------------------------

    def check_commit(
        self, rows: Rows, changed: Sequence[tuple[Slice | None, Slice]], busy: Iterable[str], decided_ms: int
    ) -> None:
        """Slices whose state changed; on the `busy` ones programs run."""
        running = set(busy)
        guesses: dict[str, int] = {}
        for was, row in changed:
            if was is None and isinstance(row.state, s.SliceRequesting) and not row.adopted:
                self._check_pace(row, decided_ms)
                self._check_back_off(row, decided_ms)
            match row.state:
                case s.SliceReady():
                    self._failed.pop((row.group, row.zone), None)
                case s.SliceGone():
                    self._check_gone(row, running)
                case s.SliceDeleting(why) if why.code in _REFUSALS:
                    self._note_refused(was, row, decided_ms)
                case s.SliceDeleting(why) if why.code in _ITS_OWN_FAULT:
                    assert self.cloud is not None
                    if self.cloud.is_sound(row.name) and not self.cloud.lands_late(row.name):
                        raise Objection("nothing_wrong", f"{row.name} is deleted: {why.message}", [row.name])
                case s.SliceDeleting(why) if why.code == "silent":
                    over_ms = self._lease_over_ms(row, decided_ms)
                    if over_ms > decided_ms:
                        guesses[row.name] = over_ms
                case s.SliceDeleting(why) if why.code == "unknown":
                    if (
                        row.name in running
                        and row.group
                        and self._settings.groups[row.group].provider != "local"
                    ):
                        raise Objection(
                            "deleted_alive", f"{row.name} is deleted and programs run", [row.name]
                        )
                    self._check_unknown(row, decided_ms)
                case s.SliceDraining(why) if why.code == "idle" and row.name in running:
                    raise Objection("not_idle", f"{row.name} is given back as idle; it runs", [row.name])
                case _:
                    pass
        if guesses:
            self._check_guesses(rows, guesses, decided_ms)

    def _check_gone(self, row: Slice, running: set[str]) -> None:
        assert self.cloud is not None
        if self.cloud.is_there(row.name) and not self.cloud.lands_late(row.name):
            raise Objection("gone_but_there", f"{row.name} is GONE and the cloud has it", [row.name])
        if row.name in running:
            raise Objection("gone_but_there", f"{row.name} is GONE and programs run on it", [row.name])

    def _check_pace(self, row: Slice, decided_ms: int) -> None:
        group = self._settings.groups[row.group]
        times = self._requested.setdefault(group.account, [])
        times.append(decided_ms)
        times[:] = [at_ms for at_ms in times if at_ms > decided_ms - 60_000]
        # A project's limit holds whenever a minute begins, and whoever runs the controller.
        most = self._settings.creates_per_minute * (1 if group.is_cloud else 2)
        if len(times) > most:
            raise Objection("too_fast", f"{len(times)} slices of {group.account} within a minute", [row.name])

    def _check_back_off(self, row: Slice, decided_ms: int) -> None:
        """After a refusal nothing is asked for there for a while, unless something came to work."""
        self._asked[row.name] = decided_ms
        failed_ms = self._failed.get((row.group, row.zone))
        if failed_ms is not None and decided_ms - failed_ms < LEAST_BACK_OFF_MS:
            words = f"{row.name} is asked for {decided_ms - failed_ms} ms after the last failed in {row.zone}"
            raise Objection("no_back_off", words, [row.name])

    def _note_refused(self, was: Slice | None, row: Slice, decided_ms: int) -> None:
        """A refusal; or a request that waits in a line is withdrawn, which has to be its time."""
        where = (row.group, row.zone)
        self._deeds[f"slice refused: {row.state.reason.code}"] += 1
        asked_ms = self._asked.get(row.name)
        # What was asked for before the last failure says nothing new.
        if asked_ms is not None and asked_ms > self._failed.get(where, -1):
            self._failed[where] = decided_ms
        group = self._settings.groups[row.group]
        served = was is None or not isinstance(was.state, s.SliceRequesting)
        if asked_ms is None or served or "not served" not in row.state.reason.message:
            return
        self._deeds["request withdrawn from a line"] += 1
        if decided_ms - asked_ms <= (group.queued_for_ms or 0):
            raise Objection("withdrawn", f"{row.name} after {decided_ms - asked_ms} ms", [row.name])

    def check_host(self, place: Place, running: Sequence[AttemptId], rows: Rows) -> None:
        """A program has started: what runs there now has room, and belongs there."""
        row = rows.slices.get(place.slice_name)
        if row is None:
            return
        group, offer = self._settings.groups[row.group], self._settings.groups[row.group].host_resources
        specs = [rows.jobs[attempt.job_id].spec for attempt in running if attempt.job_id in rows.jobs]
        used = add_up(spec.resources for spec in specs)
        too_much = offer.memory_bytes and used.memory_bytes > offer.memory_bytes
        if too_much or used.cpu_millis > offer.cpu_millis:
            raise Objection("oversubscribed", f"{len(specs)} programs on {place}", [place.slice_name])
        asked = {spec.accelerator for spec in specs}
        if asked - {group.accelerator} or (group.accelerator and len(specs) > 1):
            words = f"{len(specs)} programs for {sorted(asked)} on {place}, which has {group.accelerator!r}"
            raise Objection("wrong_host", words, [place.slice_name])

    # -- silence ---------------------------------------------------------------------

    def _lease_over_ms(self, row: Slice, decided_ms: int) -> int:
        """When the lease of a slice is over that is deleted as silent; before that takes a good reason."""
        group = self._settings.groups[row.group]
        places = [Place(row.name, index) for index in range(row.hosts)]
        silent_ms = max(decided_ms - self._last_word_ms(place, decided_ms) for place in places) + SLACK_MS
        lease_over_ms = group.task_lease_ms * 105 // 100 + 5_000
        self._deeds[
            f"silent slice deleted {'after' if silent_ms > lease_over_ms else 'within'} its lease"
        ] += 1
        if silent_ms > lease_over_ms:
            return 0
        words = f"{row.name} is deleted after {silent_ms} ms of silence"
        if group.fence_after_ms is None or silent_ms <= group.fence_after_ms:
            raise Objection("too_soon", f"{words}; its agents spoke since", [row.name])
        if decided_ms - _last(self._steady, decided_ms) + SLACK_MS <= group.task_lease_ms:
            raise Objection("own_outage", f"{words}, soon after a start or stall of ours", [row.name])
        return decided_ms + lease_over_ms - silent_ms

    def _last_word_ms(self, place: Place, decided_ms: int) -> int:
        return max(_last(self._contact.get(place, ()), decided_ms), _last(self._steady, decided_ms))

    def _check_guesses(self, rows: Rows, guesses: Mapping[str, int], decided_ms: int) -> None:
        """So many silent slices were deleted within their lease: more at once mean our own outage."""
        present = [v for v in rows.slices.values() if not isinstance(v.state, s.SliceGone)]
        serving = sum(1 for v in present if isinstance(v.state, s.SLICE_IN_SERVICE)) + len(guesses)
        before = sum(1 for v in present if decided_ms < self._guessed.get(v.name, 0))
        for name, over_ms in guesses.items():
            self._guessed[name] = over_ms
        if len(guesses) + before > max(2, serving // 10):
            words = f"{list(guesses)} are deleted on suspicion while {before} are being so, of {serving}"
            raise Objection("mass_suspicion", words, guesses)

    # -- slices that the store did not know --------------------------------------------

    def _check_unknown(self, row: Slice, decided_ms: int) -> None:
        self._deeds["unknown slice deleted"] += 1
        listed = self._listed.get(row.name)
        wait_ms = max(self._patience_ms(group) for group in self._groups(row))
        if listed is None or decided_ms + SLACK_MS - listed.first_ms < wait_ms:
            raise Objection("unknown_too_soon", f"{row.name} is deleted, its agents had no time", [row.name])
        if listed.last_ms - listed.first_ms + SLACK_MS < STANDS_MS:
            raise Objection("unknown_too_soon", f"{row.name} is deleted, listed only once", [row.name])
        heard_ms = min(self._heard.get(row.name, {}).values(), default=decided_ms)
        if row.group and decided_ms - heard_ms > HANDLED_MS:
            raise Objection("deleted_though_heard", f"{row.name} is deleted, its agent dialled", [row.name])
        self._unknown_deleted += 1
        most = max(2, sum(self._sizes.values()) // 10)
        if self._unknown_deleted > most:
            words = f"{self._unknown_deleted} unknown slices are deleted, at most {most}"
            raise Objection("unknown_cap", words, [row.name])

    def _groups(self, row: Slice) -> list[GroupPolicy]:
        """Of its group; nobody can know the times of one that is not configured any more."""
        known = self._settings.groups.get(row.group)
        return [known] if known is not None else list(self._configured)

    def _patience_ms(self, group: GroupPolicy) -> int:
        return max(group.boot_timeout_ms, group.task_lease_ms)


def _last(times: Iterable[int], decided_ms: int) -> int:
    """The last of these that a decision could know of: until its commit more may happen."""
    return max((at_ms for at_ms in times if at_ms <= decided_ms), default=0)
