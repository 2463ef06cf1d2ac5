"""The controller that a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from iris_platform.base import Refused, Stray
from iris_platform.controller_vm.base import ControllerVm, ElsewhereVm, Operator, Probe
from iris_platform.controller_vm.local import LocalController
from iris_platform.controller_vm.site import Site, dial, known_site
from iris_platform.joining import CLOUD_KINDS, Kind
from iris_platform.paths import ClusterPaths

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_platform.controller_vm.gce import GceController
    from iris_platform.controller_vm.pools import Pools
    from iris_platform.ssh import SshConnection
    from iris_proto.v1.config_pb2 import IrisClusterConfig


@dataclass(frozen=True)
class Recipe:
    """What a controller is made from: the effective configuration, and whose command it is.

    Without `pins` no host key is written down: for a look that changes nothing.
    """

    config: IrisClusterConfig
    paths: ClusterPaths
    probe: Probe
    operator: Operator
    pins: bool = True


def create_controller_vm(recipe: Recipe) -> ControllerVm:
    """The controller of a configuration.

    Raises:
        ValueError: no provider is set.
        Refused: the cluster was started on another host before, and not stopped there.
    """
    arm = recipe.config.controller.WhichOneof("controller")
    if arm is None:
        raise ValueError("controller: no provider is set")
    return CONTROLLERS[arm](recipe)


def controller_at(cluster: str, site: Site, paths: ClusterPaths, operator: Operator) -> ElsewhereVm:
    """The controller that is at a site, for everything but a start."""
    # Here, since they take cryptography along.
    if site.machine is not None:
        return _gce()(cluster, site, paths, operator)
    from iris_platform.controller_vm.remote import RemoteController

    return RemoteController(cluster, site, paths, operator)


def namesakes_at(cluster: str, site: Site, paths: ClusterPaths, operator: Operator) -> list[Stray]:
    """What was made for a controller of this name where `site` says, with another id than its own.

    Raises:
        PlatformError: that cannot be looked at.
    """
    if site.machine is None:
        return []
    return _gce()(cluster, site, paths, operator).namesakes()


def _local(recipe: Recipe) -> ControllerVm:
    return LocalController(recipe.paths, recipe.probe)


def _manual(recipe: Recipe) -> ControllerVm:
    from iris_platform.bootstrap import container_of
    from iris_platform.controller_vm.remote import RemoteController

    config = recipe.config
    site = known_site(config, recipe.paths)
    look = partial(dial, site, recipe.paths.pki_dir, pins=False)
    return RemoteController(
        *(config.name, site, recipe.paths, recipe.operator, pools_of(config, recipe.paths)),
        connect=None if recipe.pins else look,
        container=container_of(config.bootstrap, "controller"),
        kinds=kinds_of(config),
    )


def _gcp(recipe: Recipe) -> ControllerVm:
    from iris_platform.bootstrap import container_of
    from iris_platform.gcp.machine import Machine

    config, site = recipe.config, known_site(recipe.config, recipe.paths)

    def look(there: Site) -> SshConnection:
        return dial(there, recipe.paths.pki_dir, pins=False)

    gcp, machine = config.controller.gcp, site.machine
    assert machine is not None, "`site_of` gives one to every controller on GCE"
    wanted = Machine(
        *(machine.project, machine.zone, "", "", gcp.machine_type, gcp.boot_image),
        *(gcp.boot_disk_size, gcp.state_disk_size, gcp.network, gcp.subnetwork, gcp.service_account),
        *(gcp.external_addresses, dict(gcp.labels)),
    )
    return _gce()(
        *(config.name, site, recipe.paths, recipe.operator, wanted, pools_of(config, recipe.paths)),
        container=container_of(config.bootstrap, "controller"),
        kinds=kinds_of(config),
        connect=None if recipe.pins else look,
    )


def _gce() -> type[GceController]:
    """
    Raises:
        Refused: what speaks to Google is not installed.
    """
    try:
        from iris_platform.controller_vm.gce import GceController
    except ModuleNotFoundError as error:
        raise Refused(
            f"a controller on GCE needs {error.name}, which is not installed here:"
            " pip install 'iris-platform[gcp]'"
        ) from error
    return GceController


def kinds_of(config: IrisClusterConfig) -> tuple[Kind, ...]:
    """The kinds of machines that the controller is going to make, as far as nobody can look at one now."""
    is_any_tpu = any(group.provider.HasField("tpu") for group in config.scale_groups.values())
    return CLOUD_KINDS if is_any_tpu else ()


def pools_of(config: IrisClusterConfig, paths: ClusterPaths) -> Pools:
    """The hosts of all manual groups, as this machine reaches them."""
    from iris_platform.controller_vm.pools import Pools
    from iris_platform.manual import KNOWN_HOSTS_FILE
    from iris_platform.ssh import KnownHosts, dialler, settings_of, targets_in

    targets = targets_in(config)
    known_hosts, settings = KnownHosts(paths.pki_dir / KNOWN_HOSTS_FILE), settings_of(config.ssh)
    return Pools(targets, dialler(settings, known_hosts), config.ssh.max_parallel)


# By the arm of `ControllerConfig.controller`.
CONTROLLERS: Mapping[str, Callable[[Recipe], ControllerVm]] = {
    "gcp": _gcp,
    "manual": _manual,
    "local": _local,
}
