"""The rules of slices: from the request to the word that they are gone.

Three types for one thing: `SliceInfo` is what a provider showed, `Slice` what
we believe, and a scaling plan what we want. A failed look changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from iris_controller.core import calls, fences, unknown
from iris_controller.core import states as s
from iris_controller.core.attempts import lose
from iris_controller.core.effects import (
    Effect,
    RefuseSession,
    StepDown,
)
from iris_controller.core.entities import GroupPolicy, Slice, Worker
from iris_controller.core.events import (
    CallFailed,
    CreateAnswered,
    DeleteAnswered,
    SliceLooked,
    ZoneListed,
)
from iris_controller.core.explain import duration, in_line
from iris_controller.core.moves import node_name
from iris_controller.core.orders import order_stop
from iris_controller.core.standings import note_failure, note_success
from iris_controller.core.states import GoneCause, WorkerState
from iris_controller.core.values import NO_REASON, Now, Place, Reason
from iris_controller.core.world import World
from iris_platform.base import LOG_FOLLOWS, Failure, SliceCloudState, SliceInfo, VmState
from iris_platform.names import is_ours, parse_slice_name, slice_name

# What a queued resource may be late by, after the end of its validity.
QUEUE_MARGIN_MS = 60_000


def request(world: World, group: GroupPolicy, zone: str, why: Reason, now: Now) -> list[Effect]:
    """Records a new slice's name and owner; the effect asks for it after the commit."""
    number = world.slice_numbers.get(group.name, 0) + 1
    world.slice_numbers[group.name] = number
    name = slice_name(world.settings.cluster_id, group.name, world.epoch, number)
    wanted = Slice(name, group.name, zone, group.hosts, s.SliceRequesting(why), now.wall_ms, now.wall_ms)
    world.put_slice(wanted, now)
    world.record(now, "slice", name, "REQUESTING", why)
    # The plan has counted the tokens.
    world.asked.creating[group.account].take(now.boot_ms)
    return [calls.create(world, wanted, now)]


def create_answered(world: World, event: CreateAnswered, now: Now) -> list[Effect]:
    """A creation was accepted, failed for good, or may have happened."""
    world.asked.unanswered.pop(event.slice_name, None)
    slice_ = world.slices.get(event.slice_name)
    if slice_ is None or not isinstance(slice_.state, s.SLICE_COMING):
        return []
    name, error = slice_.name, event.error
    if error is None:
        world.asked.accepted[name] = now.boot_ms
        return [] if calls.is_cloud(world, slice_) else calls.look(world, [slice_], now, at_once=True)
    if error.failure is Failure.RATE_LIMIT:
        # It did not happen: the same name is asked for again by `overdue`.
        world.asked.creations[name] = world.asked.creations.get(name, 1) - 1
        calls.slow_down(world, slice_, now)
        return []
    if error.failure is Failure.UNREACHABLE:
        # Not known to have failed, likewise.
        return []
    if error.failure is not Failure.START and not isinstance(slice_.state, s.SliceRequesting):
        # It exists, so it was made by an earlier call whose answer was lost.
        return []
    if error.failure is not Failure.START and world.asked.creations.get(name) == 1:
        # Nobody else can have made it.
        world.asked.refused[name] = None
    return _fail(world, slice_, Reason(error.failure.value, error.message), now)


def _fail(world: World, slice_: Slice, why: Reason, now: Now) -> list[Effect]:
    note_failure(world, slice_, why, now)
    return delete(world, slice_, why, GoneCause.FAILED, now)


def delete(world: World, slice_: Slice, why: Reason, cause: GoneCause, now: Now) -> list[Effect]:
    """Starts a deletion; it is followed until the provider does not know the name."""
    slice_ = replace(slice_, state=s.SliceDeleting(why, cause))
    world.put_slice(slice_, now)
    world.clocks.idle_since.pop(slice_.name, None)
    world.record(now, "slice", slice_.name, "DELETING", why)
    return calls.delete(world, slice_, now)


def delete_answered(world: World, event: DeleteAnswered, now: Now) -> list[Effect]:
    """An accepted deletion is looked after; a failed one is tried again by `overdue`."""
    world.asked.unanswered.pop(event.slice_name, None)
    slice_ = world.slices.get(event.slice_name)
    if slice_ is not None and event.error is not None and event.error.failure is Failure.RATE_LIMIT:
        calls.slow_down(world, slice_, now)
    # A tombstone is only looked for in lists, or looking and deleting would chase each other.
    if slice_ is None or event.error is not None or not isinstance(slice_.state, s.SliceDeleting):
        return []
    if calls.is_cloud(world, slice_):
        world.asked.let_go[slice_.name] = now.boot_ms
        return []
    return calls.look(world, [slice_], now, at_once=True)


