"""What the TPU API shows, read: pure functions from nodes and queued resources to slices.

A slice is a node, or a queued resource with the nodes that it makes. Both have the
slice's name, but for the nodes of a multislice request, which are numbered.
Knows nothing of calls or errors of calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from google.cloud import tpu_v2

from iris_platform.base import ClusterIdentity, SliceCloudState, SliceInfo, SliceSpec, Stray, VmInfo
from iris_platform.bootstrap.host.report import LOG_KEY, NAMESPACE
from iris_platform.gcp.errors import Cause, cause_of
from iris_platform.gcp.states import (
    HEALTHS,
    HOST_STATES,
    SUSPENDED,
    SYMPTOMS,
    node_state,
    node_state_name,
    queued_state,
    queued_state_name,
)
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID, is_ours, parse_slice_name

_Queued = tpu_v2.QueuedResourceState
_DELETING = SliceCloudState.DELETING

# Of several nodes and their queued resource the first of these that holds; at last
# RUNNING, which only all of them together make.
_WORST = (
    SliceCloudState.PREEMPTED,
    SliceCloudState.FAILED,
    SliceCloudState.DELETING,
    SliceCloudState.CREATING,
)
_INITIATORS = {
    _Queued.StateInitiator.USER: " by somebody's request",
    _Queued.StateInitiator.SERVICE: " by Google",
}


@dataclass(frozen=True)
class Sighting:
    """What there is under one slice's name; nothing of it: there is no such slice."""

    nodes: tuple[tpu_v2.Node, ...] = ()
    queued: tpu_v2.QueuedResource | None = None

    @property
    def exists(self) -> bool:
        """Whether there is anything."""
        return bool(self.nodes) or self.queued is not None

    @property
    def is_settled(self) -> bool:
        """False where list and list contradict each other: only a look by name tells."""
        active = self.queued is not None and self.queued.state.state == _Queued.State.ACTIVE
        return not active or bool(self.nodes)

    @property
    def labels(self) -> Mapping[str, str]:
        """The slice's labels; a queued resource has none but those of the node that it asks for."""
        if self.nodes:
            return dict(self.nodes[0].labels)
        specs = self.queued.tpu.node_spec if self.queued is not None else []
        return dict(specs[0].node.labels) if specs else {}

    @property
    def accelerator_type(self) -> str:
        """What was asked for."""
        if self.nodes:
            return self.nodes[0].accelerator_type
        specs = self.queued.tpu.node_spec if self.queued is not None else []
        return specs[0].node.accelerator_type if specs else ""


def last_word(name: str) -> str:
    """The part of a resource's whole name that is its own."""
    return name.rpartition("/")[2]


def sightings(
    nodes: Iterable[tpu_v2.Node], queued: Iterable[tpu_v2.QueuedResource], identity: ClusterIdentity
) -> tuple[dict[str, Sighting], list[Stray]]:
    """One cluster's slices in the lists of a zone, by name; and what is let alone there.

    What has another id in its name is only mentioned where its labels have our
    cluster's name. What has our labels and not our name, or the other way round, is
    somebody's mistake: nothing touches it.
    """
    cluster_id = identity.cluster_id
    found: dict[str, Sighting] = {}
    strays: list[Stray] = []
    for request in queued:
        name = last_word(request.name)
        if is_ours(name, Sighting(queued=request).labels, cluster_id):
            found[name] = Sighting(queued=request)
        elif _has_id(name, cluster_id):
            words = "its node lacks this cluster's labels; it is let alone"
            strays.append(Stray("queued resource", name, words))
        elif other := _namesake(Sighting(queued=request).labels, identity):
            strays.append(_of_namesake("queued resource", name, other, 0))
    for node in nodes:
        name = slice_of(node)
        if is_ours(name, node.labels, cluster_id):
            known = found.get(name, Sighting())
            found[name] = replace(known, nodes=(*known.nodes, node))
        elif node.labels.get(LABEL_CLUSTER_ID) == cluster_id or _has_id(name, cluster_id):
            words = "name and labels do not both carry this cluster's id; it is let alone"
            strays.append(Stray("node", last_word(node.name), words, hosts=len(node.network_endpoints)))
        elif (other := _namesake(node.labels, identity)) and all(name != stray.name for stray in strays):
            hosts = len(node.network_endpoints)
            strays.append(_of_namesake("node", last_word(node.name), other, hosts))
    return {name: _in_order(sighting) for name, sighting in found.items()}, strays


