"""Every default of the configuration, in one place (DESIGN 4, "Defaults").

What leaves here has every value present, so the controller has no defaults of
its own; only the resources of manual hosts are left open where neither the
author nor the accelerator's type says them: `cluster start` asks the hosts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from iris_config.accelerators import Accelerator, find_accelerator
from iris_config.machine import MachineFacts
from iris_config.problems import FieldPath
from iris_proto.v1 import config_pb2

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
GIB = 1024**3

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
NETWORK = "default"
QUEUED_VALID_FOR_S = 2 * HOUR_S

CONTROLLER_PORT = 10400
MACHINE_TYPE = "e2-standard-4"
BOOT_IMAGE = "projects/debian-cloud/global/images/family/debian-12"
BOOT_DISK_BYTES = 20 * GIB
STATE_DISK_BYTES = 20 * GIB
# Where a controller's machine on gcp has the disk that outlives it mounted.
STATE_DIR = "/var/lib/iris"
PKI_DIR = "/var/lib/iris-pki"

TPU_ENDPOINT = "https://tpu.googleapis.com"
COMPUTE_ENDPOINT = "https://compute.googleapis.com"
CERTIFICATES_ENDPOINT = "https://www.googleapis.com"

EVALUATION_INTERVAL_S = 10
MAX_CREATES_PER_MINUTE = 60

HEALTH_PORT = 10402
SSH_CONNECT_TIMEOUT_S = 30
SSH_KEEPALIVE_INTERVAL_S = 15
SSH_MAX_PARALLEL = 32
SSH_CONFIG_FILE = "~/.ssh/config"

BEAT_INTERVAL_S = 10
BEATS_PER_LEASE = 6
SUSPECT_AFTER_S = 30
STOP_GRACE_S = 30
ORPHAN_TIMEOUT_S = 30 * MINUTE_S
FENCE_AFTER_S = 5 * MINUTE_S

LOG_MAX_BYTES = GIB


@dataclass
class Defaults:
    """Fills in, in place, what the operator left out.

    `is_written` says what was written: a size of 0 that was written is not the
    same as none. `derived` tells of values that follow from something else,
    and from what.
    """

    machine: MachineFacts
    is_written: Callable[[FieldPath], bool]
    derived: dict[FieldPath, str] = field(default_factory=dict)

    def apply(self, config: config_pb2.IrisClusterConfig) -> None:
        """Completes a configuration."""
        _fill_controller(config.controller)
        # Local groups are on the controller's host, which only then is this one.
        local = config.controller.WhichOneof("controller") == "local"
        for name, group in config.scale_groups.items():
            self._fill_group(name, group)
            if local and group.provider.HasField("local"):
                self._fill_local_resources(("scale_groups", name), group.host_resources)
        _fill(config.autoscaler, "evaluation_interval", EVALUATION_INTERVAL_S)
        if not config.autoscaler.HasField("max_creates_per_minute"):
            config.autoscaler.max_creates_per_minute = MAX_CREATES_PER_MINUTE
        if config.bootstrap.HasField("container"):
            container = config.bootstrap.container
            container.health_port = container.health_port or HEALTH_PORT
        _fill_ssh(config.ssh)
        _fill_endpoints(config)
        _fill_storage(config)
        _fill_timeouts(config)
        if not self.is_written(("logs", "max_size")):
            config.logs.max_size = LOG_MAX_BYTES

    def _fill_group(self, name: str, group: config_pb2.ScaleGroupConfig) -> None:
        path = ("scale_groups", name)
        arm = group.provider.WhichOneof("provider")
        group.name = group.name or name
        group.accelerator_type = group.accelerator_type or ACCELERATOR_TYPE
        if arm in ("local", "manual") and not group.zones:
            group.zones.append(ZONE)
        if accelerator := _in_catalogue(group.accelerator_type):
            self._fill_from_catalogue(path, group, accelerator)
        if not group.HasField("slice_size"):
            group.slice_size = SLICE_SIZE
        if arm == "tpu":
            _fill_tpu(group)
        elif arm == "manual":
            _fill_manual(group.provider.manual)
        self._fill_policy(path, group, arm)

    def _fill_policy(self, path: FieldPath, group: config_pb2.ScaleGroupConfig, arm: str | None) -> None:
        if not group.HasField("max_slices"):
            group.max_slices = MAX_SLICES
            if arm == "manual":
                group.max_slices = len(group.provider.manual.hosts) // max(1, group.slice_size)
                self.derived[(*path, "max_slices")] = "hosts / slice_size"
        if not group.HasField("priority"):
            group.priority = PRIORITY
        _fill(group, "idle_timeout", IDLE_TIMEOUT_S)
        _fill(group, "boot_timeout", LOCAL_BOOT_TIMEOUT_S if arm == "local" else BOOT_TIMEOUT_S)
        _fill(group, "task_lease", CLOUD_TASK_LEASE_S if arm == "tpu" else TASK_LEASE_S)

    def _fill_from_catalogue(
        self, path: FieldPath, group: config_pb2.ScaleGroupConfig, accelerator: Accelerator
    ) -> None:
        source = accelerator.accelerator_type
        # However it was written, it is printed one way.
        group.accelerator_type = source
        if not group.HasField("slice_size"):
            group.slice_size = accelerator.hosts
            self.derived[(*path, "slice_size")] = source
        is_tpu = group.provider.HasField("tpu")
        if is_tpu and not group.runtime_version:
            group.runtime_version = accelerator.runtime_version
            self.derived[(*path, "runtime_version")] = source
        if not group.provider.HasField("local"):
            amounts = accelerator.host_cpu, accelerator.host_memory
            self._fill_resources(path, group.host_resources, amounts, source)

    def _fill_local_resources(self, path: FieldPath, resources: config_pb2.HostResources) -> None:
        amounts = max(LEAST_LOCAL_CPUS, self.machine.cores), self.machine.memory_bytes
        self._fill_resources(path, resources, amounts, "this machine")

    def _fill_resources(
        self, group: FieldPath, resources: config_pb2.HostResources, amounts: tuple[int, int], source: str
    ) -> None:
        path = (*group, "host_resources")
        if not resources.cpu:
            resources.cpu = amounts[0]
            self.derived[(*path, "cpu")] = source
        if not resources.memory and not self.is_written((*path, "memory")):
            resources.memory = amounts[1]
            self.derived[(*path, "memory")] = source


def _in_catalogue(accelerator_type: str) -> Accelerator | None:
    if accelerator_type == ACCELERATOR_TYPE:
        return None
    try:
        return find_accelerator(accelerator_type)
    except ValueError:
        # Whether that is a mistake is for `validate` and `cautions` to say.
        return None


def _fill_controller(controller: config_pb2.ControllerConfig) -> None:
    match controller.WhichOneof("controller"):
        case None:
            controller.local.SetInParent()
        case "manual":
            _fill_manual(controller.manual)
            controller.manual.port = controller.manual.port or CONTROLLER_PORT
        case "gcp":
            gcp = controller.gcp
            gcp.machine_type = gcp.machine_type or MACHINE_TYPE
            gcp.boot_image = gcp.boot_image or BOOT_IMAGE
            gcp.boot_disk_size = gcp.boot_disk_size or BOOT_DISK_BYTES
            gcp.state_disk_size = gcp.state_disk_size or STATE_DISK_BYTES
            gcp.port = gcp.port or CONTROLLER_PORT
            _fill_network(gcp)


def _fill_network(where: config_pb2.GcpController | config_pb2.TpuProvider) -> None:
    where.network = where.network or NETWORK
    if not where.HasField("external_addresses"):
        where.external_addresses = True


def _fill_manual(where: config_pb2.ManualController | config_pb2.ManualProvider) -> None:
    where.ssh_user = where.ssh_user or SSH_USER
    where.ssh_port = where.ssh_port or SSH_PORT


def _fill_tpu(group: config_pb2.ScaleGroupConfig) -> None:
    tpu = group.provider.tpu
    if group.capacity == config_pb2.CAPACITY_UNSPECIFIED:
        group.capacity = config_pb2.CAPACITY_ON_DEMAND
    _fill_network(tpu)
    if tpu.HasField("queued_resources"):
        _fill(tpu.queued_resources, "valid_for", QUEUED_VALID_FOR_S)


def _fill_ssh(ssh: config_pb2.SshConfig) -> None:
    _fill(ssh, "connect_timeout", SSH_CONNECT_TIMEOUT_S)
    _fill(ssh, "keepalive_interval", SSH_KEEPALIVE_INTERVAL_S)
    if not ssh.HasField("max_parallel"):
        ssh.max_parallel = SSH_MAX_PARALLEL
    ssh.config_file = ssh.config_file or SSH_CONFIG_FILE


def _fill_endpoints(config: config_pb2.IrisClusterConfig) -> None:
    groups = config.scale_groups.values()
    if config.controller.HasField("gcp") or any(group.provider.HasField("tpu") for group in groups):
        endpoints = config.endpoints
        endpoints.tpu = endpoints.tpu or TPU_ENDPOINT
        endpoints.compute = endpoints.compute or COMPUTE_ENDPOINT
        endpoints.certificates = endpoints.certificates or CERTIFICATES_ENDPOINT


def _fill_storage(config: config_pb2.IrisClusterConfig) -> None:
    # Elsewhere it is the user's place, which is for the command or the host to say.
    if config.controller.WhichOneof("controller") == "gcp":
        config.storage.state_dir = config.storage.state_dir or f"{STATE_DIR}/{config.name}"
        config.storage.pki_dir = config.storage.pki_dir or f"{PKI_DIR}/{config.name}"


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


_WithDurations = (
    config_pb2.ScaleGroupConfig
    | config_pb2.AutoscalerConfig
    | config_pb2.TimeoutsConfig
    | config_pb2.SshConfig
    | config_pb2.QueuedResourcesConfig
)


def _fill(message: _WithDurations, name: str, seconds: int) -> None:
    if not message.HasField(name):  # type: ignore[arg-type]  # a field of each that is filled here
        duration: Duration = getattr(message, name)
        duration.FromSeconds(seconds)
