"""Where a cluster may have something: its zones, and who provides machines there.

The union of the configuration file and of what the last start was given, so
that a zone that was dropped from the file since is still stopped.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from iris_cli.configs import load_for
from iris_cli.exits import FAILED, USAGE, CliError
from iris_cli.locate import Cluster
from iris_config import ConfigError, IrisConfig
from iris_platform import (
    Platform,
    PlatformSettings,
    create_platform,
    create_platforms,
)
from iris_platform.base import ClusterIdentity
from iris_platform.local import Found
from iris_proto.v1.config_pb2 import (
    EndpointsConfig,
    LocalProvider,
    ProviderConfig,
    ScaleGroupConfig,
    SshConfig,
)

LOCAL = "local"
# Of local slices whose record does not say it, where nothing else is configured.
DEFAULT_ZONE = "local"


@dataclass(frozen=True)
class Scope:
    """Scale groups by a name for messages, and all zones, sorted.

    `untold` are zones of the last start that no group explains any more. `moved`
    is what takes over the endpoints of the file, where the last start had others:
    what it made is there, and not where the file says now.
    """

    groups: dict[str, ScaleGroupConfig]
    zones: tuple[str, ...]
    untold: tuple[str, ...] = ()
    ssh: SshConfig | None = None
    endpoints: EndpointsConfig | None = None
    moved: str = ""
    # What the last start was given, else the configuration file.
    started: IrisConfig | None = None


@dataclass(frozen=True)
class Place:
    """A zone of one provider: a place that can be listed."""

    zone: str
    provider: str
    platform: Platform
    # Where local slices lie, and whose of them this place means.
    local_root: Path | None = None
    cluster_id: str = ""
    # What may help where it cannot be listed.
    helps: str = ""

    @property
    def deletes_later(self) -> bool:
        """Whether a deletion only begins when the call returns."""
        return self.provider == "tpu"


def read_scope(cluster: Cluster) -> Scope:
    """What the configuration and the last start name.

    Raises:
        CliError: neither can be read.
    """
    try:
        started, damage = started_config(cluster), None
    except CliError as error:
        # As where the file is gone, unless nothing else says what there is.
        started, damage = None, error
    groups = dict(started.scale_groups.items()) if started else {}
    configured = _configured(cluster, needed=started is None)
    if damage is not None and configured is None:
        raise damage
    for name, group in (configured.scale_groups if configured else {}).items():
        groups.setdefault(name, group)
        if groups[name] != group:
            groups[f"{name} (as configured now)"] = group
    told = {zone for group in groups.values() for zone in group.zones}
    untold = sorted(set(cluster.zones) - told)
    source = started or configured
    ssh = source.proto.ssh if source else None
    endpoints = source.proto.endpoints if source else None
    moved = _moved(cluster, started, configured) if started and configured else ""
    return Scope(groups, tuple(sorted(told | set(untold))), tuple(untold), ssh, endpoints, moved, source)


def _moved(cluster: Cluster, started: IrisConfig, configured: IrisConfig) -> str:
    then, now = started.proto.endpoints, configured.proto.endpoints
    changes = [
        f"{name} {getattr(now, name)}, not {getattr(then, name)}"
        for name in now.DESCRIPTOR.fields_by_name
        if getattr(now, name) != getattr(then, name)
    ]
    if not changes:
        return ""
    return f"take over what the configuration says now ({'; '.join(changes)}): {cluster.command('cluster start')}"


def started_config(cluster: Cluster) -> IrisConfig | None:
    """What the controller was last given; None where there is no such file.

    Raises:
        CliError: it is there but cannot be used.
    """
    path = cluster.paths.config_file
    try:
        return IrisConfig.from_json(path.read_text("utf-8"), source=str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(FAILED, f"{path}: cannot read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CliError(FAILED, f"{path}: cannot read: {error}") from error
    except ConfigError as error:
        # Its own lines begin with the path too.
        why = "; ".join(problem.message for problem in error.problems)
        raise CliError(FAILED, f"{path}: cannot read: {why}") from error


def _configured(cluster: Cluster, *, needed: bool) -> IrisConfig | None:
    """The configuration file; None where it says nothing of this cluster."""
    if cluster.config_path is None:
        return None
    try:
        config = load_for(cluster.name, cluster.config_path)
    except CliError:
        # What was started can be stopped although the file is broken since.
        if needed:
            raise
        return None
    return config if config.name == cluster.name else None


def choose_zones(wanted: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The zones that `--zone` names, or all.

    Raises:
        CliError: one is not among the known ones.
    """
    zones = tuple(dict.fromkeys(wanted))
    for zone in zones:
        if zone not in known:
            there = ", ".join(known) or "none"
            raise CliError(USAGE, f"there is no zone {zone}; zones of this cluster: {there}")
    return zones or known


