"""Nodes, as google-cloud-tpu sees them over both of its transports."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2

from tests.cloud.clients import ZONE, TpuUser, node, result
from tests.harness.cloud import CloudServer

State = tpu_v2.Node.State


def test_a_node_is_created_seen_and_deleted(either_patient: TpuUser) -> None:
    operation = either_patient.create(labels={"a": "b"}, metadata={"startup-script": "echo"})
    assert operation.metadata.verb == "create"
    assert operation.metadata.target == either_patient.name("n1")
    assert either_patient.get().state == State.CREATING

    either_patient.cloud.client.advance(1000)
    made = result(operation)
    assert (made.state, made.health) == (State.READY, tpu_v2.Node.Health.HEALTHY)
    assert [end.port for end in made.network_endpoints] == [8470] * 4
    assert len({end.ip_address for end in made.network_endpoints}) == 4
    assert dict(made.labels) == {"a": "b"} and made.id > 0
    assert made.accelerator_config.topology == "4x4"
    assert made.network_config.network == f"projects/{either_patient.cloud.project}/global/networks/default"
    assert [vm.index for vm in either_patient.cloud.client.vms("n1") if vm.on] == [0, 1, 2, 3]

    deletion = either_patient.delete()
    assert either_patient.get().state == State.DELETING
    assert not [vm for vm in either_patient.cloud.client.vms() if vm.on]
    either_patient.cloud.client.advance(1000)
    result(deletion)
    with pytest.raises(exceptions.NotFound, match="was not found"):
        either_patient.get()
    assert either_patient.listed() == [] and either_patient.cloud.client.vms() == []


def test_a_name_is_taken_until_the_node_is_gone(either_patient: TpuUser) -> None:
    either_patient.create()
    either_patient.cloud.client.advance(1000)
    with pytest.raises(exceptions.Conflict, match="already exists"):
        either_patient.create()
    deletion = either_patient.delete()
    # Over REST there is no telling it from ABORTED but by its words.
    with pytest.raises(exceptions.Conflict):
        either_patient.create()
    either_patient.cloud.client.advance(1000)
    result(deletion)
    either_patient.create()


def test_what_is_not_there_is_not_found(either: TpuUser) -> None:
    for look in (either.get, either.delete, either.get_queued, either.delete_queued):
        with pytest.raises(exceptions.NotFound):
            look("nobody")
    with pytest.raises(exceptions.NotFound):
        either.client.get_operation({"name": f"{either.parent()}/operations/operation-0"})


def test_lists_come_in_pages_by_zone(either: TpuUser) -> None:
    names = [f"n{number}" for number in range(5)]
    for each in names:
        either.create(each)
    either.create("elsewhere", zone="us-east5-a")
    assert either.listed(page_size=2) == names
    assert len(either.cloud.client.calls("ListNodes")) == 3
    first = either.client.list_nodes({"parent": either.parent(), "page_size": 2})
    assert len(list(first.pages)[-1].nodes) == 1
    assert either.listed(zone="-") == ["elsewhere", *names]


def test_a_preempted_node_stays_and_holds_its_name(patient: TpuUser, stopped: CloudServer) -> None:
    patient.create(scheduling_config={"spot": True})
    stopped.client.advance(1000)
    stopped.client.preempt(ZONE, "n1", notice_ms=100)
    assert patient.get().state == State.READY
    assert all(vm.preempted and vm.on for vm in stopped.client.vms("n1"))
    stopped.client.advance(100)
    assert patient.get().state == State.PREEMPTED
    assert not any(vm.on for vm in stopped.client.vms("n1"))
    with pytest.raises(exceptions.AlreadyExists):
        patient.create()
    with pytest.raises(exceptions.FailedPrecondition):
        patient.client.start_node({"name": patient.name("n1")})
    patient.delete()
    stopped.client.advance(1000)
    assert stopped.client.nodes() == {}


def test_a_node_is_stopped_and_started(user: TpuUser, cloud: CloudServer) -> None:
    result(user.create())
    assert result(user.client.stop_node({"name": user.name("n1")})).state == State.STOPPED
    assert not any(vm.on for vm in cloud.client.vms())
    assert result(user.client.start_node({"name": user.name("n1")})).state == State.READY
    assert all(vm.on for vm in cloud.client.vms())


def test_labels_and_metadata_are_changed_later(either: TpuUser) -> None:
    result(either.create(labels={"a": "1"}))
    changed = tpu_v2.Node(name=either.name("n1"), labels={"b": "2"}, description="not in the mask")
    asked = {"node": changed, "update_mask": {"paths": ["labels"]}}
    result(either.client.update_node(asked))
    found = either.get()
    assert dict(found.labels) == {"b": "2"} and not found.description
    assert found.state == State.READY


def test_a_node_can_be_deleted_while_it_is_created(patient: TpuUser, stopped: CloudServer) -> None:
    creation = patient.create()
    patient.delete()
    stopped.client.advance(1000)
    with pytest.raises(exceptions.Cancelled):
        result(creation)
    assert stopped.client.nodes() == {}


def test_or_not_where_the_cloud_refuses(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.configure(delete_while_creating=False)
    patient.create()
    with pytest.raises(exceptions.Aborted, match="unable to queue the operation"):
        patient.delete()
    stopped.client.advance(1000)
    patient.delete()
    with pytest.raises(exceptions.Aborted):
        patient.delete()


def test_nothing_is_due_while_the_clock_stands_still(patient: TpuUser, stopped: CloudServer) -> None:
    patient.create()
    assert patient.get().state == State.CREATING
    stopped.client.advance(149)
    assert patient.get().state == State.CREATING
    stopped.client.advance(1)
    assert patient.get().state == State.READY


def test_hosts_boot_each_in_its_own_time(patient: TpuUser, stopped: CloudServer) -> None:
    stopped.client.set_timings(machines=10, boot=5, boot_of={2: 60_000})
    patient.create()
    stopped.client.advance(15)
    assert [vm.index for vm in stopped.client.vms() if vm.on] == [0, 1, 3]
    stopped.client.advance(59_994)
    assert [vm.index for vm in stopped.client.vms() if vm.on] == [0, 1, 3]
    stopped.client.advance(1)
    assert [vm.index for vm in stopped.client.vms() if vm.on] == [0, 1, 2, 3]


def test_what_zones_have(either: TpuUser) -> None:
    types = {each.type_ for each in either.client.list_accelerator_types(parent=either.parent())}
    assert "v5litepod-16" in types and "v4-8" not in types
    versions = {each.version for each in either.client.list_runtime_versions(parent=either.parent())}
    assert "v2-alpha-tpuv5-lite" in versions
    name = f"{either.parent()}/acceleratorTypes/v5litepod-1"
    assert either.client.get_accelerator_type(name=name).type_ == "v5litepod-1"
    locations = either.client.list_locations({"name": f"projects/{either.cloud.project}"})
    assert ZONE in {each.location_id for each in locations.locations}
    assert node().accelerator_type in types
