"""The rules of workers and their sessions: hello, beats, reports, silence.

A worker's identity is its place and boot id, never its address. Absence means
nothing here: silence makes a worker SUSPECT; only a fence ends its attempts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iris_controller.core import attempts, calls, recovery, slices
from iris_controller.core import states as s
from iris_controller.core.effects import (
    AckBeat,
    AckReports,
    Effect,
    RefuseSession,
    SendNotice,
    SendWelcome,
    StepDown,
    Verdict,
)
from iris_controller.core.ends import GANG_STOP
from iris_controller.core.entities import Job, Slice, Worker
from iris_controller.core.events import (
    AgentBeat,
    AgentHello,
    AgentNotice,
    AgentReports,
    ObservedAttempt,
    SessionClosed,
)
from iris_controller.core.fleeting import Session
from iris_controller.core.leases import has_expired
from iris_controller.core.orders import order_stop
from iris_controller.core.states import ATTEMPT_LIVE, WorkerState
from iris_controller.core.values import AttemptId, AttemptSpec, Now, Place, Reason
from iris_controller.core.world import World

# The kinds of notices: worker.proto.
NOTICES = ("preempted", "maintenance")


def hello(world: World, event: AgentHello, now: Now) -> list[Effect]:
    """Accepts or refuses an agent, and settles every attempt that it reports."""
    if event.highest_epoch > world.epoch:
        why = f"{event.place.slice_name} obeys epoch {event.highest_epoch}, newer than ours ({world.epoch})"
        return [StepDown(Reason("newer_epoch", why))]
    if event.cluster_id != world.settings.cluster_id:
        why = f"this controller serves cluster {world.settings.cluster_id}"
        return [RefuseSession(event.session_id, Reason("other_cluster", why))]
    newer = slices.made_by_newer(world, event.place.slice_name)
    if newer is not None:
        return [StepDown(newer)]
    slice_ = slices.known_or_adoptable(world, event.place.slice_name, event.zone, now)
    if slice_ is None:
        why = f"{event.place.slice_name} is not a slice of this cluster"
        return [RefuseSession(event.session_id, Reason("unknown_slice", why))]
    refusal = _refuse(world, slice_, event, now)
    if refusal is not None:
        return [RefuseSession(event.session_id, refusal)]
    if slice_.name not in world.slices:
        slices.adopt(world, slice_, now)
    recovery.note_hello(world, event, now)
    effects = _replace_session(world, event)
    worker = world.workers.get(event.place, Worker(event.place, WorkerState.JOINING))
    rebooted = worker.boot_id not in ("", event.boot_id)
    world.put_worker(
        replace(
            worker,
            state=WorkerState.HEALTHY,
            reason=Reason(""),
            boot_id=event.boot_id,
            version=event.version,
            capacity=event.resources,
        )
    )
    if worker.state is not WorkerState.HEALTHY:
        world.record(now, "worker", event.place.name, "HEALTHY", Reason("", "its agent said hello"))
    world.clocks.contact[event.place] = now.boot_ms
    if rebooted:
        _end_before_reboot(world, event, now)
    # Of one task's identifiers, the largest is the newest.
    newest = {one.task: one for one in sorted(seen.spec.id for seen in event.observed)}
    verdicts = tuple(_settle(world, seen, newest[seen.spec.id.task], event, now) for seen in event.observed)
    _note_ending(world, event, verdicts)
    _note_unreported(world, event)
    if isinstance(slice_.state, s.SliceDraining):
        for attempt_id in world.live.get(event.place, ()):
            order_stop(world, attempt_id, slice_.state.reason.code)
    slices.advance(world, event.place.slice_name, now)
    return [*effects, SendWelcome(event.session_id, world.lease_ms(slice_), verdicts)]


def refused(world: World, place: Place, why: Reason, now: Now) -> list[Effect]:
    """An agent cannot be talked to: a slice that comes will never be READY; of another, its lease decides."""
    slice_ = world.slices.get(place.slice_name)
    if slice_ is None or slices.why_not_at(slice_, place) is not None:
        return []
    why = Reason(why.code, f"the agent of {place.name} was refused: {why.message}")
    if isinstance(slice_.state, s.SLICE_COMING):
        return slices.condemn(world, slice_, why, s.GoneCause.FAILED, now)
    worker = world.workers.get(place)
    if worker is not None and worker.reason != why:
        # It dials again and again, and is told of once.
        world.put_worker(replace(worker, reason=why))
        world.record(now, "worker", place.name, "REFUSED", why)
    return []


def _refuse(world: World, slice_: Slice, event: AgentHello, now: Now) -> Reason | None:
    if (why := slices.why_not_at(slice_, event.place)) is not None:
        return why
    worker = world.workers.get(event.place)
    if worker is None or worker.boot_id in ("", event.boot_id, event.previous_boot_id):
        return None
    if has_expired(world, event.place, now):
        return None
    return Reason("place_taken", f"{event.place.name} is held by boot id {worker.boot_id}")


def _replace_session(world: World, event: AgentHello) -> list[Effect]:
    effects: list[Effect] = []
    older = world.session(event.place)
    if older is not None:
        world.end_session(older)
        effects.append(RefuseSession(older.session_id, Reason("replaced", "the agent dialled again")))
    world.sessions[event.session_id] = Session(event.session_id, event.place, event.boot_id)
    world.session_at[event.place] = event.session_id
    return effects


def _settle(world: World, seen: ObservedAttempt, newest: AttemptId, event: AgentHello, now: Now) -> Verdict:
    """One row of the KEEP/STOP table of DESIGN 7; `newest` is the last that the hello has of this task.

    In whatever order they are told: an older one that was taken over first could end its task for good.
    """
    attempt_id = seen.spec.id
    task = world.tasks.get(attempt_id.task)
    status = world.statuses.get(attempt_id.job_id)
    if status is not None and (status.stop is not None or world.is_over(attempt_id.task)):
        attempts.report(world, seen.report, now)
        return Verdict(attempt_id, keep=False, reason="job_stopped" if status.stop else "finished")
    current = task.attempt if task is not None else None
    if newest.is_newer_than(attempt_id) or (current is not None and current.id.is_newer_than(attempt_id)):
        return Verdict(attempt_id, keep=False, reason="superseded")
    if current is None or current.id != attempt_id:
        _take_over(world, seen, event, now)
    elif current.place != event.place:
        return Verdict(attempt_id, keep=False, reason="elsewhere")
    elif not isinstance(current.state, ATTEMPT_LIVE) and isinstance(seen.report.state, ATTEMPT_LIVE):
        # It was given up: its task waits for another run, which must be the only one.
        return Verdict(attempt_id, keep=False, reason="lost")
    attempts.report(world, seen.report, now)
    if attempt_id.job_id in world.broken_gangs and isinstance(seen.report.state, ATTEMPT_LIVE):
        return Verdict(attempt_id, keep=False, reason=GANG_STOP)
    return Verdict(attempt_id, keep=True)


def _take_over(world: World, seen: ObservedAttempt, event: AgentHello, now: Now) -> None:
    """Makes an attempt current that the store does not know: it is newer than all it knows."""
    job = Job(seen.spec.id.job_id, seen.request_id, seen.job, seen.submitted_ms, 0)
    attempts.adopt(world, job, seen.spec, event.place, event.boot_id, now)
    why = Reason("adopted", f"found on {event.place.name}")
    world.record(now, "task", seen.spec.id.task.name, "ADOPTED", why)


def _note_ending(world: World, event: AgentHello, verdicts: Sequence[Verdict]) -> None:
    """What is to end and is no task's live attempt needs its room, and its slice, until its end is reported."""
    live = world.live.get(event.place, {})
    world.ending[event.place] = {
        seen.spec.id: seen.job.resources
        for seen, verdict in zip(event.observed, verdicts, strict=True)
        if not verdict.keep and isinstance(seen.report.state, ATTEMPT_LIVE) and seen.spec.id not in live
    }


