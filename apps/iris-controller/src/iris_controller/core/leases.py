"""Leases and silence (DESIGN 7): what the time since a worker's last word allows us to conclude.

Silence makes a worker SUSPECT and nothing more; an attempt is retried only
behind a fence. Times are ours: on the boot clock, from our own handling.
"""

from __future__ import annotations

from dataclasses import replace

from iris_controller.core import calls, fences, slices
from iris_controller.core import states as s
from iris_controller.core.attempts import lose
from iris_controller.core.effects import Effect
from iris_controller.core.entities import GroupPolicy, Slice
from iris_controller.core.explain import duration
from iris_controller.core.states import SLICE_COMING, GoneCause, WorkerState
from iris_controller.core.values import Now, Place, Reason
from iris_controller.core.world import World

# DESIGN 7: the controller's lease is longer than the agent's by 5 % and 5 s.
MARGIN_MS = 5_000
# Ticks come every quarter second; a gap like this was a stall of our own.
STALL_MS = 2_000
# Slices that may be deleted on suspicion at once: so many, or this share of the fleet.
LEAST_SUSPECTS = 2
SUSPECT_SHARE = 0.1
# Of one that was silent when the controller before us ended: how long, nobody has measured.
UNHEARD = Reason("unheard", "silent before this controller's start, and not heard since")
LISTENED_TO = (WorkerState.HEALTHY, WorkerState.SUSPECT)


def lease_over_ms(task_lease_ms: int) -> int:
    """How long after its last word an agent has certainly ended its tasks by itself."""
    return task_lease_ms + task_lease_ms // 20 + MARGIN_MS


def has_expired(world: World, place: Place, now: Now) -> bool:
    """Whether a place's lease and its margin have passed."""
    lease_ms = world.lease_ms(world.slices[place.slice_name])
    return now.boot_ms - world.clocks.contact.get(place, now.boot_ms) > lease_over_ms(lease_ms)


def note_stall(world: World, now: Now) -> None:
    """After a stall of our own nobody is late: everybody's time starts again."""
    clocks = world.clocks
    last, clocks.ticked = clocks.ticked, now.boot_ms
    if last is None or now.boot_ms - last <= STALL_MS:
        return
    why = Reason("stalled", f"the controller did not run for {duration(now.boot_ms - last)}")
    world.record(now, "cluster", "", "STALLED", why)
    clocks.steady_since = now.boot_ms
    for place in clocks.contact:
        clocks.contact[place] = now.boot_ms
    for name, known in world.unknown.items():
        world.unknown[name] = replace(known, first_seen_ms=now.boot_ms)
    for slice_ in world.present_slices():
        if isinstance(slice_.state, SLICE_COMING):
            clocks.slice_since[slice_.name] = now.boot_ms


def mark_silent(world: World, now: Now) -> list[Effect]:
    """Makes workers SUSPECT that were silent for `suspect_after`; looks for a fence for them."""
    suspects: dict[str, int] = {}
    for place, contact_ms in world.clocks.contact.items():
        silent_ms = now.boot_ms - contact_ms
        worker = world.workers[place]
        if silent_ms <= world.settings.suspect_after_ms or worker.state not in LISTENED_TO:
            continue
        if worker.state is WorkerState.HEALTHY or worker.reason == UNHEARD:
            why = Reason("silent", f"no contact for {duration(silent_ms)}")
            world.put_worker(replace(worker, state=WorkerState.SUSPECT, reason=why))
            world.record(now, "worker", place.name, "SUSPECT", why)
        suspects[place.slice_name] = max(silent_ms, suspects.get(place.slice_name, 0))
    fences.settle(world, now)
    effects = _fence(world, suspects, now)
    # What is being deleted is looked at when its deletion is asked for again.
    left = [world.slices[name] for name in suspects]
    return effects + calls.look_into(
        world, [v for v in left if not isinstance(v.state, s.SliceDeleting)], now
    )


def _fence(world: World, suspects: dict[str, int], now: Now) -> list[Effect]:
    """Gets a fence for slices that have been silent for too long."""
    effects: list[Effect] = []
    guesses: list[tuple[Slice, int]] = []
    for name, silent_ms in suspects.items():
        slice_ = world.slices[name]
        group = world.group(slice_)
        if group is None or not isinstance(slice_.state, s.SliceReady):
            continue
        if silent_ms > lease_over_ms(group.task_lease_ms):
            effects += _expire(world, slice_, group, silent_ms, now)
        elif _is_suspicious(world, group, silent_ms, now):
            guesses.append((slice_, silent_ms))
    if not guesses:
        return effects
    fleet = sum(1 for v in world.present_slices() if isinstance(v.state, s.SLICE_IN_SERVICE))
    if _count_suspects(world, suspects) <= max(LEAST_SUSPECTS, int(SUSPECT_SHARE * fleet)):
        for slice_, silent_ms in guesses:
            effects += _delete(world, slice_, silent_ms, now)
    return effects


def _count_suspects(world: World, suspects: dict[str, int]) -> int:
    """Silent slices within their lease, and those that are being deleted for it, even if they spoke since.

    All of them, not only those whose time is up: an outage of ours makes
    everybody late, but nobody in the same moment. One that speaks again was
    suspected wrongly, and goes nevertheless.
    """
    count = 0
    for slice_ in world.present_slices():
        group, state = world.group(slice_), slice_.state
        suspected = slice_.name in suspects and isinstance(state, s.SLICE_IN_SERVICE)
        deleted_for_it = isinstance(state, s.SliceDeleting) and state.reason.code == "silent"
        silent_ms = suspects.get(slice_.name, 0)
        within = group is not None and silent_ms <= lease_over_ms(group.task_lease_ms)
        count += within and (suspected or deleted_for_it)
    return count


def _is_suspicious(world: World, group: GroupPolicy, silent_ms: int, now: Now) -> bool:
    """Whether silence that is no proof is a reason to delete, with ourselves above suspicion."""
    steady_ms = now.boot_ms - world.clocks.steady_since
    fence_ms = group.fence_after_ms
    return fence_ms is not None and silent_ms > fence_ms and steady_ms > group.task_lease_ms


def _expire(world: World, slice_: Slice, group: GroupPolicy, silent_ms: int, now: Now) -> list[Effect]:
    """Its lease is over, so its tasks have ended; whether that is a fence depends on its group."""
    if group.fence_after_ms is None:
        why = Reason("lease_expired", f"its host was silent for {duration(silent_ms)}, longer than its lease")
        for place in world.places(slice_):
            if has_expired(world, place, now):
                for attempt_id in list(world.live.get(place, ())):
                    lose(world, attempt_id, why, now)
    return _delete(world, slice_, silent_ms, now)


def _delete(world: World, slice_: Slice, silent_ms: int, now: Now) -> list[Effect]:
    """That it is gone will be the fence."""
    why = Reason("silent", f"a host was silent for {duration(silent_ms)}")
    return slices.condemn(world, slice_, why, GoneCause.FAILED, now)
