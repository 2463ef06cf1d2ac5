"""The resolved configuration -> the settings of the core and of the wire.

Every default has been filled in by the configuration's loader; nothing is
defaulted here.
"""

from __future__ import annotations

from iris_controller.core.entities import GroupPolicy, Settings
from iris_controller.core.leases import lease_over_ms
from iris_controller.core.values import Resources
from iris_proto.v1 import config_pb2, worker_pb2

# The accelerator type of groups whose hosts have none.
NO_ACCELERATOR = "cpu"


def settings(config: config_pb2.IrisClusterConfig, cluster_id: str) -> Settings:
    """What the rules need to know of a cluster's configuration."""
    timeouts = config.timeouts
    return Settings(
        cluster_id=cluster_id,
        groups={name: _policy(name, group, timeouts) for name, group in sorted(config.scale_groups.items())},
        beat_interval_ms=timeouts.beat_interval.ToMilliseconds(),
        suspect_after_ms=timeouts.suspect_after.ToMilliseconds(),
        stop_grace_ms=timeouts.stop_grace.ToMilliseconds(),
        evaluation_interval_ms=config.autoscaler.evaluation_interval.ToMilliseconds(),
        creates_per_minute=config.autoscaler.max_creates_per_minute,
    )


def _policy(
    name: str, group: config_pb2.ScaleGroupConfig, timeouts: config_pb2.TimeoutsConfig
) -> GroupPolicy:
    provider = group.provider.WhichOneof("provider")
    if provider is None:
        raise ValueError(f"scale group {name}: no provider")
    offer = Resources(round(group.host_resources.cpu * 1000), group.host_resources.memory)
    return GroupPolicy(
        name=name,
        provider=provider,
        zones=tuple(group.zones),
        min_slices=group.min_slices,
        max_slices=group.max_slices,
        buffer_slices=group.buffer_slices,
        priority=group.priority,
        hosts=group.slice_size,
        host_resources=offer,
        idle_timeout_ms=group.idle_timeout.ToMilliseconds(),
        boot_timeout_ms=group.boot_timeout.ToMilliseconds(),
        task_lease_ms=group.task_lease.ToMilliseconds(),
        fence_after_ms=_fence_after_ms(provider, group, timeouts),
        accelerator="" if group.accelerator_type == NO_ACCELERATOR else group.accelerator_type,
        project=group.provider.tpu.project_id,
        capacity=config_pb2.Capacity.Name(group.capacity) if group.capacity else "",
        queued_for_ms=_queued_for_ms(group.provider.tpu),
    )


def _queued_for_ms(tpu: config_pb2.TpuProvider) -> int | None:
    """How long a request waits in line; None where it does not."""
    return tpu.queued_resources.valid_for.ToMilliseconds() if tpu.HasField("queued_resources") else None


def _fence_after_ms(
    provider: str, group: config_pb2.ScaleGroupConfig, timeouts: config_pb2.TimeoutsConfig
) -> int | None:
    """DESIGN 7: hosts over SSH are supervised, so their lease is a fence; others have to be deleted.

    A local agent has no supervisor and no network to be cut off by, so nothing
    speaks for a deletion before its lease is over.
    """
    if provider == "manual":
        return None
    if provider == "local":
        return lease_over_ms(group.task_lease.ToMilliseconds())
    return timeouts.fence_after.ToMilliseconds()


def timings(config: config_pb2.IrisClusterConfig) -> worker_pb2.Timings:
    """How long agents wait for whom; the lease is each group's own."""
    source = config.timeouts
    return worker_pb2.Timings(
        beat_interval=source.beat_interval,
        stop_grace=source.stop_grace,
        orphan_timeout=source.orphan_timeout,
        suspect_after=source.suspect_after,
    )