def _note_unreported(world: World, event: AgentHello) -> None:
    """Attempts that we placed there and the agent does not know.

    It may not have been told of those that are ASSIGNED, and is told again, where
    what an older store did not know of leaves them room. The others are missing.
    """
    reported = {seen.spec.id for seen in event.observed}
    session = world.sessions[event.session_id]
    session.is_crowded = _is_crowded(world, event.place)
    draining = isinstance(world.slices[event.place.slice_name].state, s.SliceDraining)
    for attempt_id in world.live.get(event.place, ()):
        if attempt_id in reported:
            continue
        task = world.tasks[attempt_id.task]
        assert task.attempt is not None
        unwanted = (
            session.is_crowded
            or attempt_id.job_id in world.broken_gangs
            or world.statuses[attempt_id.job_id].stop is not None
        )
        if isinstance(task.attempt.state, s.AttemptAssigned) and not unwanted and not draining:
            session.start.append(AttemptSpec(attempt_id, task.failures, task.losses))
        else:
            session.missing.append(attempt_id)
    # An agent forgets what has ended once its log is stored here; the word of that can get lost.
    session.missing += [a for a in world.logs_due.get(event.place, ()) if a not in reported]


def _is_crowded(world: World, place: Place) -> bool:
    """Whether a worker has been given more than it has: after a restore alone."""
    used, capacity = world.used(place), world.workers[place].capacity
    return used.cpu_millis > capacity.cpu_millis or 0 < capacity.memory_bytes < used.memory_bytes


