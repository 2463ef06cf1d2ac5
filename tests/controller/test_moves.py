"""The transition tables: total, readable, and with no way out of an end but the documented one."""

from typing import get_args

import pytest

from iris_controller.core import states as s
from iris_controller.core.moves import TABLES, IllegalMove, Node, Table, check_move, node_name
from iris_proto.v1 import controller_pb2, job_pb2

STATES: dict[str, list[Node]] = {
    "attempt": list(get_args(s.AttemptState)),
    "task": list(s.TaskState),
    "job": list(s.JobState),
    "slice": list(get_args(s.SliceState)),
    "worker": list(s.WorkerState),
}
WIRE = {
    "attempt": job_pb2.AttemptState,
    "task": job_pb2.TaskState,
    "job": job_pb2.JobState,
    "slice": controller_pb2.SliceState,
    "worker": controller_pb2.WorkerState,
}
ENDS = {
    "attempt": {"SUCCEEDED", "FAILED", "KILLED"},
    "task": {"SUCCEEDED", "FAILED", "KILLED", "UNSCHEDULABLE"},
    "job": {"SUCCEEDED", "FAILED", "KILLED", "UNSCHEDULABLE"},
    "slice": {"GONE"},
    "worker": {"LOST", "LEFT"},
}
KINDS = sorted(STATES)


def test_there_is_one_table_for_each_kind() -> None:
    assert TABLES.keys() == STATES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_knows_every_state_and_no_other(kind: str) -> None:
    table = TABLES[kind]
    assert list(table) and set(table) == set(STATES[kind])
    assert {to for edges in table.values() for to in edges} <= set(STATES[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_edge_says_why(kind: str) -> None:
    assert all(words.strip() for edges in TABLES[kind].values() for words in edges.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_can_be_reached_from_the_first(kind: str) -> None:
    assert reachable(TABLES[kind], STATES[kind][0]) == set(STATES[kind])


def reachable(table: Table, first: Node) -> set[Node]:
    found, todo = {first}, [first]
    while todo:
        for to in table[todo.pop()]:
            if to not in found:
                found.add(to)
                todo.append(to)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_are_those_of_the_wire(kind: str) -> None:
    names = {f"{kind.upper()}_STATE_{node_name(kind, state)}" for state in STATES[kind]}
    assert names == set(WIRE[kind].keys()) - {f"{kind.upper()}_STATE_UNSPECIFIED"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_is_in_its_table_or_raises_and_says_which(kind: str) -> None:
    for was in STATES[kind]:
        for to in STATES[kind]:
            names = f"{node_name(kind, was)} -> {node_name(kind, to)}"
            assert refusal(kind, was, to) == (
                "" if to in TABLES[kind][was] else f"{kind} it: {names} is not a legal move"
            )


def refusal(kind: str, was: Node, to: Node) -> str:
    """What `check_move` says of a move; nothing when it is legal."""
    try:
        check_move(kind, was, to, "it")
    except IllegalMove as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_ends_have_no_way_out(kind: str) -> None:
    ends = {node_name(kind, state) for state, edges in TABLES[kind].items() if not edges}
    assert ends == ENDS[kind]


@pytest.mark.parametrize("lost", [s.AttemptWorkerLost, s.AttemptPreempted])
def test_a_lost_attempt_can_only_have_succeeded_after_all(lost: type) -> None:
    assert list(TABLES["attempt"][lost]) == [s.AttemptSucceeded]


def test_terminal_means_that_the_table_has_no_way_out() -> None:
    for task in s.TaskState:
        assert task.is_terminal == (not TABLES["task"][task])
    for job in s.JobState:
        assert job.is_terminal == (not TABLES["job"][job])