def _namesake(labels: Mapping[str, str], identity: ClusterIdentity) -> str:
    """The id of another cluster of our name that these labels carry; empty where they do not."""
    other = labels.get(LABEL_CLUSTER_ID, "") if labels.get(LABEL_CLUSTER) == identity.cluster else ""
    return other if other != identity.cluster_id else ""


def _of_namesake(kind: str, name: str, cluster_id: str, hosts: int) -> Stray:
    return Stray(kind, name, f"carries the same cluster name and id {cluster_id}", cluster_id, hosts)


def slice_of(node: tpu_v2.Node) -> str:
    """The name of the slice that a node is of: its queued resource's, where it has one."""
    return last_word(node.queued_resource or node.name)


def node_ids(name: str, queued: tpu_v2.QueuedResource | None) -> list[str]:
    """The nodes that a slice may have, by their ids."""
    ids = []
    for spec in queued.tpu.node_spec if queued is not None else []:
        several = spec.multislice_params
        if several.node_count:
            prefix = several.node_id_prefix or name
            ids += [f"{prefix}-{index}" for index in range(several.node_count)]
        else:
            ids.append(spec.node_id or name)
    return ids or [name]


def slice_info(name: str, zone: str, sighting: Sighting, ended: Cause | None = None) -> SliceInfo:
    """What is seen of a slice that exists; `ended`: what the end of its creation said."""
    queued, labels = sighting.queued, sighting.labels
    states = [node_state(node.state) for node in sighting.nodes]
    of_queued = queued_state(queued.state.state) if queued is not None else None
    if queued is not None and _is_taken_back(queued):
        of_queued = SliceCloudState.PREEMPTED
    if of_queued is not None:
        states.append(of_queued)
    elif not sighting.nodes:
        # There is nothing yet, or it is not shown yet.
        states.append(SliceCloudState.CREATING)
    state = next((worst for worst in _WORST if worst in states), SliceCloudState.RUNNING)
    if of_queued is _DELETING:
        # Whatever becomes of its nodes meanwhile.
        state = _DELETING
    cause = ended if state is not _DELETING else None
    if queued is not None and queued.state.state == _Queued.State.FAILED:
        cause = cause_of(_failed_with(queued))
    if ended is not None and state is SliceCloudState.CREATING:
        state = SliceCloudState.FAILED
    return SliceInfo(
        slice_id=name,
        zone=zone,
        labels=labels,
        state=state,
        vms=_vms(name, zone, sighting, labels),
        created_at_ms=_created_ms(sighting),
        detail=_detail(sighting, cause),
        failure=cause.failure if cause is not None else None,
    )


def vanished(name: str, zone: str, labels: Mapping[str, str], asked_ms: int, why: Cause | None) -> SliceInfo:
    """A slice whose creation was accepted and of which nothing is there: not yet (`why` None), or never."""
    return SliceInfo(
        slice_id=name,
        zone=zone,
        labels=labels,
        state=SliceCloudState.CREATING if why is None else SliceCloudState.FAILED,
        vms=(),
        created_at_ms=asked_ms,
        detail="its creation is under way" if why is None else why.words,
        failure=None if why is None else why.failure,
    )


def looks_bad(state: SliceCloudState, sighting: Sighting) -> bool:
    """Whether the end of the creation may say why this is as it is."""
    unwell = any(HEALTHS.get(node.health, "") for node in sighting.nodes)
    return state in (SliceCloudState.FAILED, SliceCloudState.PREEMPTED) or (
        state is SliceCloudState.CREATING and unwell
    )


def is_deleting(thing: tpu_v2.Node | tpu_v2.QueuedResource) -> bool:
    """Whether a node or a queued resource is on its way out already."""
    if isinstance(thing, tpu_v2.Node):
        return node_state(thing.state) is _DELETING
    return queued_state(thing.state.state) is _DELETING


def stands(sighting: Sighting) -> bool:
    """Whether there is anything that is not on its way out: nodes go with their queued resource."""
    if sighting.queued is not None:
        return not is_deleting(sighting.queued)
    return not all(is_deleting(node) for node in sighting.nodes)


