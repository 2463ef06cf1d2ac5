"""What a scale group asks of its platform, and rules that all platforms share.

Knows nothing of any provider. Platform calls are zone-scoped (DESIGN 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from iris_platform.base import (
    ClusterIdentity,
    HostLog,
    HostResources,
    NotOurs,
    SliceCloudState,
    SliceInfo,
    SliceSpec,
    VmState,
)
from iris_platform.names import LABEL_GROUP, group_part, parse_slice_name, slice_labels

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_proto.v1.config_pb2 import ScaleGroupConfig


class VmManager(Protocol):
    """A scale group's configuration bound to a platform; holds no state.

    Errors, idempotence and zone rules are those of `Platform`.
    """

    @property
    def group(self) -> str:
        """The scale group's name, as configured."""
        ...

    def create_slice(self, name: str, zone: str | None = None) -> None:
        """Make a slice of this group; the same name is the same slice."""
        ...

    def delete_slice(self, name: str, zone: str | None = None) -> None:
        """Remove a slice and all that runs on it; fine if already gone."""
        ...

    def get_slice(self, name: str, zone: str | None = None) -> SliceInfo | None:
        """One slice by name; None when the provider says that there is none."""
        ...

    def list_slices(self, zone: str | None = None) -> list[SliceInfo]:
        """This cluster's slices of this group in a zone, by name."""
        ...

    def host_log(self, name: str, index: int, zone: str | None = None) -> HostLog:
        """The end of what the agent's service said on one host of a slice."""
        ...


def resolve_zone(zones: Sequence[str], zone: str | None) -> str:
    """The zone that a call means.

    Raises:
        ValueError: left out although several are configured, or not among
            them; the message names the configured ones.
    """
    if zone is None:
        if len(zones) == 1:
            return zones[0]
        raise ValueError(f"zone is needed: {len(zones)} are configured: {', '.join(zones)}")
    if zone not in zones:
        raise ValueError(f"zone {zone} is not configured; configured: {', '.join(zones)}")
    return zone


def slice_spec(group: ScaleGroupConfig, identity: ClusterIdentity, name: str) -> SliceSpec:
    """The slice that a group's (effective) configuration describes."""
    resources = HostResources(round(group.host_resources.cpu * 1000), group.host_resources.memory)
    return SliceSpec(
        name=name,
        group=group.name,
        hosts=group.slice_size,
        resources=resources,
        accelerator_type=group.accelerator_type,
        labels={
            **group.labels,
            **slice_labels(identity.cluster, identity.cluster_id, group.name, name),
        },
    )


class SlicePlatform(Protocol):
    """What a group's manager asks of its platform; see `Platform` for what each means."""

    def create_slice(self, spec: SliceSpec, zone: str | None = None) -> None: ...

    def delete_slice(self, slice_id: str, zone: str | None = None) -> None: ...

    def get_slice(self, slice_id: str, zone: str | None = None) -> SliceInfo | None: ...

    def list_slices(self, labels: Mapping[str, str], zone: str | None = None) -> list[SliceInfo]: ...

    def host_log(self, slice_id: str, index: int, zone: str | None = None) -> HostLog: ...


class GroupVmManager:
    """A scale group bound to its platform, for platforms whose slices need nothing else; see `VmManager`."""

    def __init__(self, platform: SlicePlatform, group: ScaleGroupConfig, identity: ClusterIdentity) -> None:
        self._platform = platform
        self._config = group
        self._identity = identity

    @property
    def group(self) -> str:
        """See `VmManager.group`."""
        return self._config.name

    def create_slice(self, name: str, zone: str | None = None) -> None:
        """See `VmManager.create_slice`."""
        zone = resolve_zone(self._config.zones, zone)
        self._check_group(name)
        self._platform.create_slice(self._spec(name, zone), zone)

    def delete_slice(self, name: str, zone: str | None = None) -> None:
        """See `VmManager.delete_slice`."""
        zone = resolve_zone(self._config.zones, zone)
        self._check_group(name)
        self._platform.delete_slice(name, zone)

    def get_slice(self, name: str, zone: str | None = None) -> SliceInfo | None:
        """See `VmManager.get_slice`."""
        zone = resolve_zone(self._config.zones, zone)
        parts = parse_slice_name(name)
        if parts is None or parts.group != group_part(self.group):
            return None
        return self._platform.get_slice(name, zone)

    def list_slices(self, zone: str | None = None) -> list[SliceInfo]:
        """See `VmManager.list_slices`."""
        zone = resolve_zone(self._config.zones, zone)
        return self._platform.list_slices({LABEL_GROUP: group_part(self.group)}, zone)

    def host_log(self, name: str, index: int, zone: str | None = None) -> HostLog:
        """See `VmManager.host_log`."""
        zone = resolve_zone(self._config.zones, zone)
        self._check_group(name)
        return self._platform.host_log(name, index, zone)

    def _spec(self, name: str, zone: str) -> SliceSpec:
        """What the platform is given to make; where a provider needs more, its manager adds it."""
        return slice_spec(self._config, self._identity, name)

    def _check_group(self, name: str) -> None:
        parts = parse_slice_name(name)
        if parts is None or parts.group != group_part(self.group):
            raise NotOurs(f"slice {name}: not a name of group {self.group}")


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether `labels` has all of `wanted`."""
    return all(labels.get(key) == value for key, value in wanted.items())


def slice_state(hosts: Iterable[VmState]) -> SliceCloudState:
    """A slice's state from its hosts': one dead host fails it."""
    states = set(hosts)
    if states & {VmState.FAILED, VmState.TERMINATED}:
        return SliceCloudState.FAILED
    if VmState.BOOTING in states:
        return SliceCloudState.CREATING
    return SliceCloudState.RUNNING
