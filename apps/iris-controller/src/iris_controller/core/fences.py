"""The provider's word as a fence: a machine that does not run, asked for by name, runs no task.

On a cloud the end of a lease proves nothing by itself, since a paused guest's clock may
stand still. That a machine was preempted or stopped does, together with its agent's
silence. So tasks need not wait until its slice is deleted, which can take days.
"""

from __future__ import annotations

from iris_controller.core.attempts import lose
from iris_controller.core.entities import Slice
from iris_controller.core.states import GoneCause, SliceDeleting
from iris_controller.core.values import Now
from iris_controller.core.world import World
from iris_platform.base import SliceCloudState, SliceInfo, VmState

# What was sent before a machine stopped has come in by then.
IN_FLIGHT_MS = 5_000


def are_missing(world: World, slice_: Slice) -> bool:
    """Whether tasks of a slice live at places whose machines are not known to stand still."""
    return any(world.live.get(place) and place not in world.asked.down for place in world.places(slice_))


def note(world: World, slice_: Slice, seen: SliceInfo, now: Now) -> None:
    """Takes a provider's word, asked by name, on the machines of a cloud slice that is being deleted."""
    group = world.group(slice_)
    if group is None or not group.is_cloud or not isinstance(slice_.state, SliceDeleting):
        return
    for place in world.places(slice_):
        if not _is_down(slice_, seen, place.worker_index):
            world.asked.down.pop(place, None)
        elif world.live.get(place):
            world.asked.down.setdefault(place, now.boot_ms)
    settle(world, now)


def _is_down(slice_: Slice, seen: SliceInfo, index: int) -> bool:
    if seen.state is SliceCloudState.PREEMPTED:
        return True
    # With a machine missing it is not said which of them stopped.
    return len(seen.vms) == slice_.hosts and seen.vms[index].state is VmState.TERMINATED


def settle(world: World, now: Now) -> None:
    """Ends what ran on machines that do not run, once their agents are silent too."""
    for place, said_ms in list(world.asked.down.items()):
        contact_ms = world.clocks.contact.get(place, said_ms)
        if contact_ms > said_ms + IN_FLIGHT_MS:
            # Somebody started it again.
            del world.asked.down[place]
        elif now.boot_ms - contact_ms > world.settings.suspect_after_ms:
            state = world.slices[place.slice_name].state
            assert isinstance(state, SliceDeleting), (
                "nothing else is noted, and one that is gone is forgotten"
            )
            for attempt_id in list(world.live.get(place, ())):
                is_preempted = state.cause is GoneCause.PREEMPTED
                lose(world, attempt_id, state.reason, now, preempted=is_preempted)
            del world.asked.down[place]
