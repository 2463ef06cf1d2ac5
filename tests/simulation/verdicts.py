"""How an attempt's end must be recorded and charged: pure, and told apart from the core's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from iris_bootstrap.keeper.attempts import Exit, Exited
from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, Job, JobStatus, Slice, Task
from iris_controller.core.moves import node_name
from iris_controller.core.states import GoneCause, TaskState
from iris_controller.core.values import Reason

# Ends that are our own doing: no budget pays for them.
_ON_OUR_WORD = ("cluster_stop", "draining", "group_removed", "superseded")
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
    """Whether an attempt was lost because its slice was given back."""
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