def looked(world: World, event: SliceLooked, now: Now) -> list[Effect]:
    """What a provider said of one name."""
    slice_ = world.slices.get(event.slice_name)
    if slice_ is None and event.seen is None:
        world.unknown.pop(event.slice_name, None)
    if slice_ is None or isinstance(event.seen, CallFailed):
        return []
    is_last = world.asked.last_looks.pop(slice_.name, False) is None
    if event.seen is None:
        effects = _absent(world, slice_, now)
    else:
        effects = _seen(world, slice_, event.seen, now)
        fences.note(world, world.slices[slice_.name], event.seen, now)
    slice_ = world.slices[slice_.name]
    if is_last and isinstance(slice_.state, s.SLICE_COMING) and is_overdue(world, slice_, now):
        return [*effects, *_give_up(world, slice_, event, now)]
    return effects


def time_limit_ms(world: World, slice_: Slice) -> int:
    """How long a slice may take until all of its hosts have registered, or its request is served."""
    group = world.group(slice_)
    if group is None:
        return 0
    in_line_ms = (group.queued_for_ms or 0) + QUEUE_MARGIN_MS
    limit_ms = in_line_ms if calls.may_wait_in_line(world, slice_) else group.boot_timeout_ms
    # It may have been at work for long: its agents have the time of those that nobody knows.
    return max(limit_ms, group.task_lease_ms) if world.cluster.incomplete is not None else limit_ms


def why_in_line(world: World, slice_: Slice, now: Now) -> Reason:
    """How long a request waits that the provider has not served yet; nothing of any other slice."""
    group = world.group(slice_)
    if group is None or group.queued_for_ms is None or not isinstance(slice_.state, s.SliceRequesting):
        return NO_REASON
    return in_line(slice_.name, slice_.requested_ms + group.queued_for_ms, group.queued_for_ms, now)


def is_overdue(world: World, slice_: Slice, now: Now) -> bool:
    """Whether a coming slice has had its time."""
    age_ms = now.boot_ms - world.clocks.slice_since.setdefault(slice_.name, now.boot_ms)
    if world.group(slice_) is not None and world.cluster.incomplete is not None:
        age_ms = min(age_ms, now.boot_ms - world.clocks.steady_since)
    return age_ms > time_limit_ms(world, slice_)


def _give_up(world: World, slice_: Slice, event: SliceLooked, now: Now) -> list[Effect]:
    limit = duration(time_limit_ms(world, slice_))
    if calls.may_wait_in_line(world, slice_):
        why = Reason("stockout", f"was not served within {limit}")
    else:
        missing = len(world.missing(slice_))
        words = f"{missing} of {slice_.hosts} hosts did not register within {limit}"
        if isinstance(event.seen, SliceInfo) and event.seen.detail:
            words += f"; {event.seen.detail}"
        if event.logs:
            words += f"{LOG_FOLLOWS}\n{event.logs}"
        why = Reason("boot_timeout", words)
    return _fail(world, slice_, why, now)


def give_up_unconfigured(world: World, slice_: Slice, now: Now) -> list[Effect]:
    """A coming slice of a group that is not there any more is waited for by nobody."""
    return _fail(world, slice_, Reason("group_removed", f"{slice_.group} is no longer configured"), now)


def _absent(world: World, slice_: Slice, now: Now) -> list[Effect]:
    match slice_.state:
        case s.SliceDeleting(why, cause):
            return _gone(world, slice_, s.SliceGone(why, cause), now)
        case s.SliceRequesting() | s.SliceGone():
            # The creation may still be on its way: `overdue` asks again.
            world.asked.accepted.pop(slice_.name, None)
            return []
        case _:
            why = Reason("vanished", "the provider does not know it any more")
            return condemn(world, slice_, why, GoneCause.FAILED, now)


def condemn(world: World, slice_: Slice, why: Reason, cause: GoneCause, now: Now) -> list[Effect]:
    """Deletes a slice that can work no more, whatever its state."""
    if isinstance(slice_.state, s.SLICE_COMING):
        return _fail(world, slice_, why, now)
    return delete(world, slice_, why, cause, now)


