"""Incomplete memory (DESIGN 3): a store that was lost or restored does not know what may still run.

Until every place that anybody knows of has reported or is gone, the jobs that
were there before this start are held: nothing that may still run is placed.
"""

from __future__ import annotations

from dataclasses import replace

from iris_controller.core.ends import review_gang
from iris_controller.core.entities import Slice
from iris_controller.core.events import AgentHello
from iris_controller.core.explain import how_many
from iris_controller.core.values import Now, Place, Reason
from iris_controller.core.world import World
from iris_platform.names import parse_slice_name

# Places that a reason names; the rest are counted.
PLACES_NAMED = 3


def begin(world: World, why: Reason, now: Now) -> None:
    """The store is known not to know everything."""
    if world.cluster.incomplete is not None:
        return
    world.put_cluster(replace(world.cluster, incomplete=why))
    world.record(now, "cluster", "", "INCOMPLETE", why)
    hold_jobs(world)


def hold_jobs(world: World) -> None:
    """Holds every unfinished job that an agent may know more of than we do."""
    for job in world.jobs.values():
        if job.order <= world.restored_order and not world.statuses[job.job_id].state.is_terminal:
            world.queue.hold(job.spec.shape, job.turn)
            world.broken_gangs.pop(job.job_id, None)


def note_hello(world: World, event: AgentHello, now: Now) -> None:
    """An agent that was given a commit number which we do not have proves that commits were lost."""
    world.reported[event.place] = None
    if event.highest_commit <= max(event.our_commit, world.cluster.commits_lost):
        return
    why = f"{event.place.slice_name} was told of commit {event.highest_commit}, ours is {event.our_commit}"
    world.put_cluster(replace(world.cluster, commits_lost=event.highest_commit))
    begin(world, Reason("store_restored", why), now)


def awaited(world: World) -> list[str]:
    """Who has to report, or to be gone, before memory is complete: zones, unknown slices, places."""
    zones = [
        f"{provider} zone {zone}" for provider, zone in world.zones if (provider, zone) not in world.shown
    ]
    places = [
        place.name
        for slice_ in world.present_slices()
        for place in world.places(slice_)
        if is_awaited(world, place)
    ]
    return [*zones, *world.unknown, *places]


def is_awaited(world: World, place: Place) -> bool:
    """Whether a place may run what the store does not know: it is given nothing, and is not idle."""
    return (
        world.cluster.incomplete is not None
        and place not in world.reported
        and _is_older(world, place.slice_name)
    )


def may_run_more(world: World, slice_: Slice) -> bool:
    """Whether any place of a slice may run what the store does not know."""
    if world.cluster.incomplete is None:
        return False
    return any(is_awaited(world, place) for place in world.places(slice_))


def _is_older(world: World, name: str) -> bool:
    """Whether a slice was asked for before this start, so that it may run what we do not know."""
    parts = parse_slice_name(name)
    return parts is None or parts.epoch < world.epoch


def why_held(world: World) -> Reason | None:
    """What the held jobs wait for; None while memory is complete."""
    incomplete = world.cluster.incomplete
    if incomplete is None:
        return None
    names = awaited(world)
    shown = ", ".join(names[:PLACES_NAMED]) + (", …" if len(names) > PLACES_NAMED else "")
    return Reason(
        "recovering",
        f"the store does not know all that may run ({incomplete.message});"
        f" waits for {how_many(len(names), 'report')}: {shown}",
    )


def tick(world: World, now: Now) -> None:
    """Ends the recovery once nobody is awaited any more."""
    if world.cluster.incomplete is None or awaited(world):
        return
    world.put_cluster(replace(world.cluster, incomplete=None))
    world.record(now, "cluster", "", "COMPLETE", Reason("", "every place has reported or is gone"))
    for job_id in list(world.queue.held):
        job = world.jobs[job_id]
        world.queue.unhold(job.spec.shape, job.turn)
        world.touched_jobs[job_id] = None
        if job.spec.is_gang:
            review_gang(world, job, now)
    world.must_decide = True
