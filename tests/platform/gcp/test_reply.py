"""What Google shows, as slices."""

from typing import Any

import pytest
from google.cloud import tpu_v2
from google.rpc import status_pb2

from iris_platform.base import Failure, SliceCloudState, SliceInfo, VmInfo, VmState
from iris_platform.gcp.errors import Cause
from iris_platform.gcp.reply import (
    Sighting,
    differs,
    host_words,
    node_ids,
    orphaned,
    sightings,
    slice_info,
    stands,
    vanished,
)
from iris_platform.gcp.states import queued_state_name
from tests.platform.gcp.made import (
    CREATED_MS,
    IDENTITY,
    NAME,
    OTHER,
    WHERE,
    ZONE,
    Queued,
    State,
    labels,
    name,
    node,
    queued,
    spec,
)

STOCKOUT = status_pb2.Status(code=8, message='There is no more capacity in the zone "us-central2-b"')
SERVICE = tpu_v2.QueuedResourceState.StateInitiator.SERVICE
USER = tpu_v2.QueuedResourceState.StateInitiator.USER


def info(sighting: Sighting, ended: Cause | None = None) -> SliceInfo:
    return slice_info(NAME, ZONE, sighting, ended)


def vm(index: int, state: VmState = VmState.RUNNING) -> VmInfo:
    return VmInfo(f"{NAME}/{index}", f"10.0.0.{index + 1}", ZONE, labels(), state, CREATED_MS)


def test_a_node_that_runs() -> None:
    assert info(Sighting((node(),))) == SliceInfo(
        slice_id=NAME,
        zone=ZONE,
        labels=labels(),
        state=SliceCloudState.RUNNING,
        vms=(vm(0), vm(1)),
        created_at_ms=CREATED_MS,
    )


def test_a_queued_resource_that_waits() -> None:
    assert info(Sighting(queued=queued(Queued.WAITING_FOR_RESOURCES))) == SliceInfo(
        slice_id=NAME,
        zone=ZONE,
        labels=labels(),
        state=SliceCloudState.CREATING,
        vms=(),
        created_at_ms=CREATED_MS,
        detail="queued resource WAITING_FOR_RESOURCES",
    )


@pytest.mark.parametrize(
    ("of_node", "of_queued", "state", "detail"),
    [
        (State.CREATING, None, "creating", "node CREATING"),
        (State.PREEMPTED, None, "preempted", "node PREEMPTED"),
        (State.TERMINATED, None, "failed", "node TERMINATED"),
        (State.REPAIRING, None, "creating", "node REPAIRING"),
        (State.DELETING, None, "deleting", "node DELETING"),
        (State.READY, Queued.ACTIVE, "running", ""),
        (State.CREATING, Queued.PROVISIONING, "creating", "queued resource PROVISIONING; node CREATING"),
        (State.PREEMPTED, Queued.ACTIVE, "preempted", "node PREEMPTED"),
        (State.DELETING, Queued.ACTIVE, "deleting", "node DELETING"),
        # It goes, and its nodes with it.
        (State.READY, Queued.DELETING, "deleting", "queued resource DELETING"),
        (State.PREEMPTED, Queued.DELETING, "deleting", "queued resource DELETING; node PREEMPTED"),
        (None, Queued.DELETING, "deleting", "queued resource DELETING"),
        (None, Queued.ACTIVE, "creating", "queued resource ACTIVE"),
    ],
)
def test_a_state_of_both(of_node: int | None, of_queued: int | None, state: str, detail: str) -> None:
    nodes = (node(state=of_node),) if of_node is not None else ()
    seen = info(Sighting(nodes, queued(of_queued) if of_queued is not None else None))
    assert (seen.state.value, seen.detail, seen.failure) == (state, detail, None)


def test_a_queued_resource_that_failed() -> None:
    seen = info(Sighting(queued=queued(Queued.FAILED, error=STOCKOUT)))
    assert (seen.state, seen.failure) == (SliceCloudState.FAILED, Failure.NO_CAPACITY)
    assert seen.detail == f"queued resource FAILED: {STOCKOUT.message}"


