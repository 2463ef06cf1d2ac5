"""The one door: every change of the world goes through `step`.

A batch is any number of events, then `Decide`: first tasks are put on the
present fleet, then the fleet is adjusted to what is left, then each agent is
told what changed for it, in one message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import assert_never

from iris_controller.core import attempts, jobs, leases, overdue, recovery, slices, standings, workers
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.autoscaler import ScalingPlan, plan_scaling
from iris_controller.core.effects import Answer, Done, Effect, Release, SendCommands, StopOrder
from iris_controller.core.scaling_group import GroupView, SliceView
from iris_controller.core.scheduler import Room, place, room
from iris_controller.core.states import WorkerState
from iris_controller.core.values import NO_REASON, Lot, Now, Reason, TaskId
from iris_controller.core.world import World


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one event led to: effects for after the commit, and the caller's answer."""

    effects: list[Effect]
    answer: Answer | None = None


def step(world: World, event: e.Event, now: Now) -> Outcome:
    """Applies one event to the world.

    Raises:
        IllegalMove: a rule asked for a move that its table does not have.
    """
    match event:
        case e.AgentBeat():
            return Outcome(workers.beat(world, event, now))
        case e.AgentReports():
            return Outcome(workers.reports(world, event, now))
        case e.JobSubmitted():
            return Outcome([], jobs.submit(world, event, now))
        case e.JobStopRequested():
            return Outcome([], jobs.request_stop(world, event, now))
        case e.ShutdownBegun() | e.ShutdownEnded():
            return _shutdown(world, event, now)
        case e.AgentHello():
            return Outcome(workers.hello(world, event, now))
        case e.AgentRefused(place, reason):
            return Outcome(workers.refused(world, place, reason, now))
        case e.AgentNotice():
            return Outcome(workers.noticed(world, event, now))
        case e.SessionClosed():
            return Outcome(workers.session_closed(world, event, now))
        case e.LogStored():
            attempts.log_stored(world, event.id)
            return Outcome([], Done())
        case e.CreateAnswered():
            return Outcome(slices.create_answered(world, event, now))
        case e.DeleteAnswered():
            return Outcome(slices.delete_answered(world, event, now))
        case e.SliceLooked():
            return Outcome(slices.looked(world, event, now))
        case e.ZoneListed():
            return Outcome(slices.zone_listed(world, event, now))
        case e.StoreFoundOlder(why):
            recovery.begin(world, Reason("store_lost", why), now)
            return Outcome([])
        case e.Tick():
            return Outcome(_tick(world, now))
        case e.Decide():
            return Outcome(_decide(world, now))
        case _:
            assert_never(event)


def _shutdown(world: World, event: e.ShutdownBegun | e.ShutdownEnded, now: Now) -> Outcome:
    match event:
        case e.ShutdownBegun(reason, zones) if zones:
            paused = tuple(sorted({*world.cluster.paused_zones, *zones}))
            world.put_cluster(replace(world.cluster, paused_zones=paused))
            for zone in zones:
                world.record(now, "zone", zone, "PAUSED", reason)
            return Outcome(slices.give_back(world, reason, zones, now), Done())
        case e.ShutdownBegun(reason):
            if not world.stopping:
                world.put_cluster(replace(world.cluster, stopping=reason))
                world.record(now, "cluster", "", "STOPPING", reason)
            return Outcome(slices.give_back_stopped(world, now), Done())
        case e.ShutdownEnded():
            standings.try_mended(world, now)
            if world.stopping or world.cluster.paused_zones:
                world.put_cluster(replace(world.cluster, stopping=None, paused_zones=()))
                world.must_decide = True
            return Outcome([], Done())


def _tick(world: World, now: Now) -> list[Effect]:
    interval = world.settings.evaluation_interval_ms
    planned = world.clocks.planned
    if planned is None or now.boot_ms - planned >= interval or _idle_became_due(world, planned, now):
        world.must_decide = True
    if any(world.asked.creating[account].tokens(now.boot_ms) for account in world.asked.held_back):
        world.must_decide = True
    leases.note_stall(world, now)
    recovery.tick(world, now)
    return [*leases.mark_silent(world, now), *overdue.tick(world, now)]


def _idle_became_due(world: World, planned: int, now: Now) -> bool:
    """Whether a slice has been idle for long enough, and was not when that was last decided."""
    for name, since in world.clocks.idle_since.items():
        group = world.group(world.slices[name])
        if group is not None and planned < since + group.idle_timeout_ms <= now.boot_ms:
            return True
    return False


def _decide(world: World, now: Now) -> list[Effect]:
    effects: list[Effect] = []
    if world.must_decide:
        world.must_decide = False
        _schedule(world, now)
        _note_idle(world, now)
        effects += _scale(world, now)
    for job_id in list(world.touched_jobs):
        jobs.refresh_status(world, job_id, now)
    world.touched_jobs.clear()
    return effects + _flush(world)


