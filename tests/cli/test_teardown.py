"""Plans and proofs as pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from iris_cli.teardown.ending import Running
from iris_cli.teardown.live import SliceTeller, Stuck, TroubleTeller, WaitTeller, words_of
from iris_cli.teardown.look import Blind, Foreign, Seen
from iris_cli.teardown.plan import Plan, doomed_slices, plan_document, plan_lines
from iris_cli.teardown.proof import foreign_ids, left_lines, left_over, proof_lines, zone_documents
from iris_cli.teardown.scope import Place
from iris_platform import Platform
from iris_platform.base import SliceCloudState, SliceInfo, VmInfo, VmState
from iris_platform.local import Found
from iris_proto.v1.controller_pb2 import Slice, SliceState

NO_LABELS: Mapping[str, str] = {}


def seen(zone: str, *names: str, vm: VmState = VmState.RUNNING) -> Seen:
    vms = (VmInfo("vm", "127.0.0.1", zone, NO_LABELS, vm, 0),)
    slices = tuple(
        SliceInfo(name, zone, {"iris-group": "g"}, SliceCloudState.RUNNING, vms, 0, "as told")
        for name in names
    )
    return Seen(Place(zone, "local", cast("Platform", None)), slices)


def believed(name: str, zone: str, state: str = "READY", reason: str = "") -> Slice:
    return Slice(
        name=name,
        zone=zone,
        scale_group="g",
        hosts=2,
        state=SliceState.Value(f"SLICE_STATE_{state}"),
        reason=reason,
    )


BLIND = Blind("c", "tpu", "the API is down")


def plan(*, others: tuple[str, ...] = ()) -> Plan:
    zones = ("a", "b")
    slices = doomed_slices([believed("s-2", "b", "REQUESTING")], [seen("a", "s-1"), seen("b", "s-2")], zones)
    return Plan("demo", "abcdefghij", zones, slices, Running(7, "process 7"), (BLIND,), others)


def test_a_plan_has_what_either_side_knows_once() -> None:
    assert plan_lines(plan(others=("d",))) == [
        "delete slice s-1 in zone a (g, RUNNING, 1 host)",
        "delete slice s-2 in zone b (g, REQUESTING, 2 hosts)",
        "stop the controller (process 7)",
        "zone c (tpu) cannot be listed: the API is down",
        "zone d is left as it is",
    ]


def test_a_group_has_its_own_name_without_a_controller_too() -> None:
    (slice_,) = doomed_slices([], [seen("a", "s-1")], ["a"], ["other", "g"])
    assert slice_.scale_group == "g"
    info = replace(seen("a", "s-1").slices[0], labels={"iris-group": "a-b"})
    (slice_,) = doomed_slices([], [replace(seen("a"), slices=(info,))], ["a"], ["a_b", "ab"])
    assert slice_.scale_group == "a_b"


def test_a_plan_stays_in_its_zones() -> None:
    slices = doomed_slices([believed("s-1", "a"), believed("s-2", "b")], [], ["b"])
    assert [slice_.name for slice_ in slices] == ["s-2"]


def test_an_empty_plan() -> None:
    empty = Plan("demo", "abcdefghij", ("a",), (), None)
    assert empty.empty and not plan().empty
    assert plan_lines(empty) == ["nothing to delete, and no controller to stop"]


def test_a_controller_that_does_not_answer_is_not_nothing() -> None:
    silent = Plan("demo", "abcdefghij", ("a",), (), None, silent="h0: no SSH connection")
    assert not silent.empty
    (line,) = plan_lines(silent)
    assert "does not answer" in line


def test_a_plan_for_programs() -> None:
    document = plan_document(plan())
    assert [entry["name"] for entry in document["slices"]] == ["s-1", "s-2"]
    assert document["controller_pid"] == 7


def test_proof_counts_and_does_not_take_blindness_for_emptiness() -> None:
    looks: list[Seen | Blind] = [seen("a"), seen("b", "s-2"), seen("b", "s-3", vm=VmState.TERMINATED), BLIND]
    assert proof_lines(looks) == [
        "zone a: 0 slices, 0 agents",
        "zone b: 2 slices, 1 agent",
        "zone c: could not be listed: the API is down",
    ]
    assert [(zone["zone"], zone["slices"]) for zone in zone_documents(looks)] == [
        ("a", 0),
        ("b", 1),
        ("b", 1),
        ("c", None),
    ]
    beyond = Foreign("a", (Found("s-9", "zzzzzzzzzz", "a", 2, 1), Found("s-8", "b", None, 1, 0, "no record")))
    assert proof_lines([seen("a"), beyond]) == ["zone a: 2 slices, 1 agent"]
    assert [entry["why"] for entry in left_over([beyond], {})] == [
        "carries cluster id zzzzzzzzzz",
        "no record",
    ]
    assert foreign_ids([*looks, beyond], ["b"]) == ["zzzzzzzzzz"]
    left = left_over(looks, {"s-2": "its process does not end"})
    assert left_lines(left, "iris cluster stop -y") == (
        "left in zone b: slice s-2 (its process does not end)",
        "left in zone b: slice s-3 (as told)",
        "left in zone c: not known (the API is down)",
        "to remove it: iris cluster stop -y",
    )


def test_slices_are_told_at_every_change() -> None:
    teller = SliceTeller(words_of([believed("s-1", "a"), believed("s-2", "a")]))
    assert teller.lines(words_of([believed("s-1", "a"), believed("s-2", "a")])) == []
    told = teller.lines(words_of([believed("s-1", "a", "DRAINING", "cluster_stop"), believed("s-2", "a")]))
    assert told == ["slice s-1: DRAINING: cluster_stop"]
    assert teller.lines(words_of([believed("s-1", "a", "DELETING")])) == [
        "slice s-1: DELETING",
        "slice s-2: GONE",
    ]
    assert teller.lines(words_of([])) == ["slice s-1: GONE"]


def test_a_slice_that_does_not_progress_says_why() -> None:
    teller = SliceTeller(words_of([believed("s-1", "a", "DELETING")]))
    told = teller.lines(words_of([believed("s-1", "a", "DELETING", "not permitted")]))
    assert told == ["slice s-1: DELETING: not permitted"]
    troubles = TroubleTeller()
    assert troubles.due(10.0) and not troubles.due(10.5) and troubles.due(11.5)
    assert troubles.lines(["delete of s-1: not ours"]) == ["problem: delete of s-1: not ours"]
    assert troubles.lines(["delete of s-1: not ours"]) == []


def test_a_problem_is_not_a_new_one_for_the_wait_in_its_words() -> None:
    troubles = TroubleTeller()
    assert len(troubles.lines(["group a: refused; tried again in 1m54s", "group b: stockout"])) == 2
    assert troubles.lines(["group a: refused; tried again in 53s", "group b: stockout"]) == []


def test_a_stop_that_waits_says_for_what() -> None:
    waits = WaitTeller(900.0)
    assert waits.lines(["slice s-1: DELETING"], {"s-1": "DELETING"}, 20.0) == ["slice s-1: DELETING"]
    assert waits.lines([], {"s-1": "DELETING"}, 49.0) == []
    assert waits.lines([], {"s-1": "DELETING"}, 50.0) == [
        "waiting for slice s-1 (DELETING), 14m10s more at most"
    ]
    assert waits.lines([], {"s-1": "DELETING"}, 79.0) == []
    many = {f"s-{number}": "DELETING" for number in range(5)}
    (line,) = waits.lines([], many, 80.0)
    assert line.endswith("slice s-2 (DELETING) and 2 more, 13m40s more at most")


def test_what_cannot_be_deleted_is_not_waited_for() -> None:
    stuck = Stuck()
    left = [believed("s-1", "a", "DELETING"), believed("s-2", "a", "DELETING")]
    problems = ["cannot delete slice s-1: no route", "worker s-2/0: no contact for 30s"]
    stuck.look(left, problems, 0.0)
    assert not stuck.is_hopeless(100.0)
    problems.append("cannot delete slice s-2: no route")
    stuck.look(left, problems, 100.0)
    stuck.look(left, problems, 110.0)
    assert not stuck.is_hopeless(120.0) and stuck.is_hopeless(120.1)
    # One of them went on.
    stuck.look(left, problems[:1], 121.0)
    assert not stuck.is_hopeless(200.0)
