"""Rows of the core <-> rows of tables: names, columns and values.

Knows nothing of SQLite but that a row is a tuple of plain values; the
simulator's store uses the same tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from iris_controller.codec import wire
from iris_controller.core import entities as n
from iris_controller.core import states as s
from iris_controller.core.moves import node_name
from iris_controller.core.states import GoneCause, JobState, TaskState, WorkerState
from iris_controller.core.values import AttemptEnd, AttemptId, Place, Reason, Resources, TaskId
from iris_controller.core.world import Changes

Values = tuple[Any, ...]

_ATTEMPT_COLUMNS = (
    "epoch",
    "number",
    "slice_name",
    "worker_index",
    "boot_id",
    "assigned_ms",
    "attempt_state",
    "started_ms",
    "ended_ms",
    "end_reason",
    "end_message",
    "exit_code",
    "signal",
    "log_bytes",
    "log_stored",
    "address",
)


class Table(NamedTuple):
    """A table: its kind of change, its columns (the key's first), and both conversions.

    `sealed` is the column of bytes that nobody but the controller may read on
    its disk; a store encrypts it. "" is none.
    """

    name: str
    key_columns: tuple[str, ...]
    columns: tuple[str, ...]
    key: Callable[[Any], Values]
    encode: Callable[[Any], Values]
    decode: Callable[[Values], n.Row]
    sealed: str = ""

    @property
    def names(self) -> str:
        """All columns, as a statement lists them."""
        return ", ".join(self.key_columns + self.columns)


class RowWrite(NamedTuple):
    """A row to insert or replace; `values` None deletes the row with `key`."""

    table: str
    key: Values
    values: Values | None


def writes(changes: Changes) -> list[RowWrite]:
    """The table rows that a batch changed."""
    result: list[RowWrite] = []
    for (kind, entity_key), row in changes.items():
        table = TABLES[kind]
        key = table.key(entity_key)
        values = None if row is None else key + table.encode(row)
        result.append(RowWrite(table.name, key, values))
    return result


_ATTEMPT_STATES: Mapping[str, type[Any]] = {
    node_name("attempt", kind): kind
    for kind in (
        s.AttemptAssigned,
        s.AttemptPreparing,
        s.AttemptRunning,
        s.AttemptSucceeded,
        s.AttemptFailed,
        s.AttemptKilled,
        s.AttemptWorkerLost,
        s.AttemptPreempted,
    )
}
# Several times as fast as calling the enumeration.
_TASK_STATES = {state.value: state for state in TaskState}
_JOB_STATES = {state.value: state for state in JobState}
_WORKER_STATES = {state.value: state for state in WorkerState}
_ATTEMPT_NAMES = {kind: name for name, kind in _ATTEMPT_STATES.items()}


def _encode_attempt(attempt: n.Attempt) -> Values:
    state = attempt.state
    started: int | None = None
    ended: int | None = None
    end = AttemptEnd(0, Reason(""))
    match state:
        case s.AttemptRunning(started):
            pass
        case s.AttemptSucceeded(started, end) | s.AttemptFailed(started, end) | s.AttemptKilled(started, end):
            ended = end.finished_ms
        case s.AttemptWorkerLost(ended, why) | s.AttemptPreempted(ended, why):
            end = AttemptEnd(ended, why)
        case _:
            pass
    return (
        attempt.id.epoch,
        attempt.id.number,
        *attempt.place,
        attempt.boot_id,
        attempt.assigned_ms,
        _ATTEMPT_NAMES[type(state)],
        started,
        ended,
        *end.reason,
        end.exit_code,
        end.signal,
        end.log_bytes,
        int(attempt.log_stored),
        attempt.address,
    )


def _decode_attempt(job_id: str, index: int, values: Values) -> n.Attempt:
    epoch, number, slice_name, worker, boot_id, assigned, name, started, ended, *rest = values
    code, message, exit_code, signal, log_bytes, log_stored, address = rest
    kind = _ATTEMPT_STATES[name]
    state: s.AttemptState
    if kind in (s.AttemptAssigned, s.AttemptPreparing):
        state = kind()
    elif kind is s.AttemptRunning:
        state = s.AttemptRunning(started)
    elif kind in (s.AttemptWorkerLost, s.AttemptPreempted):
        state = kind(ended, Reason(code, message))
    else:
        state = kind(started, AttemptEnd(ended, Reason(code, message), exit_code, signal, log_bytes))
    attempt_id = AttemptId(job_id, index, epoch, number)
    place = Place(slice_name, worker)
    return n.Attempt(attempt_id, place, boot_id, assigned, state, bool(log_stored), address or "")


_NO_ATTEMPT: Values = (None,) * len(_ATTEMPT_COLUMNS)


def _encode_task(task: n.Task) -> Values:
    attempt = _NO_ATTEMPT if task.attempt is None else _encode_attempt(task.attempt)
    return (task.state.value, *task.reason, task.attempts, task.failures, task.losses, *attempt)


def _decode_task(values: Values) -> n.Task:
    job_id, index, state, code, message, attempts, failures, losses, *attempt = values
    return n.Task(
        TaskId(job_id, index),
        _TASK_STATES[state],
        Reason(code, message),
        attempts,
        failures,
        losses,
        None if attempt[0] is None else _decode_attempt(job_id, index, tuple(attempt)),
    )


def _encode_past(past: n.PastAttempt) -> Values:
    return _encode_attempt(past.attempt)[2:]


def _decode_past(values: Values) -> n.PastAttempt:
    job_id, index, *attempt = values
    return n.PastAttempt(_decode_attempt(job_id, index, tuple(attempt)))


_SLICE_STATES: Mapping[str, type[Any]] = {
    node_name("slice", kind): kind
    for kind in (
        s.SliceRequesting,
        s.SliceBooting,
        s.SliceInitializing,
        s.SliceReady,
        s.SliceDraining,
        s.SliceDeleting,
        s.SliceGone,
    )
}


def _encode_slice(row: n.Slice) -> Values:
    cause = row.state.cause.value if isinstance(row.state, s.SliceDeleting | s.SliceGone) else None
    state = node_name("slice", type(row.state))
    reason = row.state.reason
    times = (row.requested_ms, row.changed_ms)
    return (row.group, row.zone, row.hosts, state, *reason, cause, *times, int(row.adopted))


def _decode_slice(values: Values) -> n.Slice:
    name, group, zone, hosts, state_name, code, message, cause, requested_ms, changed_ms, adopted = values
    kind = _SLICE_STATES[state_name]
    why = Reason(code, message)
    state = kind(why) if cause is None else kind(why, GoneCause(cause))
    return n.Slice(name, group, zone, hosts, state, requested_ms, changed_ms, bool(adopted))


def _encode_worker(row: n.Worker) -> Values:
    return (row.state.value, *row.reason, row.boot_id, row.version, *row.capacity)


def _decode_worker(values: Values) -> n.Worker:
    slice_name, index, state, code, message, boot_id, version, cpu, memory = values
    place = Place(slice_name, index)
    why = Reason(code, message)
    return n.Worker(place, _WORKER_STATES[state], why, boot_id, version, Resources(cpu, memory))


def _encode_status(row: n.JobStatus) -> Values:
    stop = (None, None) if row.stop is None else tuple(row.stop)
    counts = " ".join(f"{state.value}={count}" for state, count in row.counts.items())
    return (row.state.value, *row.reason, *stop, row.started_ms, row.finished_ms, counts)


def _decode_status(values: Values) -> n.JobStatus:
    job_id, state, code, message, stop_code, stop_message, started_ms, finished_ms, counts = values
    stop = None if stop_code is None else Reason(stop_code, stop_message)
    why = Reason(code, message)
    counted = {
        _TASK_STATES[name]: int(count) for name, _, count in (c.partition("=") for c in counts.split())
    }
    return n.JobStatus(job_id, _JOB_STATES[state], counted, why, stop, started_ms, finished_ms)


def _encode_job(row: n.Job) -> Values:
    spec = wire.job_spec_to_proto(row.spec).SerializeToString(deterministic=True)
    return (row.request_id, row.submitted_ms, row.order, int(row.adopted), spec)


def _decode_job(values: Values) -> n.Job:
    job_id, request_id, submitted_ms, order, adopted, spec = values
    return n.Job(job_id, request_id, wire.job_spec_from_bytes(spec), submitted_ms, order, bool(adopted))


def _encode_cluster(row: n.ClusterState) -> Values:
    reasons = [(None, None) if why is None else tuple(why) for why in (row.stopping, row.incomplete)]
    return (*reasons[0], *reasons[1], row.commits_lost, row.unknown_deleted, json.dumps(row.paused_zones))


def _decode_cluster(values: Values) -> n.ClusterState:
    _, *reasons, commits_lost, unknown_deleted, paused_zones = values
    stopping, incomplete = (
        None if code is None else Reason(code, message) for code, message in (reasons[:2], reasons[2:])
    )
    paused = tuple(map(str, json.loads(paused_zones)))
    return n.ClusterState(stopping, incomplete, commits_lost, unknown_deleted, paused)


def _single(key: Any) -> Values:
    return (key,)


_SLICE_COLUMNS = (
    "scale_group",
    "zone",
    "hosts",
    "state",
    "reason",
    "message",
    "cause",
    "requested_ms",
    "changed_ms",
    "adopted",
)
_STATUS_COLUMNS = (
    "state",
    "reason",
    "message",
    "stop_reason",
    "stop_message",
    "started_ms",
    "finished_ms",
    "counts",
)
_TASK_COLUMNS = ("state", "reason", "message", "attempts", "failures", "losses", *_ATTEMPT_COLUMNS)

# By the kind of change that `World` notes.
TABLES: Mapping[str, Table] = {
    "job": Table(
        "jobs",
        ("job_id",),
        ("request_id", "submitted_ms", "turn", "adopted", "spec"),
        _single,
        _encode_job,
        _decode_job,
        # Environments and commands carry people's secrets.
        sealed="spec",
    ),
    "status": Table("job_status", ("job_id",), _STATUS_COLUMNS, _single, _encode_status, _decode_status),
    "task": Table("tasks", ("job_id", "task_index"), _TASK_COLUMNS, tuple, _encode_task, _decode_task),
    "past": Table(
        "past_attempts",
        ("job_id", "task_index", "epoch", "number"),
        _ATTEMPT_COLUMNS[2:],
        tuple,
        _encode_past,
        _decode_past,
    ),
    "slice": Table("slices", ("name",), _SLICE_COLUMNS, _single, _encode_slice, _decode_slice),
    "worker": Table(
        "workers",
        ("slice_name", "worker_index"),
        ("state", "reason", "message", "boot_id", "version", "cpu_millis", "memory_bytes"),
        tuple,
        _encode_worker,
        _decode_worker,
    ),
    "standing": Table(
        "standings",
        ("scale_group", "zone"),
        ("failures", "not_before_ms", "reason", "message"),
        tuple,
        lambda row: (row.failures, row.not_before_ms, *row.reason),
        lambda v: n.Standing(v[0], v[1], v[2], v[3], Reason(v[4], v[5])),
    ),
    "cluster": Table(
        "cluster",
        ("id",),
        (
            *("stopping", "message", "incomplete", "incomplete_message"),
            *("commits_lost", "unknown_deleted", "paused_zones"),
        ),
        _single,
        _encode_cluster,
        _decode_cluster,
    ),
    "event": Table(
        "events",
        ("event_id",),
        ("at_ms", "kind", "subject", "what", "reason", "message"),
        _single,
        lambda row: (row.at_ms, row.kind, row.subject, row.what, *row.reason),
        lambda v: n.Record(v[0], v[1], v[2], v[3], v[4], Reason(v[5], v[6])),
    ),
}
