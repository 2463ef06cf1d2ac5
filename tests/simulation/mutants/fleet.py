"""Slices, the cloud, and how many of them there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from iris_controller.core import calls, leases, overdue, scaling_group, slices, standings, step
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.entities import Slice
from iris_controller.core.states import WorkerState
from iris_controller.core.values import Now
from iris_controller.core.world import World
from tests.simulation.mutants.registry import Patch, breaks_a_rule

# -- slices and the cloud -----------------------------------------------------------


@breaks_a_rule(seed=0)
def an_accepted_deletion_is_done(patch: Patch) -> None:
    def answered(world: World, event: e.DeleteAnswered, now: Now) -> list[fx.Effect]:
        slice_ = world.slices.get(event.slice_name)
        if slice_ is not None and event.error is None and isinstance(slice_.state, s.SliceDeleting):
            state = slice_.state
            slices._gone(world, slice_, s.SliceGone(state.reason, state.cause), now)
        return []

    patch.setattr(slices, "delete_answered", answered)


@breaks_a_rule(seed=4)
def absence_from_a_list_is_gone(patch: Patch) -> None:
    real = slices.zone_listed

    def listed(world: World, event: e.ZoneListed, now: Now) -> list[fx.Effect]:
        effects = real(world, event, now)
        seen = () if isinstance(event.seen, e.CallFailed) else [info.slice_id for info in event.seen]
        for effect in [x for x in effects if isinstance(x, fx.LookAtSlice) and x.slice_name not in seen]:
            effects += slices._absent(world, world.slices[effect.slice_name], now)
        return effects

    patch.setattr(slices, "zone_listed", listed)


@breaks_a_rule(seed=11)
def a_failed_look_is_absence(patch: Patch) -> None:
    real = slices.looked

    def looked(world: World, event: e.SliceLooked, now: Now) -> list[fx.Effect]:
        if isinstance(event.seen, e.CallFailed):
            event = replace(event, seen=None)
        return real(world, event, now)

    patch.setattr(slices, "looked", looked)


@breaks_a_rule(seed=15)
def tombstones_are_ignored(patch: Patch) -> None:
    real = slices._seen

    def seen(world: World, slice_: Slice, info: Any, now: Now) -> list[fx.Effect]:
        return [] if isinstance(slice_.state, s.SliceGone) else real(world, slice_, info, now)

    patch.setattr(slices, "_seen", seen)


@breaks_a_rule(seed=80)
def a_tombstone_is_looked_at(patch: Patch) -> None:
    def answered(world: World, event: e.DeleteAnswered, now: Now) -> list[fx.Effect]:
        slice_ = world.slices.get(event.slice_name)
        if slice_ is None or event.error is not None:
            return []
        return calls.look(world, [slice_], now, at_once=True)

    patch.setattr(slices, "delete_answered", answered)


@breaks_a_rule(seed=14)
def deletions_are_asked_for_once(patch: Patch) -> None:
    real = overdue.tick

    def tick(world: World, now: Now) -> list[fx.Effect]:
        known = [name for name, v in world.slices.items() if isinstance(v.state, s.SliceDeleting)]
        return [x for x in real(world, now) if not (isinstance(x, fx.DeleteSlice) and x.slice_name in known)]

    patch.setattr(overdue, "tick", tick)


@breaks_a_rule(seed=8)
def looks_keep_deletions_waiting(patch: Patch) -> None:
    real = leases.mark_silent

    def mark(world: World, now: Now) -> list[fx.Effect]:
        suspects = {
            w.place.slice_name: None for w in world.workers.values() if w.state is WorkerState.SUSPECT
        }
        return [*real(world, now), *calls.look(world, [world.slices[name] for name in suspects], now)]

    patch.setattr(leases, "mark_silent", mark)


@breaks_a_rule(seed=1)
def what_is_being_deleted_takes_no_room(patch: Patch) -> None:
    real = scaling_group.headroom

    def headroom(view: Any, now: Now) -> Any:
        return real(replace(view, slices=view.in_service), now)

    patch.setattr("iris_controller.core.autoscaler.headroom", headroom)


@breaks_a_rule(seed=2)
def a_busy_slice_is_idle(patch: Patch) -> None:
    real = step._note_idle

    def note(world: World, now: Now) -> None:
        since = dict(world.clocks.idle_since)
        real(world, now)
        for slice_ in world.slices.values():
            if isinstance(slice_.state, s.SliceReady):
                world.clocks.idle_since[slice_.name] = since.get(slice_.name, now.boot_ms)

    patch.setattr(step, "_note_idle", note)


@breaks_a_rule(seed=45)
def back_off_runs_on_the_wall_clock(patch: Patch) -> None:
    patch.setattr(standings, "_now", lambda world, standing, now: standing)