def _gone(world: World, slice_: Slice, state: s.SliceGone, now: Now) -> list[Effect]:
    """The provider's word is a fence: what ran there has stopped. No agent of it is heard any more."""
    effects: list[Effect] = []
    for attempt_id in list(world.live_on(slice_)):
        lose(world, attempt_id, state.reason, now, preempted=state.cause is GoneCause.PREEMPTED)
    given_back = state.cause is GoneCause.DELETED
    for place in world.places(slice_):
        worker = world.workers.get(place)
        if worker is not None and worker.state not in (WorkerState.LOST, WorkerState.LEFT):
            end = WorkerState.LEFT if given_back else WorkerState.LOST
            world.put_worker(replace(worker, state=end, reason=state.reason))
        session = world.session(place)
        if session is not None:
            world.end_session(session)
            why = Reason("deleted_slice", f"{slice_.name} is gone")
            effects.append(RefuseSession(session.session_id, why))
        world.logs_due.pop(place, None)
        world.live.pop(place, None)
        world.ending.pop(place, None)
        world.clocks.contact.pop(place, None)
        world.asked.down.pop(place, None)
    world.put_slice(replace(slice_, state=state), now)
    for clock in (world.clocks.slice_since, world.clocks.looked, world.clocks.idle_since):
        clock.pop(slice_.name, None)
    world.asked.forget(slice_.name)
    world.record(now, "slice", slice_.name, "GONE", Reason(state.cause.value, state.reason.message))
    return effects


def _seen(world: World, slice_: Slice, seen: SliceInfo, now: Now) -> list[Effect]:
    match slice_.state:
        case s.SliceGone() if seen.state is not SliceCloudState.DELETING:
            # A tombstone that came to life: deleted, never adopted.
            return calls.delete(world, slice_, now)
        case s.SliceDeleting() | s.SliceGone():
            return []
    if seen.state is SliceCloudState.PREEMPTED:
        why = Reason("preempted", seen.detail or "the provider took it back")
        return condemn(world, slice_, why, GoneCause.PREEMPTED, now)
    dead = [vm for vm in seen.vms if vm.state in (VmState.TERMINATED, VmState.FAILED)]
    if seen.state in (SliceCloudState.FAILED, SliceCloudState.DELETING) or dead:
        detail = seen.detail or (
            f"host {dead[0].vm_id} is {dead[0].state.value}" if dead else seen.state.value
        )
        code = seen.failure.value if seen.failure is not None else "host_dead"
        return condemn(world, slice_, Reason(code, detail), GoneCause.FAILED, now)
    running = sum(1 for vm in seen.vms if vm.state is VmState.RUNNING)
    world.asked.hosts_seen[slice_.name] = max(running, world.asked.hosts_seen.get(slice_.name, 0))
    if isinstance(slice_.state, s.SliceRequesting) and not _waits_in_line(world, slice_, seen):
        _enter(world, slice_, s.SliceBooting(slice_.state.reason), now)
    advance(world, slice_.name, now)
    return []


def _waits_in_line(world: World, slice_: Slice, seen: SliceInfo) -> bool:
    """Whether a provider shows a request that it has not served yet."""
    group = world.group(slice_)
    queued = group is not None and group.queued_for_ms is not None
    return queued and seen.state is SliceCloudState.CREATING and not seen.vms


def advance(world: World, name: str, now: Now) -> None:
    """Moves a coming slice as far as the facts allow.

    A host that registered exists, whatever the provider shows.
    """
    slice_ = world.slices[name]
    registered = world.registered(slice_)
    if isinstance(slice_.state, s.SliceRequesting) and registered:
        slice_ = _enter(world, slice_, s.SliceBooting(slice_.state.reason), now)
    exist = max(registered, world.asked.hosts_seen.get(name, 0))
    if isinstance(slice_.state, s.SliceBooting) and exist >= slice_.hosts:
        slice_ = _enter(world, slice_, s.SliceInitializing(slice_.state.reason), now)
    if isinstance(slice_.state, s.SliceInitializing) and registered == slice_.hosts:
        _enter(world, slice_, s.SliceReady(slice_.state.reason), now)
        note_success(world, slice_, now)


def _enter(world: World, slice_: Slice, state: s.SliceState, now: Now) -> Slice:
    if calls.may_wait_in_line(world, slice_):
        # Its turn has come: from here it boots.
        world.clocks.slice_since[slice_.name] = now.boot_ms
    world.put_slice(replace(slice_, state=state), now)
    if isinstance(state, s.SliceBooting):
        for place in world.places(slice_):
            if place not in world.workers:
                world.put_worker(Worker(place, WorkerState.JOINING))
    world.record(now, "slice", slice_.name, node_name("slice", type(state)), state.reason)
    return world.slices[slice_.name]


