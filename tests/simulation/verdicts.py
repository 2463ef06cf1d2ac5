"""How an attempt's end must be recorded and charged: pure, and told apart from the core's own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iris_bootstrap.keeper.attempts import Exit, Exited
from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, Job, JobStatus, Slice, Task
from iris_controller.core.moves import node_name
from iris_controller.core.states import GoneCause, TaskState
from iris_controller.core.values import AttemptId, Reason

# Ends that are our own doing: no budget pays for them.
_ON_OUR_WORD = ("cluster_stop", "draining", "group_removed", "idle", "no_room", "superseded")
# An agent's own word that it lost an attempt, whatever becomes of its slice.
_AGENTS_LOSSES = ("forgotten", "rebooted")


@dataclass(frozen=True)
class End:
    """How a process really ended."""

    how: Exit
    by_itself: bool


def task_words(task: Task) -> str:
    """A task's row in a few words."""
    spent = f"failures={task.failures} losses={task.losses}"
    if task.attempt is None:
        return f"{task.state.name} {spent}"
    attempt = task.attempt
    where = f"{attempt.place.slice_name}/{attempt.place.worker_index}"
    state = node_name("attempt", type(attempt.state))
    return f"{task.state.name} {spent} attempt {attempt.id.number} {state} on {where} ({task.reason.code})"


def slice_words(slice_: Slice) -> str:
    """A slice's state in a few words."""
    reason = slice_.state.reason
    return f"{node_name('slice', type(slice_.state))} ({reason.code}: {reason.message})"


def says_nothing(state: s.AttemptEnded) -> bool:
    """Whether an agent's report is the answer of one that does not know the attempt."""
    is_empty = state.started_ms == 0 and state.end.exit_code is None and state.end.signal is None
    return is_empty and isinstance(state, s.AttemptKilled)


def end_is_wrong(state: s.AttemptEnded, truth: End | None) -> str:
    """What does not agree between an agent's last report and the process; empty if all does."""
    end = state.end
    if truth is None:
        return "" if isinstance(state, s.AttemptKilled) else f"recorded {state}, but it never ran"
    recorded = (end.exit_code, end.signal)
    real = (truth.how.code, None) if isinstance(truth.how, Exited) else (None, truth.how.number)
    if recorded != real and not (isinstance(state, s.AttemptKilled) and recorded == (None, None)):
        return f"recorded {state}, but it ended with {truth}"
    match state:
        case s.AttemptSucceeded():
            good = truth.by_itself and truth.how == Exited(0)
        case s.AttemptFailed():
            good = truth.by_itself and truth.how != Exited(0)
        case _:
            good = not truth.by_itself
    return "" if good else f"recorded {state}, but it ended with {truth}"


def charges_are_wrong(
    was: Task,
    task: Task,
    final: Attempt | None,
    job: Job,
    status: JobStatus,
    stop_is_new: bool,
    slices: Mapping[str, Slice],
) -> str:
    """What is wrong with the budgets or the state after `final` ended (None: nothing did)."""
    spent = (task.failures - was.failures, task.losses - was.losses)
    if final is None or isinstance(final.state, s.ATTEMPT_LIVE) or _is_old_news(was, final):
        return "" if spent == (0, 0) else f"charged {spent} for nothing"
    stopped = status.stop is not None
    price = (0, 0) if stopped else _price(final, slices)
    if spent != price and not (stop_is_new and spent == _price(final, slices)):
        return f"charged {spent} instead of {price} for {final.state}"
    return _state_is_wrong(task, final, job, stopped, stop_is_new)


def _is_old_news(was: Task, final: Attempt) -> bool:
    """Whether the end was in the store before."""
    return was.attempt is not None and type(was.attempt.state) is type(final.state)


def _price(final: Attempt, slices: Mapping[str, Slice]) -> tuple[int, int]:
    """Failures and losses that an end costs."""
    match final.state:
        case s.AttemptSucceeded():
            return 0, 0
        case s.AttemptFailed():
            return 1, 0
        case s.AttemptKilled(end=end):
            return (0, 0) if end.reason.code in _ON_OUR_WORD else (0, 1)
        case s.AttemptWorkerLost(reason=reason) | s.AttemptPreempted(reason=reason):
            ours = _is_our_doing(slices[final.place.slice_name].state, reason)
            return (0, 0) if ours and reason.code not in _AGENTS_LOSSES else (0, 1)
        case _:
            raise AssertionError(f"not an end: {final}")


def _is_our_doing(state: s.SliceState, why: Reason) -> bool:
    """Whether an attempt was lost because its slice was given back, or was taken back unsent."""
    if why.code == "no_room":
        return True
    if isinstance(state, s.SliceDeleting | s.SliceGone):
        return state.cause is GoneCause.DELETED
    return isinstance(state, s.SliceDraining) and state.reason == why