def open_sites(scope: Scope, identity: ClusterIdentity, cluster: Cluster) -> list[Place]:
    """Every place that can be listed, by zone.

    Raises:
        CliError: the provider of a group that was started cannot be driven.
    """
    try:
        platforms = create_platforms(
            scope.groups, identity, cluster.paths, ssh=scope.ssh, endpoints=scope.endpoints
        )
    except ValueError as error:
        raise CliError(FAILED, str(error)) from error
    sites = {}
    for name, platform in platforms.items():
        provider = scope.groups[name].provider.WhichOneof("provider") or ""
        for zone in platform.zones():
            root = cluster.paths.local_root if provider == LOCAL else None
            helps = scope.moved if provider == "tpu" else ""
            sites[zone, id(platform)] = Place(zone, provider, platform, root, identity.cluster_id, helps)
    return sorted(sites.values(), key=lambda site: (site.zone, site.provider))


def open_sites_from_afar(scope: Scope, identity: ClusterIdentity, cluster: Cluster) -> list[Place]:
    """The places of a cluster whose controller is on another machine, seen from this one.

    Nothing is remembered of an earlier look: only the hosts themselves know.
    What is local to the controller's machine ends with the controller.

    Raises:
        CliError: as `open_sites`.
    """
    groups = {name: group for name, group in scope.groups.items() if not group.provider.HasField("local")}
    directory = TemporaryDirectory(prefix="iris-stop-")
    # Until the process ends.
    atexit.register(directory.cleanup)
    paths = replace(cluster.paths, state_dir=Path(directory.name))
    return open_sites(replace(scope, groups=groups), identity, replace(cluster, paths=paths))


def open_clouds(scope: Scope, ids: Iterable[str], cluster: Cluster) -> list[Place]:
    """The places of clouds alone as the cluster of this name sees them that has each of these ids.

    Raises:
        CliError: as `open_sites`.
    """
    groups = {name: group for name, group in scope.groups.items() if group.provider.HasField("tpu")}
    clouds = replace(scope, groups=groups)
    identities = [ClusterIdentity(cluster.name, cluster_id) for cluster_id in sorted(ids)]
    return [place for one in identities for place in open_sites_from_afar(clouds, one, cluster)]


def sites_of(
    census: Iterable[Found], ids: Iterable[str], sites: Iterable[Place], cluster: Cluster
) -> list[Place]:
    """Further local places, so that all slices of these ids are listed.

    Their zones may have gone from the configuration, and their keys with them.
    """
    wanted = set(ids)
    there = [site for site in sites if site.local_root is not None]
    default = there[0].zone if there else DEFAULT_ZONE
    known = {(site.zone, site.cluster_id) for site in there}
    missing = {(f.zone or default, f.cluster_id) for f in census if f.cluster_id in wanted} - known
    provider = ProviderConfig(local=LocalProvider())
    found = []
    for zone, cluster_id in sorted(missing):
        identity = ClusterIdentity(cluster.name, cluster_id)
        settings = PlatformSettings(provider, (zone,), identity, cluster.paths)
        platform = create_platform(settings)
        found.append(Place(zone, LOCAL, platform, cluster.paths.local_root, cluster_id))
    return found
