"""What a TPU VM is called and what its metadata server tells it about its slice."""

from __future__ import annotations

import hashlib
from typing import Any

from iris_config.accelerators import Accelerator
from tests.harness.cloud.machines import Vm
from tests.harness.cloud.rules import place_of
from tests.harness.cloud.world import World

# How JAX and Google's own tools take it apart: what is after the second colon.
ENDPOINT = "unknown:unknown:{address}"


def of_node(node: Any, accelerator: Accelerator, world: World) -> list[Vm]:
    """The VMs of a node, in order."""
    place, short = place_of(node.name), node.name.rpartition("/")[2]
    stem = hashlib.sha256(f"{node.name}/{node.id}".encode()).hexdigest()[:8]
    names = [f"t1v-n-{stem}-w-{index}" for index in range(accelerator.hosts)]
    placed = [world.machines.place(name) for name in names]
    endpoints = ",".join(ENDPOINT.format(address=address) for _, address in placed)
    vms = []
    for index, (name, (key, address)) in enumerate(zip(names, placed, strict=True)):
        attributes = {
            **node.metadata,
            "accelerator-type": accelerator.accelerator_type,
            "agent-worker-number": str(index),
            "worker-network-endpoints": endpoints,
            "instance-id": short,
            "tpu-env": tpu_env(short, place.project, place.zone, accelerator, index, node.runtime_version),
        }
        vms.append(
            Vm(
                key=key,
                id=node.id * 4096 % (1 << 62) + index,
                name=name,
                project=place.project,
                zone=place.zone,
                owner=node.name,
                index=index,
                address=address,
                created_ms=world.timeline.now_ms,
                attributes=attributes,
                email=node.service_account.email,
                scopes=tuple(node.service_account.scope),
                labels=dict(node.labels),
            )
        )
    return vms


def tpu_env(
    node: str, project: str, zone: str, accelerator: Accelerator, index: int, runtime_version: str
) -> str:
    """Lines of KEY: 'value'."""
    facts = {
        "ACCELERATOR_TYPE": accelerator.accelerator_type,
        "CONSUMER_PROJECT_ID": project,
        "NODE_ID": node,
        "RUNTIME_VERSION": runtime_version,
        "TOPOLOGY": accelerator.topology,
        "TYPE": accelerator.generation.upper(),
        "WORKER_ID": str(index),
        "ZONE": zone,
    }
    return "".join(f"{key}: '{value}'\n" for key, value in facts.items())