@pytest.mark.parametrize(
    ("by", "state", "words"),
    [
        (SERVICE, SliceCloudState.PREEMPTED, " by Google"),
        (USER, SliceCloudState.FAILED, " by somebody's request"),
    ],
)
def test_a_queued_resource_whose_nodes_are_taken(by: int, state: SliceCloudState, words: str) -> None:
    for taken in (Queued.SUSPENDING, Queued.SUSPENDED):
        seen = info(Sighting((node(state=State.DELETING),), queued(taken, by=by)))
        assert seen.state is state
        assert seen.detail == f"queued resource {queued_state_name(taken)}{words}; node DELETING"


def test_symptoms_and_health_are_told() -> None:
    sick = node(
        health=tpu_v2.Node.Health.TIMEOUT,
        health_description="host 1 was not heard of for 5 minutes",
        symptoms=[{"symptom_type": "HBM_OUT_OF_MEMORY", "worker_id": "1", "details": "16 of 16 GiB"}],
    )
    seen = info(Sighting((sick,)))
    # What works, its agents say.
    assert seen.state is SliceCloudState.RUNNING
    assert seen.detail == (
        "does not respond; host 1 was not heard of for 5 minutes;"
        " host 1: the TPU's own memory is full (16 of 16 GiB)"
    )


def test_hosts_without_an_address_are_not_there_yet() -> None:
    half = node(state=State.CREATING, network_endpoints=[{"ip_address": "10.0.0.1"}, {"port": 8470}])
    assert info(Sighting((half,))).vms == (vm(0, VmState.BOOTING),)


def test_the_end_of_its_creation_explains_a_node_that_is_left() -> None:
    why = Cause(Failure.START, "not all workers became healthy")
    seen = info(Sighting((node(state=State.CREATING),)), why)
    assert (seen.state, seen.failure) == (SliceCloudState.FAILED, Failure.START)
    assert seen.detail == "node CREATING; not all workers became healthy"
    # What is on its way out is that, whatever it came from.
    seen = info(Sighting((node(state=State.DELETING),)), why)
    assert (seen.state, seen.failure) == (SliceCloudState.DELETING, None)


def test_a_creation_of_which_nothing_is_there() -> None:
    under_way = vanished(NAME, ZONE, labels(), 5, None)
    assert (under_way.state, under_way.failure) == (SliceCloudState.CREATING, None)
    failed = vanished(NAME, ZONE, labels(), 5, Cause(Failure.QUOTA, "no more than 8"))
    assert (failed.state, failed.failure, failed.detail) == (
        SliceCloudState.FAILED,
        Failure.QUOTA,
        "no more than 8",
    )


def test_an_active_queued_resource_without_its_node() -> None:
    sighting = Sighting(queued=queued(Queued.ACTIVE))
    assert not sighting.is_settled
    assert Sighting((node(),), queued(Queued.ACTIVE)).is_settled
    seen = orphaned(info(sighting))
    assert (seen.state, seen.detail) == (SliceCloudState.FAILED, "queued resource ACTIVE; its node is gone")


def test_both_lists_together_are_one() -> None:
    found, strays = sightings(
        [node(queued_resource=f"{WHERE}/queuedResources/{NAME}"), node(name(2))],
        [queued(), queued(Queued.ACCEPTED, name(3))],
        IDENTITY,
    )
    assert {n: (len(s.nodes), s.queued is not None) for n, s in found.items()} == {
        name(1): (1, True),
        name(2): (1, False),
        name(3): (0, True),
    }
    assert strays == []


