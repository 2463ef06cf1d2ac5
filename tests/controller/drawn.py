"""Every value of the core, drawn by hypothesis: what rows and messages have to carry."""

from dataclasses import replace
from typing import Any, TypeVar, get_args

from hypothesis import settings
from hypothesis import strategies as st

from iris_controller.core import entities as n
from iris_controller.core import states as s
from iris_controller.core.values import (
    AttemptEnd,
    AttemptId,
    AttemptSpec,
    JobSpec,
    Place,
    Reason,
    Resources,
    TaskId,
)
from tests.controller.agents import REPORTED

T = TypeVar("T")
MOST = 2**63 - 1

# A loaded machine is no bug, and the folder shall stay quick.
quick = settings(max_examples=50, deadline=None)

# What protobuf and SQLite can hold: no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What a program can be given: no NUL either.
ARGUMENT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
MS = st.integers(0, MOST)
COUNT = st.integers(0, 2**31 - 1)
JOB_IDS = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
REASONS = st.builds(Reason, TEXT, TEXT)
PLACES = st.builds(Place, TEXT, COUNT)
ATTEMPT_IDS = st.builds(AttemptId, JOB_IDS, COUNT, MS, st.integers(1, 2**31 - 1))
RESOURCES = st.builds(Resources, MS, MS)
ENDS = st.builds(
    AttemptEnd,
    finished_ms=MS,
    reason=REASONS,
    exit_code=st.none() | st.integers(-(2**31), 2**31 - 1),
    signal=st.none() | st.integers(0, 64),
    log_bytes=MS,
)


def variant(kind: type[T]) -> st.SearchStrategy[T]:
    """Any value of one state; its facts are drawn by their types."""
    facts: dict[str, st.SearchStrategy[Any]] = {
        "started_ms": MS,
        "at_ms": MS,
        "end": ENDS,
        "reason": REASONS,
        "cause": st.sampled_from(s.GoneCause),
    }
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return st.builds(kind, **{name: facts[name] for name in names})


def any_of(union: Any) -> st.SearchStrategy[Any]:
    """Any value of any state in a union."""
    return st.one_of([variant(kind) for kind in get_args(union)])


ATTEMPT_STATES: st.SearchStrategy[s.AttemptState] = any_of(s.AttemptState)
REPORTED_STATES: st.SearchStrategy[REPORTED] = any_of(REPORTED)
SLICE_STATES: st.SearchStrategy[s.SliceState] = any_of(s.SliceState)


def _on_slices(spec: JobSpec, slices: int) -> JobSpec:
    """A gang has as many tasks on each of its slices."""
    if not spec.gang:
        return spec
    return replace(spec, slices=slices, replicas=-(-spec.replicas // slices) * slices)


SPECS = st.builds(
    JobSpec,
    name=ARGUMENT.filter(bool),
    command=st.lists(ARGUMENT, min_size=1, max_size=4).map(lambda words: (words[0] or "program", *words[1:])),
    env=st.dictionaries(ARGUMENT.filter(lambda key: key and "=" not in key), ARGUMENT, max_size=3),
    replicas=st.integers(1, 999_000),
    resources=RESOURCES,
    gang=st.booleans(),
    max_failures=COUNT,
    max_losses=COUNT,
    stop_grace_ms=st.none() | st.integers(0, 10**12),
).flatmap(lambda spec: st.builds(_on_slices, st.just(spec), st.integers(1, 5)))
ATTEMPT_SPECS = st.builds(AttemptSpec, ATTEMPT_IDS, COUNT, COUNT)
JOBS = st.builds(n.Job, JOB_IDS, TEXT, SPECS, MS, MS, st.booleans())
ATTEMPTS = st.builds(n.Attempt, ATTEMPT_IDS, PLACES, TEXT, MS, ATTEMPT_STATES, st.booleans())


def _task(task_id: TaskId, attempt: n.Attempt | None, **rest: Any) -> n.Task:
    if attempt is not None:
        task_id = attempt.id.task
    return n.Task(task_id, attempt=attempt, **rest)


ROWS: dict[str, st.SearchStrategy[Any]] = {
    "job": JOBS,
    "status": st.builds(
        n.JobStatus,
        JOB_IDS,
        st.sampled_from(s.JobState),
        st.dictionaries(st.sampled_from(s.TaskState), COUNT),
        REASONS,
        st.none() | REASONS,
        st.none() | MS,
        st.none() | MS,
    ),
    "task": st.builds(
        _task,
        st.builds(TaskId, JOB_IDS, COUNT),
        st.none() | ATTEMPTS,
        state=st.sampled_from(s.TaskState),
        reason=REASONS,
        attempts=COUNT,
        failures=COUNT,
        losses=COUNT,
    ),
    "past": st.builds(n.PastAttempt, ATTEMPTS),
    "slice": st.builds(n.Slice, TEXT, TEXT, TEXT, COUNT, SLICE_STATES, MS, MS),
    "worker": st.builds(n.Worker, PLACES, st.sampled_from(s.WorkerState), REASONS, TEXT, TEXT, RESOURCES),
    "standing": st.builds(n.Standing, TEXT, TEXT, COUNT, MS, REASONS),
    "cluster": st.builds(n.ClusterState, st.none() | REASONS),
    "event": st.builds(n.Record, MS, MS, TEXT, TEXT, TEXT, REASONS),
}


def key_of(kind: str, row: Any) -> object:
    """The key under which the world notes a row's change."""
    match kind:
        case "job" | "status":
            return row.job_id
        case "task":
            return row.id
        case "past":
            return row.attempt.id
        case "slice":
            return row.name
        case "standing":
            return row.group, row.zone
        case "worker":
            return row.place
        case "event":
            return row.event_id
        case _:
            return 0
