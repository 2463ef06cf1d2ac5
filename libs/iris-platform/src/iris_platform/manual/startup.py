"""What a host of a slice is given to run: its agent, and where that is and whom it believes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from iris_platform.base import ContainerSpec, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER, BundleSource, DeadMan, Startup
from iris_platform.joining import Joining
from iris_platform.manual.records import ManualSlice, slice_to_json
from iris_platform.names import LABEL_CLUSTER_ID
from iris_platform.worker_vm import START_S

SLICE_FILE = "slice.json"
TOKEN_FILE = "join-token"
CA_FILE = "ca.pem"


@dataclass(frozen=True)
class HostSettings:
    """How hosts are worked on. `root` is where everything goes there; empty: by user.

    `container` is what agents run in; without an image they run from a bundle.
    """

    max_parallel: int
    boot_s: float
    orphan_timeout_s: float
    root: str = ""
    container: ContainerSpec = NO_CONTAINER


@dataclass(frozen=True)
class Placed:
    """A host's place in a slice; at `address` the slice's other hosts reach it."""

    record: ManualSlice
    index: int
    address: str


def worker_startup(settings: HostSettings, joining: Joining, placed: Placed, bundle: BundleSource) -> Startup:
    """The startup of one host's agent; its one-use token is the script's secret."""
    record = placed.record
    spec = record.spec
    environment = {
        "cluster": joining.cluster,
        "cluster_id": spec.labels[LABEL_CLUSTER_ID],
        "slice_name": spec.name,
        "worker_index": placed.index,
        "group": spec.group,
        "zone": record.zone,
        "accelerator_type": spec.accelerator_type,
        "cpu_millis": spec.resources.cpu_millis,
        "memory_bytes": spec.resources.memory_bytes,
        "labels": dict(spec.labels),
        # There is none: it dials what `join` is told.
        "controller_file": "@work@/controller.json",
        "address": placed.address,
    }
    arguments = ("run", "--host-dir", "@work@", "--orphan-timeout", f"{settings.orphan_timeout_s:g}")
    join = ("--join", joining.join_url, "--ca", f"@work@/{CA_FILE}", "--address", joining.address)
    return Startup(
        spec=VmBootstrapSpec("worker", settings.container, spec.labels),
        bundle=bundle,
        arguments=(*arguments, *join, "--token-file", f"@work@/{TOKEN_FILE}"),
        files={
            "host.json": environment,
            # On one line: it is read back among other lines.
            SLICE_FILE: json.dumps(slice_to_json(record)) + "\n",
            CA_FILE: joining.ca_pem,
        },
        secret=TOKEN_FILE,
        dead_man=DeadMan(after_s=settings.boot_s + settings.orphan_timeout_s),
        root=settings.root,
        health_s=min(settings.boot_s, START_S / 2),
    )
