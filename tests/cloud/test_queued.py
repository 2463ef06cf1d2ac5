"""Queued resources, as google-cloud-tpu sees them."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2

from tests.cloud.clients import ZONE, TpuUser, node, result
from tests.harness.cloud import CloudServer

State = tpu_v2.QueuedResourceState.State
Initiator = tpu_v2.QueuedResourceState.StateInitiator


def test_a_wish_is_granted_and_taken_back(either_patient: TpuUser) -> None:
    control = either_patient.cloud.client
    either_patient.queue(spot={})
    control.advance(20)
    assert either_patient.get_queued().state.state == State.WAITING_FOR_RESOURCES
    control.advance(1000)
    assert either_patient.get_queued().state.state == State.ACTIVE
    made = either_patient.get("q1")
    assert made.queued_resource == either_patient.queued_name("q1")
    assert made.scheduling_config.spot and made.state == tpu_v2.Node.State.READY
    with pytest.raises(exceptions.GoogleAPICallError, match="force"):
        either_patient.delete_queued()
    deletion = either_patient.delete_queued(force=True)
    assert either_patient.get_queued().state.state == State.DELETING
    control.advance(1000)
    result(deletion)
    assert control.nodes() == {} and control.queued() == {}


def test_the_same_request_again_is_the_same_operation(user: TpuUser) -> None:
    first = user.queue(request_id="r1")
    again = user.queue(request_id="r1")
    assert first.operation.name == again.operation.name
    with pytest.raises(exceptions.AlreadyExists):
        user.queue(request_id="r2")
    with pytest.raises(exceptions.AlreadyExists):
        user.queue()


def test_one_waits_until_there_is_room(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.set_capacity(ZONE, "v5litepod-16", 1)
    patient.queue("q1")
    stopped.client.advance(1000)
    patient.queue("q2")
    stopped.client.advance(60_000)
    assert patient.get_queued("q2").state.state == State.WAITING_FOR_RESOURCES
    patient.delete_queued("q1", force=True)
    stopped.client.advance(1000)
    assert patient.get_queued("q2").state.state == State.ACTIVE


def test_one_that_is_never_granted_fails_when_its_time_is_over(
    patient: TpuUser, stopped: CloudServer
) -> None:
    stopped.client.set_capacity(ZONE, "v5litepod-16", 0)
    patient.queue(queueing_policy={"valid_until_duration": {"seconds": 600}})
    stopped.client.advance(599_999)
    assert patient.get_queued().state.state == State.WAITING_FOR_RESOURCES
    stopped.client.advance(1)
    failed = patient.get_queued().state
    assert failed.state == State.FAILED and failed.failed_data.error.code == 4
    stopped.client.set_capacity(ZONE, "v5litepod-16", 1)
    stopped.client.advance(600_000)
    assert patient.get_queued().state.state == State.FAILED
    patient.delete_queued()
    stopped.client.advance(1000)
    assert stopped.client.queued() == {}


def test_one_is_delivered_late(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.fault("slow", "CreateQueuedResource", delay_ms=3_600_000)
    patient.queue()
    stopped.client.advance(3_600_000)
    assert patient.get_queued().state.state == State.WAITING_FOR_RESOURCES
    stopped.client.advance(1000)
    assert patient.get_queued().state.state == State.ACTIVE


def test_a_failed_one_holds_quota_until_it_is_deleted(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.set_quota(ZONE, "v5e", 16)
    stopped.client.fault("stockout", "CreateQueuedResource", after=True)
    patient.queue("q1")
    stopped.client.advance(1000)
    failed = patient.get_queued("q1").state
    assert failed.state == State.FAILED and "no more capacity" in failed.failed_data.error.message
    with pytest.raises(exceptions.ResourceExhausted, match=r"Quota limit .* has been exceeded"):
        patient.create()
    patient.queue("q2")
    stopped.client.advance(1000)
    assert "Quota limit" in patient.get_queued("q2").state.failed_data.error.message
    patient.delete_queued("q1")
    patient.delete_queued("q2")
    stopped.client.advance(1000)
    patient.create()


def test_a_node_that_ends_suspends_its_wish(patient: TpuUser, stopped: CloudServer) -> None:
    for queued_id in ("q1", "q2"):
        patient.queue(queued_id, spot={})
    stopped.client.advance(1000)
    stopped.client.preempt(ZONE, "q1", notice_ms=0)
    patient.delete("q2")
    stopped.client.advance(1000)
    states = [patient.get_queued(queued_id).state for queued_id in ("q1", "q2")]
    assert [state.state for state in states] == [State.SUSPENDED, State.SUSPENDED]
    assert [state.state_initiator for state in states] == [Initiator.SERVICE, Initiator.USER]
    # The preempted node is still there, and goes with force alone.
    assert patient.get("q1").state == tpu_v2.Node.State.PREEMPTED
    patient.delete_queued("q1", force=True)
    patient.delete_queued("q2")
    stopped.client.advance(1000)
    assert stopped.client.nodes() == {} and stopped.client.queued() == {}


def test_several_slices_of_one_wish(user: TpuUser, cloud: CloudServer) -> None:
    spec: dict[str, Any] = {"parent": user.parent(), "node": node()}
    spec["multislice_params"] = {"node_count": 3, "node_id_prefix": "ms"}
    resource = tpu_v2.QueuedResource(tpu={"node_spec": [spec]})
    user.client.create_queued_resource(
        parent=user.parent(), queued_resource_id="q1", queued_resource=resource
    )
    cloud.client.wait_queued(ZONE, "q1", "ACTIVE")
    assert user.listed() == ["ms-0", "ms-1", "ms-2"]
    assert user.get("ms-1").multislice_node


def test_one_with_a_node_that_is_stuck_is_stuck_too(patient: TpuUser, stopped: CloudServer) -> None:
    patient.queue()
    stopped.client.advance(1000)
    stopped.client.fault("stuck", "DeleteNode", name="q1")
    patient.delete("q1")
    patient.delete_queued("q1", force=True)
    stopped.client.advance(600_000)
    assert list(stopped.client.nodes().values()) == ["DELETING"]
    assert list(stopped.client.queued().values()) == ["DELETING"]


def test_what_a_wish_may_not_say(user: TpuUser) -> None:
    far = {"valid_until_duration": {"seconds": -5}}
    wrong: list[dict[str, Any]] = [{"queueing_policy": far}, {"spot": {}, "reservation_name": "reservation"}]
    for fields in wrong:
        with pytest.raises(exceptions.InvalidArgument):
            user.queue(**fields)
    with pytest.raises(exceptions.NotFound):
        user.queue(reservation_name="projects/p/locations/z/reservations/nobody")
    for names in ({}, {"multislice_params": {"node_count": 1}}, {"node_id": "Not-This"}):
        spec = {"parent": user.parent(), "node": node(), **names}
        for specs in ([spec], []):
            resource = tpu_v2.QueuedResource(tpu={"node_spec": specs})
            with pytest.raises(exceptions.InvalidArgument):
                user.client.create_queued_resource(
                    parent=user.parent(), queued_resource_id="q1", queued_resource=resource
                )
    assert user.cloud.client.queued() == {}