def _believe(world: World, session: Session, now: Now) -> None:
    """Gives up what is missing, now that the agent goes on after our welcome.

    Not at the hello: one that was held up on a line that broke may arrive after
    a newer one, and know nothing of what was started since.
    """
    state = world.slices[session.place.slice_name].state
    for attempt_id in session.missing:
        if attempt_id in world.logs_due.get(session.place, ()):
            attempts.log_stored(world, attempt_id)
        if attempt_id not in world.live.get(session.place, ()):
            continue
        attempt = world.task(attempt_id.task).attempt
        assert attempt is not None
        if isinstance(attempt.state, s.AttemptAssigned) and isinstance(state, s.SliceDraining):
            attempts.lose(world, attempt_id, state.reason, now)
        elif isinstance(attempt.state, s.AttemptAssigned) and attempt_id.job_id in world.broken_gangs:
            attempts.lose(world, attempt_id, Reason(GANG_STOP, "was not started any more"), now)
        elif isinstance(attempt.state, s.AttemptAssigned) and session.is_crowded:
            attempts.lose(world, attempt_id, Reason("no_room", "what runs there leaves it no room"), now)
        else:
            attempts.lose(world, attempt_id, Reason("forgotten", "its agent does not know it"), now)
    session.missing.clear()


def _end_before_reboot(world: World, event: AgentHello, now: Now) -> None:
    """What is known to have ended, ended so; everything else ended with its host."""
    for seen in event.observed:
        if not isinstance(seen.report.state, ATTEMPT_LIVE):
            attempts.report(world, seen.report, now)
    for attempt_id in list(world.live.get(event.place, ())):
        attempts.lose(world, attempt_id, Reason("rebooted", "its host started anew"), now)


def beat(world: World, event: AgentBeat, now: Now) -> list[Effect]:
    """Renews a worker's standing; an unknown session is answered with nothing."""
    session = world.sessions.get(event.session_id)
    if session is None:
        return []
    _contact(world, session.place, now)
    _believe(world, session, now)
    return [AckBeat(event.session_id, event.sequence)]


def reports(world: World, event: AgentReports, now: Now) -> list[Effect]:
    """Takes an agent's reports; acknowledged once they are in the store."""
    session = world.sessions.get(event.session_id)
    if session is None:
        return []
    _contact(world, session.place, now)
    _believe(world, session, now)
    ending = world.ending.get(session.place, {})
    for report in event.reports:
        attempts.report(world, report, now)
        if not isinstance(report.state, ATTEMPT_LIVE) and ending.pop(report.id, None) is not None:
            world.must_decide = True
    return [AckReports(event.session_id, event.sequence)]


def _contact(world: World, place: Place, now: Now) -> None:
    world.clocks.contact[place] = now.boot_ms
    worker = world.workers[place]
    if worker.state is WorkerState.SUSPECT:
        world.put_worker(replace(worker, state=WorkerState.HEALTHY, reason=Reason("")))
        world.record(now, "worker", place.name, "HEALTHY", Reason("", "in contact again"))


def is_leaving(world: World, slice_: Slice) -> bool:
    """Whether the provider has said that a host of it goes; what ends there is not begun there again."""
    return any(world.workers[place].reason.code in NOTICES for place in world.places(slice_))


def noticed(world: World, event: AgentNotice, now: Now) -> list[Effect]:
    """One host goes, and with it its slice: the agents of all of its hosts are told."""
    session = world.sessions.get(event.session_id)
    if session is None:
        return []
    place, notice = session.place, event.notice
    worker, why = world.workers[place], Reason(notice.kind, notice.message)
    if worker.reason != why:
        world.put_worker(replace(worker, reason=why))
        world.record(now, "worker", place.name, "NOTICE", why)
    others = (world.session(other) for other in world.places(world.slices[place.slice_name]))
    return [SendNotice(other.session_id, notice) for other in others if other is not None]


def session_closed(world: World, event: SessionClosed, now: Now) -> list[Effect]:
    """A stream ended. That says nothing of the worker, but is worth a look."""
    session = world.sessions.get(event.session_id)
    if session is None:
        return []
    world.end_session(session)
    slice_ = world.slices.get(session.place.slice_name)
    if slice_ is None or not isinstance(slice_.state, s.SLICE_IN_SERVICE):
        return []
    return calls.look_into(world, [slice_], now, at_once=True)
