"""How a job ended, as an exit status and in words. Pure."""

from __future__ import annotations

import signal

from iris_cli.exits import COMMAND_NOT_FOUND, DONE, FAILED, NOT_EXECUTABLE, SIGNALLED
from iris_cli.text import safe
from iris_proto.v1.job_pb2 import Attempt, Job, JobState, Task

_OVER = frozenset(
    {
        JobState.JOB_STATE_SUCCEEDED,
        JobState.JOB_STATE_FAILED,
        JobState.JOB_STATE_KILLED,
        JobState.JOB_STATE_UNSCHEDULABLE,
    }
)

# Reasons that only repeat that there is an exit code or a signal.
SAID_BY_EXIT = frozenset({"", "exit", "signal"})

# The agent's codes for programs that could not be started (worker.proto).
_NOT_STARTED = {"not_found": COMMAND_NOT_FOUND, "not_executable": NOT_EXECUTABLE}


def is_over(state: JobState.ValueType) -> bool:
    """Whether a job in this state will never change again."""
    return state in _OVER


def exit_status(job: Job, task: Task | None) -> int:
    """The status of `job run` and `job wait`; `task` is that of a job of one task."""
    if job.state == JobState.JOB_STATE_SUCCEEDED:
        return DONE
    if task is None or not task.HasField("attempt"):
        return FAILED
    # Never 0: a program that ends well when it is told to stop did not succeed.
    return _program_status(task.attempt) or FAILED


def _program_status(attempt: Attempt) -> int:
    if attempt.reason in _NOT_STARTED:
        return _NOT_STARTED[attempt.reason]
    if attempt.HasField("signal"):
        return SIGNALLED + attempt.signal
    return attempt.exit_code if attempt.HasField("exit_code") else FAILED


def how_it_ended(task: Task) -> str:
    """How a task's latest attempt ended."""
    attempt = task.attempt
    words = safe(attempt.message or attempt.reason)
    if attempt.reason in _NOT_STARTED:
        return words
    if attempt.HasField("signal"):
        return _with_why(f"ended by signal {signal_name(attempt.signal)}", attempt)
    if attempt.HasField("exit_code"):
        return _with_why(f"exit code {attempt.exit_code}", attempt)
    return words or "ended"


def _with_why(words: str, attempt: Attempt) -> str:
    if attempt.reason in SAID_BY_EXIT:
        return words
    return f"{words}: {safe(attempt.message or attempt.reason)}"


def signal_name(number: int) -> str:
    """`9 (SIGKILL)`."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def exit_code_text(attempt: Attempt) -> str:
    """An attempt's exit code or signal for a table; empty where it has neither."""
    if attempt.HasField("signal"):
        return f"signal {signal_name(attempt.signal)}"
    return str(attempt.exit_code) if attempt.HasField("exit_code") else ""
