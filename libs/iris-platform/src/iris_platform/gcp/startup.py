"""What every host of a TPU slice runs when it starts: the same script on all of them.

It is the node's metadata, which everybody may read who may see the node: there is no
secret in it. A host learns its index and its addresses from the metadata server, and
proves to the controller that it is who it says with its identity token.
"""

from __future__ import annotations

from iris_platform import PlatformSettings
from iris_platform.base import SliceSpec, VmBootstrapSpec
from iris_platform.bootstrap import BundleSource, DeadMan, Startup, container_of
from iris_platform.gcp.overrides import TpuOverrides
from iris_platform.joining import Joining
from iris_platform.names import LABEL_CLUSTER_ID
from iris_platform.pki.names import server_name

ENDPOINT = "https://tpu.googleapis.com"
CA_FILE = "ca.pem"
FACTS_FILE = "slice-facts.json"
# TPU machines run Ubuntu 22.04, whatever their generation.
PYTHON, MACHINE = "3.10", "x86_64"
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
    facts = {
        "cluster": joining.cluster,
        "cluster_id": spec.labels[LABEL_CLUSTER_ID],
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
        bundle=None if container.image else _bundle(joining, spec.labels[LABEL_CLUSTER_ID]),
        arguments=(*arguments, *join),
        files={FACTS_FILE: facts, CA_FILE: joining.ca_pem},
        dead_man=DeadMan(after_s=settings.boot_s + settings.orphan_timeout_s),
        health_s=min(settings.boot_s, START_S),
    )


def _bundle(joining: Joining, cluster_id: str) -> BundleSource:
    made = joining.bundle_for(PYTHON, MACHINE)
    return BundleSource(
        made.sha256,
        url=f"{joining.join_url}/bundle/{made.sha256}",
        ca=joining.ca_pem,
        server_name=server_name(cluster_id),
    )