def orphaned(info: SliceInfo) -> SliceInfo:
    """Of an active queued resource that has no node, asked by name: the node was taken from it."""
    words = f"{info.detail}; its node is gone"
    return replace(info, state=SliceCloudState.FAILED, detail=words)


def differs(sighting: Sighting, spec: SliceSpec) -> str:
    """Why what exists is not what is asked for under its name; empty where it is."""
    labels = sighting.labels
    if any(labels.get(key) != value for key, value in spec.labels.items()):
        return "labels"
    return "shape" if sighting.accelerator_type != spec.accelerator_type else ""


def host_words(answer: tpu_v2.GetGuestAttributesResponse) -> str:
    """What a host left of its start; empty where it left nothing."""
    for attributes in answer.guest_attributes:
        for item in attributes.query_value.items:
            if item.namespace.strip("/") == NAMESPACE and item.key == LOG_KEY:
                return item.value
    return ""


def _has_id(name: str, cluster_id: str) -> bool:
    parts = parse_slice_name(name)
    return parts is not None and parts.cluster_id == cluster_id


def _is_taken_back(queued: tpu_v2.QueuedResource) -> bool:
    service = _Queued.StateInitiator.SERVICE
    return queued.state.state in SUSPENDED and queued.state.state_initiator == service


def _failed_with(queued: tpu_v2.QueuedResource) -> Any:
    return tpu_v2.QueuedResourceState.pb(queued.state).failed_data.error


def _in_order(sighting: Sighting) -> Sighting:
    """The nodes of a multislice request by their numbers."""

    def number(node: tpu_v2.Node) -> tuple[int, str]:
        digits = node.name.rpartition("-")[2]
        return int(digits) if digits.isdecimal() else 0, node.name

    return replace(sighting, nodes=tuple(sorted(sighting.nodes, key=number)))


def _vms(name: str, zone: str, sighting: Sighting, labels: Mapping[str, str]) -> tuple[VmInfo, ...]:
    hosts = [
        (node, endpoint.ip_address)
        for node in sighting.nodes
        # In the order of worker numbers. One without an address is not there yet.
        for endpoint in node.network_endpoints
        if endpoint.ip_address
    ]
    return tuple(
        VmInfo(
            vm_id=f"{name}/{index}",
            address=address,
            zone=zone,
            labels=labels,
            state=HOST_STATES[node_state(node.state)],
            created_at_ms=_ms(node.create_time),
        )
        for index, (node, address) in enumerate(hosts)
    )


def _created_ms(sighting: Sighting) -> int:
    times = [_ms(node.create_time) for node in sighting.nodes]
    if sighting.queued is not None:
        times.append(_ms(sighting.queued.create_time))
    return min((time for time in times if time), default=0)


def _ms(time: Any) -> int:
    # What is not set is None, whatever its type says.
    return round(time.timestamp() * 1000) if time else 0


def _detail(sighting: Sighting, cause: Cause | None) -> str:
    """Everything that a person should know; empty where all is well."""
    words = []
    if sighting.queued is not None:
        state = sighting.queued.state
        if state.state != _Queued.State.ACTIVE or not sighting.nodes:
            by = _INITIATORS.get(state.state_initiator, "") if state.state in SUSPENDED else ""
            words.append(f"queued resource {queued_state_name(state.state)}{by}")
    for node in sighting.nodes:
        words += _node_words(node)
    if cause is None:
        return "; ".join(words)
    if words and not sighting.nodes:
        # Google's sentence says what failed once more; it is the reason of what stands before.
        return f"{words[0]}: {cause.words}"
    return "; ".join([*words, cause.words])


def _node_words(node: tpu_v2.Node) -> list[str]:
    words = []
    if node.state != tpu_v2.Node.State.READY:
        words.append(f"node {node_state_name(node.state)}")
    health = HEALTHS.get(node.health, f"health {int(node.health)}, which this release does not know")
    if health:
        words.append(health)
    if node.health_description:
        words.append(node.health_description)
    for symptom in node.symptoms:
        what = SYMPTOMS.get(symptom.symptom_type, f"symptom {int(symptom.symptom_type)}")
        where = f"host {symptom.worker_id}: " if symptom.worker_id else ""
        words.append(f"{where}{what}{f' ({symptom.details})' if symptom.details else ''}")
    return words
