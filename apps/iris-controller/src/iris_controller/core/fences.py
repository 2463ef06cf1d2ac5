"""The provider's word as a fence: a machine that does not run, asked for by name, runs no task.

On a cloud the end of a lease proves nothing by itself, since a paused guest's clock may
stand still. That a machine was preempted or stopped does, together with its agent's
silence. So tasks need not wait until its slice is deleted, which can take days.
"""

from __future__ import annotations

from iris_controller.core.attempts import lose
from iris_controller.core.entities import Slice
from iris_controller.core.fleeting import Down
from iris_controller.core.values import Now, Reason
from iris_controller.core.world import World
from iris_platform.base import SliceCloudState, SliceInfo, VmState

# What was sent before a machine stopped has come in by then.
IN_FLIGHT_MS = 5_000


def note(world: World, slice_: Slice, seen: SliceInfo, now: Now) -> None:
    """Takes a provider's word, asked by name, on the machines of a cloud slice."""
    group = world.group(slice_)
    if group is None or not group.is_cloud:
        return
    for place in world.places(slice_):
        why = _why_down(slice_, seen, place.worker_index)
        if why is None:
            world.asked.down.pop(place, None)
        elif world.live.get(place):
            is_preempted = seen.state is SliceCloudState.PREEMPTED
            world.asked.down.setdefault(place, Down(why, is_preempted, now.boot_ms))
    settle(world, now)


def _why_down(slice_: Slice, seen: SliceInfo, index: int) -> Reason | None:
    if seen.state is SliceCloudState.PREEMPTED:
        return Reason("preempted", seen.detail or "the provider took it back")
    # With a machine missing it is not said which of them stopped.
    if len(seen.vms) == slice_.hosts and seen.vms[index].state is VmState.TERMINATED:
        return Reason("host_dead", seen.detail or f"host {seen.vms[index].vm_id} is terminated")
    return None


def settle(world: World, now: Now) -> None:
    """Ends what ran on machines that do not run, once their agents are silent too."""
    for place, down in list(world.asked.down.items()):
        contact_ms = world.clocks.contact.get(place, down.said_ms)
        if contact_ms > down.said_ms + IN_FLIGHT_MS:
            # Somebody started it again.
            del world.asked.down[place]
        elif now.boot_ms - contact_ms > world.settings.suspect_after_ms:
            for attempt_id in list(world.live.get(place, ())):
                lose(world, attempt_id, down.why, now, preempted=down.is_preempted)
            del world.asked.down[place]
