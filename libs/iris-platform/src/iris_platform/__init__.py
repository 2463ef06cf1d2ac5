"""Machines and slices: one protocol, one factory, a module for each provider.

Importing this package imports neither a provider nor protobuf: the agent's
keeper, which has only the standard library, imports `iris_platform.processes`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from iris_platform.base import (
    ClusterIdentity,
    HostLog,
    SliceInfo,
    SliceSpec,
    Stray,
    VmBootstrapSpec,
    VmInfo,
)
from iris_platform.paths import ClusterPaths
from iris_platform.vm_platform import VmManager

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_platform.joining import Joining
    from iris_proto.v1.config_pb2 import (
        BootstrapConfig,
        EndpointsConfig,
        ProviderConfig,
        ScaleGroupConfig,
        SshConfig,
    )

__version__ = "0.1.0"

__all__ = [
    "ClusterIdentity",
    "ClusterPaths",
    "Platform",
    "PlatformSettings",
    "VmManager",
    "create_platform",
    "create_platforms",
]

# The module of each arm of `ProviderConfig.provider`. Each has a function `make_platform(settings) -> Platform`.
PROVIDER_MODULES: Mapping[str, str] = {
    "tpu": "iris_platform.gcp",
    "manual": "iris_platform.manual",
    "local": "iris_platform.local",
}


class Platform(Protocol):
    """Machines of one provider, zone by zone.

    Calls are synchronous, may block, have deadlines, and may be repeated: the
    same call twice leaves the same machines. `zone` may be left out only when
    exactly one is configured (`ValueError` otherwise, naming them). They raise
    `PlatformError`s; a list that could not be had raises, it is never empty
    or partial.
    """

    def zones(self) -> Sequence[str]:
        """The configured zones, in order."""
        ...

    def list_vms(self, labels: Mapping[str, str], zone: str | None = None) -> list[VmInfo]:
        """This cluster's machines outside slices that carry all `labels`."""
        ...

    def start_vms(self, spec: VmBootstrapSpec, count: int = 1, zone: str | None = None) -> list[VmInfo]:
        """Start machines outside slices: the controller's."""
        ...

    def stop_vms(self, ids: Sequence[str], zone: str | None = None) -> None:
        """Stop machines that `list_vms` showed; fine where already gone."""
        ...

    def list_slices(self, labels: Mapping[str, str], zone: str | None = None) -> list[SliceInfo]:
        """This cluster's slices in a zone that carry all `labels`, by name."""
        ...

    def get_slice(self, slice_id: str, zone: str | None = None) -> SliceInfo | None:
        """One slice by name; None when the provider says that there is none.

        Raises:
            NotOurs: it exists and carries another identity.
        """
        ...

    def create_slice(self, spec: SliceSpec, zone: str | None = None) -> None:
        """Make a slice; returns when accepted. The same name is the same slice.

        Raises:
            NotOurs: the name exists with other labels.
            Refused: the specification is wrong, or does not fit what exists.
        """
        ...

    def delete_slice(self, slice_id: str, zone: str | None = None) -> None:
        """Remove a slice and all that runs on it; fine if already gone.

        Raises:
            NotOurs: name and labels do not both carry this cluster's id.
        """
        ...

    def host_log(self, slice_id: str, index: int, zone: str | None = None) -> HostLog:
        """The end of what the agent's service said on one host of a slice; changes nothing.

        Of an agent that did not start it is what its start said.

        Raises:
            NotOurs: the slice carries another identity.
            Refused: there is no such slice or host, or nothing of it on the host.
            Unreachable: the host cannot be looked at.
        """
        ...

    def troubles(self) -> list[str]:
        """What people should know although no call fails: machines that are left alone, and why."""
        ...

    def tidy(self, zone: str | None = None) -> None:
        """Remove what is kept on machines between slices, where no slice is any more.

        Raises:
            Unreachable: of some it is not known whether anything is left.
        """
        ...

    def serve(self, addresses: tuple[str, str]) -> AbstractContextManager[None]:
        """Let machines reach a controller here while it is held.

        `addresses` (`HOST:PORT`) are where it listens on this machine, for
        agents and for those that join. Returns at once.
        """
        ...

    def tunnel(self, address: str) -> AbstractContextManager[str]:
        """An address on this machine that reaches `address` while it is held."""
        ...

    def vm_manager(self, group: ScaleGroupConfig) -> VmManager:
        """A group's configuration bound to this platform."""
        ...


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@runtime_checkable
class SeesStrays(Protocol):
    """A platform whose lists show what is a cluster's by half, or its namesake's."""

    def strays(self, zone: str) -> list[Stray]:
        """What the last list of a zone showed of that; nobody touches it."""
        ...


