"""What is asked of the TPU API: pure functions from a wanted slice to request messages.

Knows nothing of calls, answers or errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import tpu_v2
from google.protobuf.duration_pb2 import Duration

from iris_platform.base import Refused, SliceSpec
from iris_platform.gcp.machine import SCOPES
from iris_platform.gcp.overrides import Capacity, TpuOverrides

# Not to hide a cycle: only who reads a configuration has its messages.
if TYPE_CHECKING:
    from iris_proto.v1.config_pb2 import TpuProvider

STARTUP_SCRIPT = "startup-script"
# Without it a machine has no place to leave the log of a start that failed (`host_log`).
GUEST_ATTRIBUTES = "enable-guest-attributes"
# What hosts leave there, one value for each host: NAMESPACE/KEY.
NAMESPACE = "iris"
LOG_KEY = "bootstrap-log"


def parent(project: str, zone: str) -> str:
    """A zone, as resources are named below it."""
    return f"projects/{project}/locations/{zone}"


def node_name(project: str, zone: str, name: str) -> str:
    """A node's whole name."""
    return f"{parent(project, zone)}/nodes/{name}"


def queued_name(project: str, zone: str, name: str) -> str:
    """A queued resource's whole name."""
    return f"{parent(project, zone)}/queuedResources/{name}"


def create_node(provider: TpuProvider, spec: SliceSpec, zone: str) -> tpu_v2.CreateNodeRequest:
    """Asks for a slice as a node.

    Raises:
        Refused: the specification has no runtime version.
    """
    return tpu_v2.CreateNodeRequest(
        parent=parent(provider.project_id, zone), node_id=spec.name, node=_node(provider, spec)
    )


def create_queued(provider: TpuProvider, spec: SliceSpec, zone: str) -> tpu_v2.CreateQueuedResourceRequest:
    """Asks for a slice as a queued resource with one node, both of the slice's name.

    Raises:
        Refused: the specification has no runtime version.
    """
    where = parent(provider.project_id, zone)
    node = _node(provider, spec)
    capacity = TpuOverrides.of(spec).capacity
    if capacity is Capacity.SPOT:
        # Here it is the tier that says so.
        node.scheduling_config = tpu_v2.SchedulingConfig()
    specs = [tpu_v2.QueuedResource.Tpu.NodeSpec(parent=where, node_id=spec.name, node=node)]
    valid_for = provider.queued_resources.valid_for
    queued = tpu_v2.QueuedResource(
        tpu=tpu_v2.QueuedResource.Tpu(node_spec=specs),
        queueing_policy=tpu_v2.QueuedResource.QueueingPolicy(
            valid_until_duration=Duration(seconds=valid_for.seconds, nanos=valid_for.nanos)
        ),
    )
    if capacity is Capacity.SPOT:
        queued.spot = tpu_v2.QueuedResource.Spot()
    if capacity is Capacity.RESERVED:
        queued.guaranteed = tpu_v2.QueuedResource.Guaranteed()
        if provider.reservation:
            queued.reservation_name = _reservation_name(where, provider.reservation)
    # Without a request id: what the name stands for already, a look tells better than an old answer.
    return tpu_v2.CreateQueuedResourceRequest(
        parent=where, queued_resource_id=spec.name, queued_resource=queued
    )


def get_log(project: str, zone: str, node_id: str, index: int) -> tpu_v2.GetGuestAttributesRequest:
    """Asks for what one host left of its start."""
    return tpu_v2.GetGuestAttributesRequest(
        name=node_name(project, zone, node_id), query_path=f"{NAMESPACE}/", worker_ids=[str(index)]
    )


def _node(provider: TpuProvider, spec: SliceSpec) -> tpu_v2.Node:
    overrides = TpuOverrides.of(spec)
    if not overrides.runtime_version:
        raise Refused(f"slice {spec.name}: no runtime version is given for {spec.accelerator_type}")
    metadata = {GUEST_ATTRIBUTES: "TRUE"}
    if overrides.startup_script:
        metadata[STARTUP_SCRIPT] = overrides.startup_script
    return tpu_v2.Node(
        accelerator_type=spec.accelerator_type,
        runtime_version=overrides.runtime_version,
        network_config=tpu_v2.NetworkConfig(
            network=provider.network,
            subnetwork=provider.subnetwork,
            enable_external_ips=provider.external_addresses,
        ),
        # Without a scope it could do less than its account may; the account's roles are the limit.
        service_account=tpu_v2.ServiceAccount(email=provider.service_account, scope=SCOPES),
        scheduling_config=tpu_v2.SchedulingConfig(
            spot=overrides.capacity is Capacity.SPOT, reserved=overrides.capacity is Capacity.RESERVED
        ),
        labels=dict(spec.labels),
        metadata=metadata,
    )


def _reservation_name(where: str, reservation: str) -> str:
    return reservation if reservation.startswith("projects/") else f"{where}/reservations/{reservation}"