def drain(world: World, slice_: Slice, why: Reason, now: Now) -> None:
    """Gives a READY slice no new task; its live ones are told to end."""
    _enter(world, slice_, s.SliceDraining(why), now)
    world.clocks.idle_since.pop(slice_.name, None)
    for attempt_id in list(world.live_on(slice_)):
        order_stop(world, attempt_id, why.code)


def made_by_newer(world: World, name: str) -> Reason | None:
    """Why we are not the newest controller, if a slice of this cluster says so by its name."""
    parts = parse_slice_name(name)
    if parts is None or parts.cluster_id != world.settings.cluster_id or parts.epoch <= world.epoch:
        return None
    return Reason("newer_epoch", f"{name} was made by a newer controller than this one ({world.epoch})")


def known_or_adoptable(world: World, name: str, zone: str, now: Now) -> Slice | None:
    """The slice of this name, or what it would be if it were adopted; nothing is changed."""
    known = world.slices.get(name)
    parts = parse_slice_name(name)
    if known is not None or parts is None or parts.cluster_id != world.settings.cluster_id:
        return known
    group = unknown.group_of(world, name)
    if group is None:
        return None
    zone = zone or group.zones[0]
    state = s.SliceRequesting(Reason("adopted", "its agent reported, the store did not know it"))
    return Slice(name, group.name, zone, group.hosts, state, now.wall_ms, now.wall_ms, adopted=True)


def why_not_at(slice_: Slice, place: Place) -> Reason | None:
    """Why a slice has no worker at a place; None where it may have one."""
    if isinstance(slice_.state, s.SliceDeleting | s.SliceGone):
        return Reason("deleted_slice", f"{slice_.name} is being deleted")
    if not 0 <= place.worker_index < slice_.hosts:
        words = f"{slice_.name} has {slice_.hosts} hosts, none with index {place.worker_index}"
        return Reason("bad_index", words)
    return None


def adopt(world: World, slice_: Slice, now: Now) -> None:
    """Takes over a slice with our name that the store had lost."""
    world.put_slice(slice_, now)
    world.record(now, "slice", slice_.name, "ADOPTED", slice_.state.reason)


def zone_listed(world: World, event: ZoneListed, now: Now) -> list[Effect]:
    """A complete list of one zone: absence only prompts a look, and so does surprise."""
    if isinstance(event.seen, CallFailed):
        return []
    effects: list[Effect] = []
    for seen in event.seen:
        newer = made_by_newer(world, seen.slice_id)
        if newer is not None and is_ours(seen.slice_id, seen.labels, world.settings.cluster_id):
            return [StepDown(newer)]
    effects += unknown.note_listed(world, event.provider, event.zone, event.seen, now)
    listed = {seen.slice_id: seen for seen in event.seen}
    for slice_ in list(world.slices.values()):
        group = world.group(slice_)
        # Of a group that the configuration dropped the zone is known, and what is there counts.
        if slice_.zone != event.zone or (group is not None and group.provider != event.provider):
            continue
        found = listed.get(slice_.name)
        if found is not None and is_ours(found.slice_id, found.labels, world.settings.cluster_id):
            if group is not None and _is_down(found) and fences.are_missing(world, slice_):
                # By name that is a fence; before its deletion hides it.
                effects += calls.look(world, [slice_], now)
            effects += _seen(world, slice_, found, now)
        elif found is None and group and calls.is_missed(world, slice_, now):
            effects += calls.look(world, [slice_], now)
    return effects


def _is_down(seen: SliceInfo) -> bool:
    return seen.state is SliceCloudState.PREEMPTED or any(vm.state is VmState.TERMINATED for vm in seen.vms)


def give_back_stopped(world: World, now: Now) -> list[Effect]:
    """While the cluster or some of its zones are stopped: whatever is there, or appears there."""
    cluster = world.cluster
    if cluster.stopping is not None:
        return give_back(world, cluster.stopping, None, now)
    if not cluster.paused_zones:
        return []
    why = Reason("cluster_stop", "its zone was stopped")
    return give_back(world, why, cluster.paused_zones, now)


def give_back(world: World, why: Reason, zones: Collection[str] | None, now: Now) -> list[Effect]:
    """READY slices are drained, coming ones deleted by name; of these zones, or (None) of all."""
    effects: list[Effect] = []
    for slice_ in list(world.present_slices()):
        if zones is not None and slice_.zone not in zones:
            continue
        if isinstance(slice_.state, s.SliceReady):
            drain(world, slice_, why, now)
        elif isinstance(slice_.state, s.SLICE_COMING):
            effects += delete(world, slice_, why, GoneCause.DELETED, now)
    return effects