def _state_is_wrong(task: Task, final: Attempt, job: Job, stopped: bool, stop_is_new: bool) -> str:
    spec = job.spec
    spent_out = task.failures > spec.max_failures or task.losses > spec.max_losses
    if isinstance(final.state, s.AttemptSucceeded):
        right = [TaskState.SUCCEEDED]
    elif stop_is_new:
        right = [TaskState.KILLED, TaskState.FAILED]
    elif stopped:
        right = [TaskState.KILLED]
    elif spent_out:
        right = [TaskState.FAILED]
    else:
        right = [TaskState.PENDING, TaskState.ASSIGNED]
    if task.state in right:
        return ""
    return f"is {task.state.name} after {final.state}, not {' or '.join(r.name for r in right)}"


def was_adopted(was: Task, task: Task, past: Mapping[AttemptId, Attempt], epoch: int) -> bool:
    """Whether a run of an earlier start became known that the store did not know."""
    if task.attempt is None:
        return False
    before = None if was.attempt is None else was.attempt.id
    runs = [task.attempt.id, *(a for a in past if a.task == task.id)]
    return any(run.epoch < epoch and run != before for run in runs)


# -- gangs -----------------------------------------------------------------------


def final_of(was: Task, task: Task, past: Mapping[AttemptId, Attempt]) -> Attempt | None:
    """What became of the attempt that a task had before; None if it had none."""
    if was.attempt is None or task.attempt is None or was.attempt.id == task.attempt.id:
        return task.attempt if was.attempt is not None else None
    return past.get(was.attempt.id, was.attempt)


def _gravity(final: Attempt | None) -> int:
    """0 a success, 1 stopped with its gang, 2 its program's failure, 3 our doing, 4 its host's."""
    match final.state if final is not None else None:
        case s.AttemptSucceeded():
            return 0
        case s.AttemptFailed():
            return 2
        case s.AttemptKilled(end=end):
            code = end.reason.code
        case s.AttemptWorkerLost(reason=reason) | s.AttemptPreempted(reason=reason):
            code = reason.code
        case _:
            return 4
    if code == "gang":
        return 1
    return 3 if code in _ON_OUR_WORD else 4


def gang_is_wrong(
    job: Job,
    pairs: Sequence[tuple[Task, Task]],
    finals: Sequence[Attempt | None],
    *,
    stopped: bool,
    stop_is_new: bool,
) -> str:
    """What is wrong with a gang as it was judged: each task before and after, and its attempt's end.

    `stop_is_new`: it was stopped in this batch, perhaps after it was judged.
    """
    grave = [
        _gravity(final) if was.state.is_live else 4 for (was, _), final in zip(pairs, finals, strict=True)
    ]
    worst = max(grave)
    spent = {(task.failures, task.losses) for _, task in pairs}
    states = [task.state for _, task in pairs]
    if worst == 0:
        return "" if set(states) == {TaskState.SUCCEEDED} else f"succeeded whole, and is {states}"
    if stopped:
        found = _stopped_gang_is_wrong(pairs, grave)
        if not found or not stop_is_new:
            return found
    failures = max(was.failures for was, _ in pairs) + (worst == 2)
    losses = max(was.losses for was, _ in pairs) + (worst == 4)
    if spent != {(failures, losses)}:
        return f"has spent {spent} instead of {(failures, losses)} after {[f and f.state for f in finals]}"
    in_budget = failures <= job.spec.max_failures and losses <= job.spec.max_losses
    if in_budget and len(pairs) == job.spec.replicas:
        waits = [{TaskState.KILLED}] if stopped else [{TaskState.PENDING}, {TaskState.ASSIGNED}]
        return "" if set(states) in waits else f"waits to run again, and is {states}"
    ended = {0: TaskState.SUCCEEDED, worst: TaskState.FAILED}
    right = [ended.get(g, TaskState.KILLED) for g in grave]
    return "" if states == right else f"has ended, and is {states} instead of {right}"


def _stopped_gang_is_wrong(pairs: Sequence[tuple[Task, Task]], grave: Sequence[int]) -> str:
    """What is wrong with a gang that was judged after it was stopped: that costs nothing."""
    states = [task.state for _, task in pairs]
    right = [TaskState.KILLED if g else TaskState.SUCCEEDED for g in grave]
    if states != right:
        return f"was stopped, and is {states} instead of {right}"
    charged = [now.id for was, now in pairs if (was.failures, was.losses) != (now.failures, now.losses)]
    return f"was stopped, and {charged} are charged" if charged else ""