def _schedule(world: World, now: Now) -> None:
    if not world.queue or world.stopping:
        return
    for placed in place(world.queue, _rooms(world), lambda name: _lot_of(world, name)):
        for index in list(islice(world.queue.waiting(placed.job_id), placed.tasks)):
            attempts.assign(world, TaskId(placed.job_id, index), placed.place, now)


def _lot_of(world: World, name: str) -> Lot:
    slice_ = world.slices[name]
    return Lot(slice_.group, slice_.zone)


def _rooms(world: World) -> list[Room]:
    """Free capacity, oldest slices first, so that younger ones can become idle."""
    rooms: list[Room] = []
    for slice_ in world.present_slices():
        group = world.group(slice_)
        if group is None or not isinstance(slice_.state, s.SliceReady) or workers.is_leaving(world, slice_):
            continue
        for where in world.places(slice_):
            worker = world.workers[where]
            if worker.state is WorkerState.HEALTHY and not recovery.is_awaited(world, where):
                used, is_taken = world.used(where), world.is_taken(where)
                rooms.append(room(where, worker.capacity, used, group.accelerator, is_taken=is_taken))
    return rooms


def _note_idle(world: World, now: Now) -> None:
    """A slice is idle from the first decision that sees no task on it.

    Logs that are still coming in do not count: the drain waits for them, with a bound.
    """
    idle = world.clocks.idle_since
    for slice_ in world.present_slices():
        busy = world.has_tasks(slice_) or recovery.may_run_more(world, slice_)
        if isinstance(slice_.state, s.SliceReady) and not busy:
            idle.setdefault(slice_.name, now.boot_ms)
        else:
            idle.pop(slice_.name, None)


def _scale(world: World, now: Now) -> list[Effect]:
    world.clocks.planned = now.boot_ms
    if world.stopping:
        _rest(world)
        return slices.give_back_stopped(world, now)
    tokens = {account: bucket.tokens(now.boot_ms) for account, bucket in world.asked.creating.items()}
    # Nobody else can use what was left free.
    is_wide = any(shape.slices > 1 for shape in world.queue.turns)
    free = _rooms(world) if is_wide else ()
    views = _group_views(world, now)
    world.asked.in_line = {v.name: v.in_line for view in views for v in view.slices if v.in_line != NO_REASON}
    return _carry_out(world, plan_scaling(world.queue, views, tokens, now, free), now)


def _rest(world: World) -> None:
    """While the cluster is stopped nothing is asked for: no back-off is waited out, and none is told."""
    world.waits = {}
    for name in world.settings.groups:
        words = f"{name} asks for nothing until the next cluster start"
        world.availability[name] = ("PAUSED", Reason("paused", words))
        world.wanted[name] = 0


def _group_views(world: World, now: Now) -> list[GroupView]:
    by_group: dict[str, list[SliceView]] = {name: [] for name in world.settings.groups}
    for slice_ in world.present_slices():
        since = world.clocks.idle_since.get(slice_.name)
        idle_ms = None if since is None else now.boot_ms - since
        if slice_.group in by_group:
            refused = slice_.name in world.asked.refused
            in_line = slices.why_in_line(world, slice_, now)
            seen = SliceView(slice_.name, slice_.state, idle_ms, refused, slice_.zone, in_line)
            by_group[slice_.group].append(seen)
    views: list[GroupView] = []
    for name, policy in world.settings.groups.items():
        its = standings.of_zones(world, policy, now)
        views.append(GroupView(policy, its, by_group[name], world.cluster.paused_zones))
    return views


def _carry_out(world: World, plan: ScalingPlan, now: Now) -> list[Effect]:
    effects: list[Effect] = []
    for create in plan.creates:
        group = world.settings.groups[create.group]
        effects += slices.request(world, group, create.zone, create.reason, now)
    for drain in plan.drains:
        slices.drain(world, world.slices[drain.slice_name], drain.reason, now)
    for name, report in plan.groups.items():
        before = world.availability.get(name)
        if before is None or before[0] != report.availability:
            world.record(now, "scale_group", name, report.availability, report.reason)
        world.availability[name] = (report.availability, report.reason)
        world.wanted[name] = report.wanted
    world.waits = dict(plan.waits)
    world.asked.held_back = plan.held_back
    return effects


def _flush(world: World) -> list[Effect]:
    """One message to each agent with something to do."""
    effects: list[Effect] = []
    for session in world.sessions.values():
        if session.start or session.stop or session.release:
            stops = tuple(StopOrder(attempt, why) for attempt, why in session.stop.items())
            releases = tuple(Release(attempt, where) for attempt, where in session.release.items())
            effects.append(SendCommands(session.session_id, tuple(session.start), stops, releases))
            session.start.clear()
            session.stop.clear()
            session.release.clear()
    return effects
