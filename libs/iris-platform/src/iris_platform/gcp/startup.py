"""What every host of a TPU slice runs when it starts: the same script on all of them.

It is the node's metadata, which everybody may read who may see the node: there is no
secret in it. A host learns its index and its addresses from the metadata server, and
proves to the controller that it is who it says with its identity token.
"""

from __future__ import annotations

from iris_platform import PlatformSettings
from iris_platform.base import SliceSpec, VmBootstrapSpec
from iris_platform.bootstrap import DeadMan, Startup, container_of
from iris_platform.gcp.overrides import TpuOverrides
from iris_platform.joining import Joining, bundles_for_any
from iris_platform.names import LABEL_CLUSTER_ID
from iris_platform.self_deletion import FACTS_FILE

ENDPOINT = "https://tpu.googleapis.com"
CA_FILE = "ca.pem"
START_S = 300.0


def endpoint_of(settings: PlatformSettings) -> str:
    """Where the TPU API is."""
    return (settings.endpoints.tpu if settings.endpoints is not None else "") or ENDPOINT


def worker_startup(settings: PlatformSettings, joining: Joining, spec: SliceSpec, zone: str) -> Startup:
    """The startup of the agents of one slice.

    Raises:
        Refused: there is no bundle for such hosts.
    """
    container = container_of(settings.bootstrap, "worker")
    cluster_id = spec.labels[LABEL_CLUSTER_ID]
    facts = {
        "cluster": joining.cluster,
        "cluster_id": cluster_id,
        "slice_name": spec.name,
        "group": spec.group,
        "zone": zone,
        "accelerator_type": spec.accelerator_type,
        "cpu_millis": spec.resources.cpu_millis,
        "memory_bytes": spec.resources.memory_bytes,
        "labels": dict(spec.labels),
        # There is none: it dials what `join` is told.
        "controller_file": "@work@/controller.json",
        "hosts": spec.hosts,
        "project": settings.provider.tpu.project_id,
        "endpoint": endpoint_of(settings),
        "queued": TpuOverrides.of(spec).queued_for_s is not None,
    }
    arguments = ("run", "--host-dir", "@work@", "--orphan-timeout", f"{settings.orphan_timeout_s:g}")
    join = ("--join", joining.join_url, "--ca", f"@work@/{CA_FILE}", "--address", joining.address)
    return Startup(
        spec=VmBootstrapSpec("worker", container, spec.labels),
        bundle=None if container.image else bundles_for_any(joining, cluster_id),
        arguments=(*arguments, *join, "--proof", "google"),
        files={FACTS_FILE: facts, CA_FILE: joining.ca_pem},
        # A lost controller's machines are gone within a lease and the orphan timeout of their boot.
        dead_man=DeadMan(
            min(settings.boot_s, settings.lease_s) + settings.orphan_timeout_s, deletes_slice=True
        ),
        health_s=min(settings.boot_s, START_S),
    )
