"""What goes wrong on request, as google-cloud-tpu sees it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import requests
from google.api_core import exceptions
from google.cloud import tpu_v2

from tests.cloud.clients import OTHER_ZONE, ZONE, TpuUser, node, result
from tests.harness.cloud import CloudServer

State = tpu_v2.Node.State


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (8, exceptions.TooManyRequests),
        (13, exceptions.InternalServerError),
        (14, exceptions.ServiceUnavailable),
        (7, exceptions.Forbidden),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_an_error_before_or_after_the_act(
    either: TpuUser, code: int, error: type[Exception], after: bool
) -> None:
    control = either.cloud.client
    control.fault("error", "CreateNode", code=code, after=after)
    with pytest.raises(error):
        either.create()
    assert len(control.nodes()) == after
    assert [(call.done, call.name) for call in control.calls("CreateNode")] == [(after, "n1")]


@pytest.mark.parametrize("after", [False, True])
def test_no_answer_at_all(either: TpuUser, after: bool) -> None:
    control = either.cloud.client
    control.fault("hang", "CreateNode", after=after)
    slow = (exceptions.DeadlineExceeded, exceptions.RetryError, requests.Timeout)
    asked = {"parent": either.parent(), "node_id": "n1", "node": node()}
    with pytest.raises(slow):
        either.client.create_node(asked, timeout=0.3)
    assert len(control.nodes()) == after
    assert either.listed() == ["n1"] * after


def test_answers_come_late_and_others_do_not_wait_for_them(either: TpuUser) -> None:
    control = either.cloud.client
    control.fault("late", "GetNode", delay_ms=60_000)
    either.create()
    with pytest.raises((exceptions.DeadlineExceeded, exceptions.RetryError, requests.Timeout)):
        either.client.get_node(name=either.name("n1"), timeout=0.2)
    assert either.get().name == either.name("n1")
    control.fault("late", "GetNode", delay_ms=300)
    before = time.monotonic()
    either.get()
    assert time.monotonic() - before >= 0.3


@pytest.mark.parametrize("after", [False, True])
def test_the_connection_is_reset(either: TpuUser, after: bool) -> None:
    control = either.cloud.client
    control.fault("reset", "CreateNode", after=after)
    with pytest.raises((exceptions.ServiceUnavailable, requests.ConnectionError), match=r"(?i)reset"):
        either.create()
    assert len(control.nodes()) == after
    assert either.listed() == ["n1"] * after


def test_how_long_to_wait_is_said_where_it_is_known(cloud: CloudServer) -> None:
    url = f"{cloud.url}/v2/projects/{cloud.project}/locations/{ZONE}/nodes"
    cloud.client.fault("error", "ListNodes", code=8, retry_after_s=7)
    cloud.client.fault("error", "ListNodes", code=8, nth=2)
    first, second = (requests.get(url, timeout=10) for _ in range(2))
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    assert (second.status_code, "retry-after" in second.headers) == (429, False)
    assert first.json()["error"]["details"][0]["retryDelay"] == "7s"
    assert second.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("kind", "words"), [("stockout", "no more capacity in the zone"), ("quota", "Quota limit")]
)
def test_stockout_and_quota_are_one_code_at_once_or_at_the_end(
    either_patient: TpuUser, kind: str, words: str
) -> None:
    control = either_patient.cloud.client
    control.fault(kind, "CreateNode")
    with pytest.raises(exceptions.TooManyRequests, match=words):
        either_patient.create()
    assert control.nodes() == {}

    control.fault(kind, "CreateNode", after=True)
    operation = either_patient.create()
    assert either_patient.get().state == State.CREATING
    control.advance(1000)
    with pytest.raises(exceptions.TooManyRequests, match=words):
        result(operation)
    assert control.nodes() == {} and control.vms() == []


def test_a_slice_with_hosts_that_never_boot(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.fault("partial", "CreateNode", name="silent", hosts=[1, 3])
    stopped.client.fault("partial", "CreateNode", name="honest", hosts=[2], after=True)
    operations = {name: patient.create(name) for name in ("silent", "honest")}
    stopped.client.advance(10_000)
    assert patient.get("silent").state == State.READY
    assert [vm.index for vm in stopped.client.vms("silent") if vm.on] == [0, 2]
    with pytest.raises(exceptions.InternalServerError, match="not all workers"):
        result(operations["honest"])
    assert patient.get("honest").state == State.CREATING
    assert patient.get("honest").health == tpu_v2.Node.Health.TIMEOUT
    for name in operations:
        patient.delete(name)
    stopped.client.advance(1000)
    assert stopped.client.nodes() == {} and stopped.client.vms() == []


def test_nodes_that_are_stuck(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.fault("stuck", "CreateNode", name="for-ever-*")
    stopped.client.fault("stuck", "DeleteNode", name="n1")
    creation = patient.create("for-ever-new")
    patient.create()
    stopped.client.advance(1000)
    patient.delete()
    stopped.client.advance(10 * 24 * 3_600_000)
    assert not creation.done()
    states = {name.rpartition("/")[2]: state for name, state in stopped.client.nodes().items()}
    assert states == {"for-ever-new": "CREATING", "n1": "DELETING"}
    # A second deletion, where the cloud takes one, gets it moving.
    stopped.client.configure(delete_while_deleting=True)
    for name in states:
        patient.delete(name)
    stopped.client.advance(1000)
    assert stopped.client.nodes() == {}


def test_lists_that_lag(patient: TpuUser, stopped: CloudServer) -> None:
    patient.create("old")
    stopped.client.advance(1000)
    patient.create("new")
    patient.delete("old")
    stopped.client.advance(200)
    assert patient.listed() == ["new"]
    stopped.client.fault("lag", "ListNodes", delay_ms=700)
    assert patient.listed() == ["old"]
    assert patient.listed() == ["new"]
    stopped.client.configure(list_lag=700)
    assert patient.listed() == ["old"]
    stopped.client.advance(600)
    assert patient.listed() == ["new"]


def test_lists_that_fail_half_way_or_are_empty(either: TpuUser) -> None:
    control = either.cloud.client
    for name in ("a", "b", "c", "d"):
        either.create(name)
    control.fault("half", "ListNodes")
    pages = either.client.list_nodes(parent=either.parent()).pages
    assert len(next(pages).nodes) == 2
    with pytest.raises(exceptions.ServiceUnavailable):
        next(pages)
    control.fault("empty", "ListNodes", zone=ZONE)
    assert either.listed(OTHER_ZONE) == [] and either.listed() == []
    control.fault("unreachable", "ListNodes")
    page = next(either.client.list_nodes(parent=either.parent()).pages)
    assert not page.nodes and page.unreachable == [f"{either.parent()}/nodes"]
    assert either.listed() == ["a", "b", "c", "d"]


def test_many_are_preempted_at_once(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.set_rate("CreateNode", None)
    names = [f"n{number}" for number in range(54)]
    for name in names:
        patient.create(name)
    stopped.client.advance(1000)
    stopped.client.preempt(ZONE, *names, notice_ms=0)
    assert set(stopped.client.nodes().values()) == {"PREEMPTED"}
    assert not [vm for vm in stopped.client.vms() if vm.on]


def test_faults_choose_their_calls(user: TpuUser, cloud: CloudServer) -> None:
    def fails(call: Callable[[], object]) -> bool:
        try:
            call()
        except exceptions.ServiceUnavailable:
            return True
        return False

    cloud.client.fault("error", "Get*", name="b*", zone=ZONE, nth=2, count=2)
    user.create("a")
    user.create("b")
    assert [fails(lambda: user.get("a")) for _ in range(4)] == [False] * 4
    assert [fails(lambda: user.get("b")) for _ in range(4)] == [False, True, True, False]
    lasting = cloud.client.fault("error", "GetNode", count=None)
    assert [fails(lambda: user.get("b")) for _ in range(3)] == [True] * 3
    assert list(cloud.client.faults()) == [str(lasting)]
    cloud.client.remove_fault(lasting)
    assert not fails(lambda: user.get("b"))
    with pytest.raises(AssertionError, match="no such fault"):
        cloud.client.fault("no such thing")
