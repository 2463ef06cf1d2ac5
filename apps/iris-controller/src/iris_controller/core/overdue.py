"""What time does to slices: those on their way are asked for again, looked at, given up, or forgotten."""

from __future__ import annotations

from iris_controller.core import calls, slices, unknown
from iris_controller.core import states as s
from iris_controller.core.effects import Effect
from iris_controller.core.entities import Slice
from iris_controller.core.states import GoneCause
from iris_controller.core.values import Now, Reason
from iris_controller.core.world import World

DAY_MS = 24 * 3600 * 1_000
# How long a name that is GONE is remembered, so that what a slow cloud makes
# of it after all is deleted and not adopted; longer than a worker's certificate
# lives, with which its agent could come back.
TOMBSTONE_MS = 8 * DAY_MS
# How long a drained slice may take to hand over its last logs, beyond the
# grace that its tasks have to end.
DRAIN_MARGIN_MS = 10_000


def tick(world: World, now: Now) -> list[Effect]:
    """Time passes: what is on its way is looked at, asked for again, or given up."""
    effects = slices.give_back_stopped(world, now)
    for slice_ in list(world.present_slices()):
        age_ms = now.boot_ms - world.clocks.slice_since.setdefault(slice_.name, now.boot_ms)
        match slice_.state:
            case s.SliceRequesting() | s.SliceBooting() | s.SliceInitializing():
                effects += _tick_coming(world, slice_, now)
            case s.SliceReady() if world.group(slice_) is None:
                why = Reason("group_removed", f"{slice_.group} is no longer configured")
                slices.drain(world, slice_, why, now)
            case s.SliceDraining(why):
                grace_ms = world.settings.stop_grace_ms + DRAIN_MARGIN_MS
                if not world.is_busy(slice_) or age_ms > grace_ms:
                    effects += slices.delete(world, slice_, why, GoneCause.DELETED, now)
            case s.SliceDeleting():
                if calls.is_due(world, slice_, now):
                    effects += calls.delete(world, slice_, now)
            case _:
                pass
    _forget_tombstones(world, now)
    return effects + unknown.tick(world, now) + calls.list_zones(world, now)


def _forget_tombstones(world: World, now: Now) -> None:
    """A request that waits in a line may be served until its validity is over, and is looked for a day longer."""
    in_line_ms = max((g.queued_for_ms or 0 for g in world.settings.groups.values()), default=0)
    kept_ms = max(TOMBSTONE_MS, in_line_ms + DAY_MS)
    while (oldest := next(iter(world.tombstones), None)) is not None:
        if now.wall_ms - oldest.changed_ms <= kept_ms:
            return
        world.forget_slice(oldest.name)


def _tick_coming(world: World, slice_: Slice, now: Now) -> list[Effect]:
    group = world.group(slice_)
    if group is None:
        return slices.give_up_unconfigured(world, slice_, now)
    if slices.is_overdue(world, slice_, now):
        # A time-out means to look; what the provider then says decides (`slices.looked`).
        return calls.look_last(world, slice_, now)
    if calls.is_told_by_lists(world, group, slice_) or not calls.is_due(world, slice_, now):
        return []
    if isinstance(slice_.state, s.SliceRequesting):
        # The same name twice is one slice, so a lost answer is settled by asking again.
        return calls.create_again(world, slice_, now)
    return calls.look(world, [slice_], now)
