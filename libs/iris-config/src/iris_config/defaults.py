"""Every default of the configuration, in one place (DESIGN 4, "Defaults").

What leaves here has every value present, so the controller has no defaults of
its own. Not filled in yet: what a TPU type says about its hosts (it comes with
the accelerator catalogue), and the resources of manual hosts, which are probed
at `cluster start`.
"""

from __future__ import annotations

from collections.abc import Container

from google.protobuf.duration_pb2 import Duration

from iris_config.machine import MachineFacts
from iris_config.problems import FieldPath
from iris_proto.v1 import config_pb2

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S

ACCELERATOR_TYPE = "cpu"
ZONE = "local"
MAX_SLICES = 1
PRIORITY = 100
SLICE_SIZE = 1
IDLE_TIMEOUT_S = 10 * MINUTE_S
BOOT_TIMEOUT_S = 15 * MINUTE_S
LOCAL_BOOT_TIMEOUT_S = 30
TASK_LEASE_S = 10 * MINUTE_S
CLOUD_TASK_LEASE_S = HOUR_S
LEAST_LOCAL_CPUS = 4
SSH_USER = "root"
SSH_PORT = 22

EVALUATION_INTERVAL_S = 10
MAX_CREATES_PER_MINUTE = 60

BEAT_INTERVAL_S = 10
BEATS_PER_LEASE = 6
SUSPECT_AFTER_S = 30
STOP_GRACE_S = 30
ORPHAN_TIMEOUT_S = 30 * MINUTE_S
FENCE_AFTER_S = 5 * MINUTE_S

LOG_MAX_BYTES = 1024**3

NANOS = 1_000_000_000


def apply_defaults(
    config: config_pb2.IrisClusterConfig, machine: MachineFacts, written: Container[FieldPath]
) -> None:
    """Fill in, in place, what the operator left out.

    `written` has the paths of what was written: a size of 0 that was written
    is not the same as none.
    """
    if config.controller.WhichOneof("controller") is None:
        config.controller.local.SetInParent()
    for key, group in config.scale_groups.items():
        _fill_group(key, group)
        if group.provider.WhichOneof("provider") == "local":
            _fill_local_resources(group.host_resources, machine, ("scale_groups", key), written)
    _fill_autoscaler(config.autoscaler)
    _fill_timeouts(config)
    if ("logs", "max_size") not in written:
        config.logs.max_size = LOG_MAX_BYTES


def _fill_group(key: str, group: config_pb2.ScaleGroupConfig) -> None:
    arm = group.provider.WhichOneof("provider")
    group.name = group.name or key
    group.accelerator_type = group.accelerator_type or ACCELERATOR_TYPE
    if arm in ("local", "manual") and not group.zones:
        group.zones.append(ZONE)
    if arm == "manual":
        group.provider.manual.ssh_user = group.provider.manual.ssh_user or SSH_USER
        group.provider.manual.ssh_port = group.provider.manual.ssh_port or SSH_PORT
    # How many hosts a TPU slice has is the accelerator's word.
    if arm != "tpu" and not group.HasField("slice_size"):
        group.slice_size = SLICE_SIZE
    if not group.HasField("max_slices"):
        hosts = len(group.provider.manual.hosts)
        group.max_slices = hosts // max(1, group.slice_size) if arm == "manual" else MAX_SLICES
    if not group.HasField("priority"):
        group.priority = PRIORITY
    _fill(group, "idle_timeout", IDLE_TIMEOUT_S)
    _fill(group, "boot_timeout", LOCAL_BOOT_TIMEOUT_S if arm == "local" else BOOT_TIMEOUT_S)
    _fill(group, "task_lease", CLOUD_TASK_LEASE_S if arm == "tpu" else TASK_LEASE_S)


def _fill_local_resources(
    resources: config_pb2.HostResources,
    machine: MachineFacts,
    group: FieldPath,
    written: Container[FieldPath],
) -> None:
    path = (*group, "host_resources")
    if (*path, "cpu") not in written:
        resources.cpu = max(LEAST_LOCAL_CPUS, machine.cores)
    if (*path, "memory") not in written:
        resources.memory = machine.memory_bytes


def _fill_autoscaler(autoscaler: config_pb2.AutoscalerConfig) -> None:
    _fill(autoscaler, "evaluation_interval", EVALUATION_INTERVAL_S)
    if not autoscaler.HasField("max_creates_per_minute"):
        autoscaler.max_creates_per_minute = MAX_CREATES_PER_MINUTE


def _fill_timeouts(config: config_pb2.IrisClusterConfig) -> None:
    timeouts = config.timeouts
    if not timeouts.HasField("beat_interval"):
        # Rounded down to milliseconds, which is as fine as it is ever printed.
        lease_ms = min(
            (group.task_lease.ToMilliseconds() for group in config.scale_groups.values()),
            default=CLOUD_TASK_LEASE_S * 1000,
        )
        beat_ms = min(BEAT_INTERVAL_S * 1000, max(1, lease_ms // BEATS_PER_LEASE))
        timeouts.beat_interval.FromMilliseconds(beat_ms)
    _fill(timeouts, "suspect_after", SUSPECT_AFTER_S)
    _fill(timeouts, "stop_grace", STOP_GRACE_S)
    _fill(timeouts, "orphan_timeout", ORPHAN_TIMEOUT_S)
    _fill(timeouts, "fence_after", FENCE_AFTER_S)


_WithDurations = config_pb2.ScaleGroupConfig | config_pb2.AutoscalerConfig | config_pb2.TimeoutsConfig


def _fill(message: _WithDurations, name: str, seconds: int) -> None:
    duration: Duration = getattr(message, name)
    if not message.HasField(name):  # type: ignore[arg-type]  # checked by the getattr above
        duration.FromSeconds(seconds)
