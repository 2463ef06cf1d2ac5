"""What tests of the TPU platform are made of: a provider, a slice's specification, the API's messages."""

from __future__ import annotations

from typing import Any

from google.cloud import tpu_v2
from google.rpc import status_pb2

from iris_platform.base import ClusterIdentity, HostResources, SliceSpec
from iris_platform.gcp.overrides import TpuOverrides
from iris_platform.names import slice_labels, slice_name

IDENTITY = ClusterIdentity("demo", "abcdefghij")
OTHER = ClusterIdentity("demo", "zzzzzzzzzz")
PROJECT, ZONE = "test-project", "us-central2-b"
WHERE = f"projects/{PROJECT}/locations/{ZONE}"
EPOCH = 1_700_000_000_000
CREATED = "2026-01-02T03:04:05Z"
CREATED_MS = 1_767_323_045_000
NAME = "iris-abcdefghij-here-1700000000000-1"

State = tpu_v2.Node.State
Queued = tpu_v2.QueuedResourceState.State


def name(number: int = 1, cluster_id: str = IDENTITY.cluster_id) -> str:
    return slice_name(cluster_id, "here", EPOCH, number)


def labels(slice_: str = NAME, identity: ClusterIdentity = IDENTITY) -> dict[str, str]:
    return slice_labels(identity.cluster, identity.cluster_id, "here", slice_)


def spec(
    slice_: str = NAME,
    accelerator_type: str = "v4-16",
    identity: ClusterIdentity = IDENTITY,
    **overrides: Any,
) -> SliceSpec:
    """A slice of two hosts."""
    defaults = {
        "runtime_version": "tpu-ubuntu2204-base",
        "network": "default",
        "startup_script": "#!/bin/sh\n",
    }
    return SliceSpec(
        name=slice_,
        group="here",
        hosts=2,
        resources=HostResources(240_000, 2**38),
        accelerator_type=accelerator_type,
        labels=labels(slice_, identity),
        provider_overrides=TpuOverrides(**{**defaults, **overrides}).to_mapping(),
    )


def node(
    node_id: str = NAME, state: int = State.READY, hosts: int = 2, slice_: str | None = None, **fields: Any
) -> tpu_v2.Node:
    """A node as the API shows it; of `slice_` by its labels and, where that is not its id, its request."""
    slice_ = slice_ or node_id
    endpoints = [{"ip_address": f"10.0.0.{index + 1}", "port": 8470} for index in range(hosts)]
    defaults = {
        "name": f"{WHERE}/nodes/{node_id}",
        "accelerator_type": "v4-16",
        "state": state,
        "labels": labels(slice_),
        "create_time": CREATED,
        "network_endpoints": endpoints,
    }
    return tpu_v2.Node({**defaults, **fields})


def queued(
    state: int = Queued.ACTIVE,
    slice_: str = NAME,
    error: status_pb2.Status | None = None,
    by: int = 0,
    **fields: Any,
) -> tpu_v2.QueuedResource:
    """A queued resource as the API shows it, with the node that it asks for."""
    asked = {"accelerator_type": "v4-16", "labels": labels(slice_)}
    node_spec = [{"parent": WHERE, "node_id": slice_, "node": asked}]
    shown = tpu_v2.QueuedResourceState(state=state, state_initiator=by)
    if error is not None:
        tpu_v2.QueuedResourceState.pb(shown).failed_data.error.CopyFrom(error)
    defaults = {
        "name": f"{WHERE}/queuedResources/{slice_}",
        "create_time": CREATED,
        "tpu": {"node_spec": node_spec},
        "state": shown,
    }
    return tpu_v2.QueuedResource({**defaults, **fields})
