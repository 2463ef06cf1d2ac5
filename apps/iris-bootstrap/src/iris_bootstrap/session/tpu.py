"""What a TPU program expects in its environment; known for machines of TPU slices only.

Variables: https://cloud.google.com/tpu/docs/jax-pods and libtpu's own, as PyTorch/XLA
sets them. A gang's coordinator is `IRIS_COORDINATOR_ADDRESS`, as everywhere.
"""

from __future__ import annotations

from iris_platform.env_probe import Environment


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
