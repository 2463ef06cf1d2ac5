"""What a TPU program expects in its environment; known for machines of TPU slices only.

Variables: https://cloud.google.com/tpu/docs/jax-pods and libtpu's own, as PyTorch/XLA
sets them; `MEGASCALE_*` as JAX's `cloud_tpu_cluster` reads them, and as GKE and XPK set
them. A gang's coordinator is `IRIS_COORDINATOR_ADDRESS`, as everywhere.
"""

from __future__ import annotations

from iris_bootstrap.session.outputs import ReleaseProcess
from iris_bootstrap.session.translate import slice_index
from iris_platform.env_probe import Environment

# Where libtpu's programs on several slices listen: the port of Google's own launchers.
MEGASCALE_PORT = 8080


def tpu_environment(place: Environment) -> dict[str, str]:
    """The variables for tasks on a host; none where it is no TPU machine.

    A job's own values win over them.
    """
    tpu = place.tpu
    if tpu is None:
        return {}
    env = {
        # From `agent-worker-number`, checked against the number of hosts.
        "TPU_WORKER_ID": str(place.worker_index),
        # From `worker-network-endpoints`, by worker index.
        "TPU_WORKER_HOSTNAMES": ",".join(tpu.peers),
        # The group's, which `accelerator-type` has to be.
        "TPU_ACCELERATOR_TYPE": place.accelerator_type,
        # The node's name, which is the slice's.
        "TPU_NAME": place.slice_name,
        "PJRT_DEVICE": "TPU",
        # TPU_CHIPS_PER_HOST_BOUNDS, TPU_HOST_BOUNDS, TPU_TOPOLOGY: from `tpu-env`.
        **tpu.bounds,
    }
    if {"TPU_CHIPS_PER_HOST_BOUNDS", "TPU_HOST_BOUNDS"} <= env.keys():
        # All that libtpu would ask the metadata server for is here; else it had better ask.
        env["TPU_SKIP_MDS_QUERY"] = "true"
    return env


def multislice_environment(place: Environment, release: ReleaseProcess) -> dict[str, str]:
    """What joins the slices of a gang on several; `TPU_*` are about the task's own slice.

    Known only when all members are there. A job's own values win over them.
    """
    spec = release.job.spec
    if place.tpu is None or spec.slices <= 1 or not release.addresses:
        return {}
    # Every host listens there. A TPU host has one task, so nobody else takes it.
    port = spec.env.get("MEGASCALE_PORT", str(MEGASCALE_PORT))
    host = release.addresses[0].rpartition(":")[0]
    env = {
        # Task 0, which JAX starts its own coordinator with too, on another port.
        "MEGASCALE_COORDINATOR_ADDRESS": f"{host}:{port}",
        "MEGASCALE_PORT": port,
        "MEGASCALE_NUM_SLICES": str(spec.slices),
        "MEGASCALE_SLICE_ID": str(slice_index(spec, release.key.task_index)),
    }
    return {name: value for name, value in env.items() if name not in spec.env}
