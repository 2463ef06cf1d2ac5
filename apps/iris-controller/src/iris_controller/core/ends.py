"""What an attempt's end means: for its task, or for the whole gang that it was a member of.

Knows neither agents' words nor slices: an attempt that has ended comes in, and
tasks that have ended or wait again come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum

from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, Job, Task
from iris_controller.core.explain import end_reason
from iris_controller.core.orders import order_stop
from iris_controller.core.states import ATTEMPT_LIVE, TaskState
from iris_controller.core.values import NO_REASON, AttemptEnd, Now, Reason
from iris_controller.core.world import World

# Because another member of its gang ended badly.
GANG_STOP = "gang"
# Ends on our word that spend no budget: the task goes elsewhere.
FREE_ENDS = frozenset({"cluster_stop", "draining", "group_removed", "idle", "no_room", "superseded"})


class Fault(IntEnum):
    """Whose doing an end was; of a gang's members the gravest decides.

    A host that dies or is taken away makes programs elsewhere fail, so a failure
    counts only where nothing else went wrong.
    """

    NONE = 0
    GANG = 1
    PROGRAM = 2
    OURS = 3
    HOST = 4


def fault_of(attempt: Attempt | None) -> Fault:
    """Whose doing an attempt's end was. One that never was, or is not known, is the host's."""
    match attempt.state if attempt is not None else None:
        case s.AttemptSucceeded():
            return Fault.NONE
        case s.AttemptFailed():
            return Fault.PROGRAM
        case (
            s.AttemptKilled(end=AttemptEnd(reason=why))
            | s.AttemptWorkerLost(reason=why)
            | s.AttemptPreempted(reason=why)
        ):
            if why.code == GANG_STOP:
                return Fault.GANG
            return Fault.OURS if why.code in FREE_ENDS else Fault.HOST
        case _:
            return Fault.HOST


def _why(task: Task) -> Reason:
    match task.attempt.state if task.attempt is not None else None:
        case s.AttemptSucceeded(end=end) | s.AttemptFailed(end=end) | s.AttemptKilled(end=end):
            return end_reason(end)
        case s.AttemptWorkerLost(reason=why) | s.AttemptPreempted(reason=why):
            return why
        case _:
            return Reason("unknown", "what became of it is not known")


def settle(world: World, task: Task, now: Now) -> None:
    """Takes in a task whose attempt has just ended."""
    job = world.jobs[task.id.job_id]
    if job.spec.is_gang:
        _settle_member(world, job, task, now)
    else:
        _settle_alone(world, job, task, now)


def _settle_alone(world: World, job: Job, task: Task, now: Now) -> None:
    fault = fault_of(task.attempt)
    stop = world.statuses[job.job_id].stop
    why = _why(task)
    if fault is Fault.NONE:
        world.put_task(replace(task, state=TaskState.SUCCEEDED, reason=NO_REASON))
    elif stop is not None:
        world.put_task(replace(task, state=TaskState.KILLED, reason=stop))
    else:
        task = _charged(task, fault, (task,))
        if not _within_budget(job, task):
            world.put_task(replace(task, state=TaskState.FAILED, reason=why))
            return
        world.put_task(replace(task, state=TaskState.PENDING, reason=why))
        _record_retry(world, "task", task.id.name, task, why, now)


def _charged(task: Task, fault: Fault, members: Sequence[Task]) -> Task:
    """A task with the budgets that it and its like have spent, this end included."""
    return replace(
        task,
        attempts=max(m.attempts for m in members),
        failures=max(m.failures for m in members) + (fault is Fault.PROGRAM),
        losses=max(m.losses for m in members) + (fault is Fault.HOST),
    )


def _within_budget(job: Job, task: Task) -> bool:
    return task.failures <= job.spec.max_failures and task.losses <= job.spec.max_losses


def _record_retry(world: World, kind: str, subject: str, task: Task, why: Reason, now: Now) -> None:
    words = Reason(why.code, f"attempt {task.attempts}: {why.message}")
    world.record(now, kind, subject, "RETRY", words)


# -- gangs ----------------------------------------------------------------------


def _settle_member(world: World, job: Job, task: Task, now: Now) -> None:
    """One member has ended; it stays RUNNING like its gang, so that all of it can be run again."""
    waits = Reason(GANG_STOP, f"{_why(task).message or 'succeeded'}; waits for the rest of its gang")
    world.put_task(replace(task, state=TaskState.RUNNING, reason=waits))
    if fault_of(task.attempt) is Fault.NONE or job.job_id in world.broken_gangs:
        _judge_gang(world, job, now)
    else:
        review_gang(world, job, now)


def review_gang(world: World, job: Job, now: Now) -> None:
    """Stops what is left of a gang of which a member is lost or failed, and judges it.

    Not before every place has reported: a newer run of it may be out there.
    """
    if job.job_id in world.queue.held:
        return
    members = world.known_tasks(job)
    if job.job_id not in world.broken_gangs and is_broken(members):
        world.broken_gangs[job.job_id] = None
        for member in members:
            if member.attempt is not None and isinstance(member.attempt.state, ATTEMPT_LIVE):
                order_stop(world, member.attempt.id, GANG_STOP)
    _judge_gang(world, job, now)


def is_broken(members: Sequence[Task]) -> bool:
    """Whether a gang that is out has a member that does not run, or runs apart, and did not succeed."""
    out = [member.attempt for member in members if member.state.is_live and member.attempt is not None]
    if not out:
        return False
    newest = max(attempt.id.round for attempt in out)
    fine = (*ATTEMPT_LIVE, s.AttemptSucceeded)
    together = [a for a in out if a.id.round == newest and isinstance(a.state, fine)]
    return len(together) < len(members)


def _judge_gang(world: World, job: Job, now: Now) -> None:
    """Decides about a gang as a whole, once nothing of it runs."""
    if world.live_of.get(job.job_id) or job.job_id in world.queue.held:
        return
    # Of a gang that was found in parts some may have ended for good: it is not whole any more.
    members = [member for member in world.known_tasks(job) if not member.state.is_terminal]
    if not any(member.state.is_live for member in members):
        return
    world.broken_gangs.pop(job.job_id, None)
    faults = [fault_of(m.attempt) if m.state.is_live else Fault.HOST for m in members]
    stop = world.statuses[job.job_id].stop
    if max(faults) is Fault.NONE:
        _end_members(world, members, faults, NO_REASON)
    elif stop is not None:
        for member, fault in zip(members, faults, strict=True):
            ended = (TaskState.SUCCEEDED, NO_REASON) if fault is Fault.NONE else (TaskState.KILLED, stop)
            world.put_task(replace(member, state=ended[0], reason=ended[1]))
    else:
        _retry_or_fail(world, job, members, faults, now)


def _retry_or_fail(
    world: World, job: Job, members: Sequence[Task], faults: Sequence[Fault], now: Now
) -> None:
    worst = max(faults)
    culprit = members[faults.index(worst)]
    why = Reason(_why(culprit).code, f"task {culprit.id.task_index} {_why(culprit).message}")
    charged = [_charged(member, worst, members) for member in members]
    if len(members) < job.spec.replicas:
        why = Reason("incomplete_gang", f"{why.message}; the other members were lost with an older store")
    elif _within_budget(job, charged[0]):
        # From the last, since what comes back goes first: member 0 is to lead again.
        for member in reversed(charged):
            world.put_task(replace(member, state=TaskState.PENDING, reason=why))
        _record_retry(world, "job", job.job_id, charged[0], why, now)
        return
    _end_members(world, charged, faults, why)


def _end_members(world: World, members: Sequence[Task], faults: Sequence[Fault], why: Reason) -> None:
    """Ends a gang for good: who succeeded did, who is to blame failed, the rest were stopped."""
    worst = max(faults)
    for member, fault in zip(members, faults, strict=True):
        if fault is Fault.NONE:
            member = replace(member, state=TaskState.SUCCEEDED, reason=NO_REASON)
        elif fault is worst:
            member = replace(member, state=TaskState.FAILED, reason=_why(member))
        else:
            member = replace(member, state=TaskState.KILLED, reason=Reason(GANG_STOP, why.message))
        world.put_task(member)