@dataclass(frozen=True)
class PlatformSettings:
    """What a platform must know; one for each distinct provider.

    `zones` is the union of the zones of the provider's groups.
    `agent_command` replaces the agent's executable (argv in front of `run`);
    None finds `iris-bootstrap` beside the running Python, then on PATH.
    `agent_start_s` and `agent_stop_s` bound the wait for a local agent to come
    up and, asked to, to end. An agent that never hears of a controller leaves
    after `orphan_timeout_s`. Hosts over SSH are reached as `ssh` says, Google Cloud
    is where `endpoints` says. Hosts run what `bootstrap` says (nothing said: a
    bundle), and join by `joining`, without which nothing is started there; `groups`
    are the provider's, `lease_s` and `boot_s` their longest.
    """

    provider: ProviderConfig
    zones: tuple[str, ...]
    identity: ClusterIdentity
    paths: ClusterPaths
    agent_command: tuple[str, ...] | None = None
    agent_start_s: float = 30.0
    agent_stop_s: float = 10.0
    orphan_timeout_s: float = 1800.0
    ssh: SshConfig | None = None
    endpoints: EndpointsConfig | None = None
    bootstrap: BootstrapConfig | None = None
    joining: Joining | None = None
    groups: tuple[str, ...] = ()
    lease_s: float = 600.0
    boot_s: float = 900.0
    now_ms: Callable[[], int] = field(default=wall_ms)


def create_platform(settings: PlatformSettings) -> Platform:
    """The platform of the provider that `settings` names.

    Raises:
        ValueError: no provider is set, or no zone.
    """
    arm = settings.provider.WhichOneof("provider")
    if arm is None:
        raise ValueError("no provider is set")
    if not settings.zones:
        raise ValueError(f"provider {arm} has no zone")
    make = cast(
        "Callable[[PlatformSettings], Platform]", importlib.import_module(PROVIDER_MODULES[arm]).make_platform
    )
    return make(settings)


def create_platforms(
    groups: Mapping[str, ScaleGroupConfig],
    identity: ClusterIdentity,
    paths: ClusterPaths,
    agent_command: tuple[str, ...] | None = None,
    orphan_timeout_s: float = 1800.0,
    ssh: SshConfig | None = None,
    endpoints: EndpointsConfig | None = None,
    bootstrap: BootstrapConfig | None = None,
    joining: Joining | None = None,
) -> dict[str, Platform]:
    """The platform of every scale group; groups of one provider share one.

    Raises:
        ValueError: as `create_platform`; the message names the group.
    """
    zones: dict[bytes, dict[str, None]] = {}
    for group in groups.values():
        zones.setdefault(_provider_key(group), {}).update(dict.fromkeys(group.zones))
    made: dict[bytes, Platform] = {}
    for name, group in groups.items():
        key = _provider_key(group)
        if key in made:
            continue
        sharing = {name: other for name, other in groups.items() if _provider_key(other) == key}
        settings = PlatformSettings(
            provider=group.provider,
            zones=tuple(zones[key]),
            identity=identity,
            paths=paths,
            agent_command=agent_command,
            orphan_timeout_s=orphan_timeout_s,
            ssh=ssh,
            endpoints=endpoints,
            bootstrap=bootstrap,
            joining=joining,
            groups=tuple(sharing),
            lease_s=max(group.task_lease.ToSeconds() for group in sharing.values()),
            boot_s=max(group.boot_timeout.ToSeconds() for group in sharing.values()),
        )
        try:
            made[key] = create_platform(settings)
        except ValueError as error:
            raise type(error)(f"scale group {name}: {error}") from error
    return {name: made[_provider_key(group)] for name, group in groups.items()}


def _provider_key(group: ScaleGroupConfig) -> bytes:
    """What groups of one platform have in common: of a cloud the project, in which each zone is listed once."""
    if group.provider.HasField("tpu"):
        return b"tpu " + group.provider.tpu.project_id.encode()
    return group.provider.SerializeToString(deterministic=True)