def test_what_is_not_ours_is_left_out() -> None:
    theirs = name(1, OTHER.cluster_id)
    found, strays = sightings(
        [
            node(theirs, labels=labels(theirs, OTHER)),
            node("somebody", labels={}),
            node("with-our-labels", labels=labels()),
            node(name(2), labels={}),
        ],
        [
            queued(slice_="somebodys"),
            queued(slice_=name(3), tpu={"node_spec": [{"node": {"accelerator_type": "v4-16"}}]}),
        ],
        IDENTITY,
    )
    assert found == {}
    halves = "name and labels do not both carry this cluster's id; it is let alone"
    assert [stray.words for stray in strays] == [
        f"queued resource {name(3)}: its node lacks this cluster's labels; it is let alone",
        # Its keys may have been lost: somebody has to be told.
        f"node {theirs}: carries the same cluster name and id {OTHER.cluster_id}",
        f"node with-our-labels: {halves}",
        f"node {name(2)}: {halves}",
    ]


def test_the_nodes_of_a_multislice_request_are_one_slice() -> None:
    several = {"node_count": 11, "node_id_prefix": ""}
    asked = {"accelerator_type": "v4-8", "labels": labels()}
    request = queued(tpu={"node_spec": [{"multislice_params": several, "node": asked}]})
    ids = [f"{NAME}-{number}" for number in range(11)]
    assert node_ids(NAME, request) == ids
    of_it: dict[str, Any] = {
        "queued_resource": request.name,
        "multislice_node": True,
        "hosts": 1,
        "slice_": NAME,
    }
    nodes = [node(each, **of_it) for each in sorted(ids)]
    found, strays = sightings(nodes, [request], IDENTITY)
    assert (list(found), strays) == ([NAME], [])
    assert [each.name.rpartition("/")[2] for each in found[NAME].nodes] == ids
    seen = info(found[NAME])
    assert (seen.state, len(seen.vms), seen.vms[10].vm_id) == (SliceCloudState.RUNNING, 11, f"{NAME}/10")
    # One that is not there is no reason to wait for the others.
    gone = info(Sighting((*found[NAME].nodes[1:], node(ids[0], State.PREEMPTED, **of_it)), request))
    assert gone.state is SliceCloudState.PREEMPTED


def test_the_nodes_of_a_slice() -> None:
    assert node_ids(NAME, None) == [NAME]
    assert node_ids(NAME, queued()) == [NAME]
    assert node_ids(NAME, queued(tpu={"node_spec": []})) == [NAME]
    several = {"node_count": 2, "node_id_prefix": "np"}
    assert node_ids(NAME, queued(tpu={"node_spec": [{"multislice_params": several}]})) == ["np-0", "np-1"]


def test_what_exists_under_a_wanted_name() -> None:
    assert differs(Sighting((node(),)), spec()) == ""
    assert differs(Sighting(queued=queued()), spec()) == ""
    # Google adds labels of its own.
    assert differs(Sighting((node(labels={**labels(), "goog-x": "1"}),)), spec()) == ""
    assert differs(Sighting((node(labels=labels(NAME, OTHER)),)), spec()) == "labels"
    assert differs(Sighting((node(accelerator_type="v4-8"),)), spec()) == "shape"


def test_what_is_left_to_be_deleted() -> None:
    assert not stands(Sighting())
    assert stands(Sighting((node(state=State.PREEMPTED),)))
    assert not stands(Sighting((node(state=State.DELETING),)))
    # With its nodes gone it still holds quota.
    assert stands(Sighting((node(state=State.DELETING),), queued(Queued.SUSPENDED)))
    assert not stands(Sighting((node(),), queued(Queued.DELETING)))


def test_what_a_host_left() -> None:
    def answer(namespace: str, key: str) -> tpu_v2.GetGuestAttributesResponse:
        items = [{"namespace": namespace, "key": key, "value": "no network"}]
        return tpu_v2.GetGuestAttributesResponse(guest_attributes=[{"query_value": {"items": items}}])

    assert host_words(answer("iris", "bootstrap-log")) == "no network"
    assert host_words(answer("iris/", "bootstrap-log")) == "no network"
    assert host_words(answer("iris", "other")) == host_words(answer("ssh", "bootstrap-log")) == ""
    assert host_words(tpu_v2.GetGuestAttributesResponse()) == ""
