"""What is asked of the TPU API: pure functions from a wanted slice to request messages.

Knows nothing of calls, answers or errors.
"""

from __future__ import annotations

from google.cloud import tpu_v2
from google.protobuf.duration_pb2 import Duration

from iris_platform.base import Refused, SliceSpec
from iris_platform.bootstrap.host.report import NAMESPACE
from iris_platform.gcp.machine import SCOPES
from iris_platform.gcp.overrides import Capacity, TpuOverrides

STARTUP_SCRIPT = "startup-script"
# Without it a machine has no place to leave the log of a start that failed (`host_log`).
GUEST_ATTRIBUTES = "enable-guest-attributes"


def parent(project: str, zone: str) -> str:
    """A zone, as resources are named below it."""
    return f"projects/{project}/locations/{zone}"


def node_name(project: str, zone: str, name: str) -> str:
    """A node's whole name."""
    return f"{parent(project, zone)}/nodes/{name}"


def queued_name(project: str, zone: str, name: str) -> str:
    """A queued resource's whole name."""
    return f"{parent(project, zone)}/queuedResources/{name}"


def create_node(project: str, spec: SliceSpec, zone: str) -> tpu_v2.CreateNodeRequest:
    """Asks for a slice as a node.

    Raises:
        Refused: the specification has no runtime version.
    """
    return tpu_v2.CreateNodeRequest(
        parent=parent(project, zone), node_id=spec.name, node=_node(spec, TpuOverrides.of(spec))
    )


def create_queued(project: str, spec: SliceSpec, zone: str) -> tpu_v2.CreateQueuedResourceRequest:
    """Asks for a slice as a queued resource with one node, both of the slice's name.

    Raises:
        Refused: the specification has no runtime version.
    """
    where, overrides = parent(project, zone), TpuOverrides.of(spec)
    node = _node(spec, overrides)
    if overrides.capacity is Capacity.SPOT:
        # Here it is the tier that says so.
        node.scheduling_config = tpu_v2.SchedulingConfig()
    specs = [tpu_v2.QueuedResource.Tpu.NodeSpec(parent=where, node_id=spec.name, node=node)]
    valid_for = Duration()
    valid_for.FromMilliseconds(round((overrides.queued_for_s or 0.0) * 1000))
    queued = tpu_v2.QueuedResource(
        tpu=tpu_v2.QueuedResource.Tpu(node_spec=specs),
        queueing_policy=tpu_v2.QueuedResource.QueueingPolicy(valid_until_duration=valid_for),
    )
    if overrides.capacity is Capacity.SPOT:
        queued.spot = tpu_v2.QueuedResource.Spot()
    if overrides.capacity is Capacity.RESERVED:
        queued.guaranteed = tpu_v2.QueuedResource.Guaranteed()
        if overrides.reservation:
            queued.reservation_name = _reservation_name(where, overrides.reservation)
    # Without a request id: what the name stands for already, a look tells better than an old answer.
    return tpu_v2.CreateQueuedResourceRequest(
        parent=where, queued_resource_id=spec.name, queued_resource=queued
    )


def get_log(project: str, zone: str, node_id: str, index: int) -> tpu_v2.GetGuestAttributesRequest:
    """Asks for what one host left of its start."""
    return tpu_v2.GetGuestAttributesRequest(
        name=node_name(project, zone, node_id), query_path=f"{NAMESPACE}/", worker_ids=[str(index)]
    )


def _node(spec: SliceSpec, overrides: TpuOverrides) -> tpu_v2.Node:
    if not overrides.runtime_version:
        raise Refused(f"slice {spec.name}: no runtime version is given for {spec.accelerator_type}")
    metadata = {GUEST_ATTRIBUTES: "TRUE"}
    if overrides.startup_script:
        metadata[STARTUP_SCRIPT] = overrides.startup_script
    return tpu_v2.Node(
        accelerator_type=spec.accelerator_type,
        runtime_version=overrides.runtime_version,
        network_config=tpu_v2.NetworkConfig(
            network=overrides.network,
            subnetwork=overrides.subnetwork,
            enable_external_ips=overrides.external_addresses,
        ),
        # Without a scope it could do less than its account may; the account's roles are the limit.
        service_account=tpu_v2.ServiceAccount(email=overrides.service_account, scope=SCOPES),
        scheduling_config=tpu_v2.SchedulingConfig(
            spot=overrides.capacity is Capacity.SPOT, reserved=overrides.capacity is Capacity.RESERVED
        ),
        labels=dict(spec.labels),
        metadata=metadata,
    )


def _reservation_name(where: str, reservation: str) -> str:
    return reservation if reservation.startswith("projects/") else f"{where}/reservations/{reservation}"
