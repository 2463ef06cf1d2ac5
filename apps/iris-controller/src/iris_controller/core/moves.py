"""Which state may follow which: one table for each kind, with a reason for each edge.

A move that is not in its table is a bug and raises. Each table begins with the
state that things are born in. `docs/states.md` is made from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from iris_controller.core import states as s
from iris_controller.core.states import JobState, TaskState, WorkerState

Node: TypeAlias = type | TaskState | JobState | WorkerState
Table: TypeAlias = Mapping[Node, Mapping[Node, str]]

ATTEMPT: Table = {
    s.AttemptAssigned: {
        s.AttemptPreparing: "its agent gets ready",
        s.AttemptRunning: "its agent started the program",
        s.AttemptSucceeded: "started and ended between two reports",
        s.AttemptFailed: "ended, or could not be started",
        s.AttemptKilled: "stopped before or just after its start",
        s.AttemptWorkerLost: "a fence holds",
        s.AttemptPreempted: "the provider took the machine",
    },
    s.AttemptPreparing: {
        s.AttemptRunning: "its agent started the program",
        s.AttemptSucceeded: "started and ended between two reports",
        s.AttemptFailed: "could not be started",
        s.AttemptKilled: "stopped while it got ready",
        s.AttemptWorkerLost: "a fence holds, or its agent forgot it",
        s.AttemptPreempted: "the provider took the machine",
    },
    s.AttemptRunning: {
        s.AttemptSucceeded: "exit code 0",
        s.AttemptFailed: "another exit code, or a signal",
        s.AttemptKilled: "stopped on our word or at the end of its lease",
        s.AttemptWorkerLost: "a fence holds, or its agent forgot it",
        s.AttemptPreempted: "the provider took the machine",
    },
    s.AttemptWorkerLost: {
        s.AttemptSucceeded: "a late success counts while no newer attempt is assigned",
    },
    s.AttemptPreempted: {
        s.AttemptSucceeded: "a late success counts while no newer attempt is assigned",
    },
    s.AttemptSucceeded: {},
    s.AttemptFailed: {},
    s.AttemptKilled: {},
}

TASK: Table = {
    TaskState.PENDING: {
        TaskState.ASSIGNED: "placed on a worker",
        TaskState.RUNNING: "adopted: an agent reports a newer attempt",
        TaskState.PREPARING: "adopted: an agent reports a newer attempt",
        TaskState.SUCCEEDED: "a late success of the last attempt",
        TaskState.FAILED: "an adopted attempt had failed",
        TaskState.KILLED: "its job was stopped",
        TaskState.UNSCHEDULABLE: "its scheduling timeout passed",
    },
    TaskState.ASSIGNED: {
        TaskState.PREPARING: "the agent gets ready",
        TaskState.RUNNING: "the program started; of a gang also: this member has ended",
        TaskState.SUCCEEDED: "the program succeeded",
        TaskState.FAILED: "the program failed and the budget is spent",
        TaskState.KILLED: "its job was stopped",
        TaskState.PENDING: "the attempt ended and budget is left",
    },
    TaskState.PREPARING: {
        TaskState.ASSIGNED: "adopted: an agent reports a newer attempt",
        TaskState.RUNNING: "the program started",
        TaskState.SUCCEEDED: "the program succeeded",
        TaskState.FAILED: "the program failed and the budget is spent",
        TaskState.KILLED: "its job was stopped",
        TaskState.PENDING: "the attempt ended and budget is left",
    },
    TaskState.RUNNING: {
        TaskState.ASSIGNED: "adopted: an agent reports a newer attempt",
        TaskState.SUCCEEDED: "the program succeeded",
        TaskState.FAILED: "the program failed and the budget is spent",
        TaskState.KILLED: "its job was stopped",
        TaskState.PENDING: "the attempt ended and budget is left",
    },
    TaskState.SUCCEEDED: {},
    TaskState.FAILED: {},
    TaskState.KILLED: {},
    TaskState.UNSCHEDULABLE: {},
}

JOB: Table = {
    JobState.PENDING: {
        JobState.RUNNING: "a task was assigned",
        JobState.SUCCEEDED: "an adopted job had ended",
        JobState.FAILED: "an adopted job had ended",
        JobState.KILLED: "stopped before anything ran",
        JobState.UNSCHEDULABLE: "a task's scheduling timeout passed",
    },
    JobState.RUNNING: {
        JobState.PENDING: "every task waits again",
        JobState.SUCCEEDED: "every task succeeded",
        JobState.FAILED: "every task ended, one failed",
        JobState.KILLED: "every task ended, one was killed",
        JobState.UNSCHEDULABLE: "every task ended, one could not be placed",
    },
    JobState.SUCCEEDED: {},
    JobState.FAILED: {},
    JobState.KILLED: {},
    JobState.UNSCHEDULABLE: {},
}

SLICE: Table = {
    s.SliceRequesting: {
        s.SliceBooting: "the provider shows it, or a host registered",
        s.SliceDeleting: "refused, too late, or no longer wanted",
    },
    s.SliceBooting: {
        s.SliceInitializing: "all hosts exist",
        s.SliceDeleting: "failed, too late, or no longer wanted",
    },
    s.SliceInitializing: {
        s.SliceReady: "every host has registered",
        s.SliceDeleting: "failed, too late, or no longer wanted",
    },
    s.SliceReady: {
        s.SliceDraining: "idle, or the cluster stops",
        s.SliceDeleting: "a host is dead",
    },
    s.SliceDraining: {
        s.SliceDeleting: "its tasks have ended and their logs are in, or its time is up",
    },
    s.SliceDeleting: {
        s.SliceGone: "the provider, asked by name, does not know it",
    },
    s.SliceGone: {},
}

WORKER: Table = {
    WorkerState.JOINING: {
        WorkerState.HEALTHY: "its agent said hello",
        WorkerState.LOST: "its slice failed first",
        WorkerState.LEFT: "its slice was given back first",
    },
    WorkerState.HEALTHY: {
        WorkerState.SUSPECT: "no contact for suspect_after",
        WorkerState.LOST: "a fence holds",
        WorkerState.LEFT: "its slice was given back",
    },
    WorkerState.SUSPECT: {
        WorkerState.HEALTHY: "contact again",
        WorkerState.LOST: "a fence holds",
        WorkerState.LEFT: "its slice was given back",
    },
    WorkerState.LOST: {},
    WorkerState.LEFT: {},
}

TABLES: Mapping[str, Table] = {
    "attempt": ATTEMPT,
    "task": TASK,
    "job": JOB,
    "slice": SLICE,
    "worker": WORKER,
}


class IllegalMove(Exception):
    """A rule of the core asked for a move that its table does not have."""


def check_move(kind: str, was: Node, to: Node, who: object) -> None:
    """Raises `IllegalMove` unless the table of `kind` has this edge."""
    if to not in TABLES[kind][was]:
        raise IllegalMove(
            f"{kind} {who}: {node_name(kind, was)} -> {node_name(kind, to)} is not a legal move"
        )


def node_name(kind: str, node: Node) -> str:
    """The state's name as people see it, such as `WORKER_LOST`."""
    if isinstance(node, type):
        words = node.__name__.removeprefix(kind.capitalize())
        return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(words)).upper()
    return node.name
