"""The controller that a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iris_platform.controller_vm.base import ControllerVm, Operator, Probe
from iris_platform.controller_vm.local import LocalController
from iris_platform.controller_vm.site import known_site
from iris_platform.paths import ClusterPaths

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_platform.controller_vm.pools import Pools
    from iris_proto.v1.config_pb2 import IrisClusterConfig


@dataclass(frozen=True)
class Recipe:
    """What a controller is made from: the effective configuration, and whose command it is."""

    config: IrisClusterConfig
    paths: ClusterPaths
    probe: Probe
    operator: Operator


def create_controller_vm(recipe: Recipe) -> ControllerVm:
    """The controller of a configuration.

    Raises:
        ValueError: no provider is set, or not one of this release.
        Refused: the cluster was started on another host before, and not stopped there.
    """
    arm = recipe.config.controller.WhichOneof("controller")
    if arm is None:
        raise ValueError("controller: no provider is set")
    make = CONTROLLERS[arm]
    if make is None:
        there = ", ".join(name for name, made in CONTROLLERS.items() if made)
        raise ValueError(f"controller: provider {arm} is not available in this release; available: {there}")
    return make(recipe)


def _local(recipe: Recipe) -> ControllerVm:
    return LocalController(recipe.paths, recipe.probe)


def _manual(recipe: Recipe) -> ControllerVm:
    # Here, since it takes cryptography along.
    from iris_platform.bootstrap import container_of
    from iris_platform.controller_vm.remote import RemoteController

    config = recipe.config
    site = known_site(config, recipe.paths)
    return RemoteController(
        *(config.name, site, recipe.paths, recipe.operator, pools_of(config, recipe.paths)),
        container=container_of(config.bootstrap, "controller"),
    )


def pools_of(config: IrisClusterConfig, paths: ClusterPaths) -> Pools:
    """The hosts of all manual groups, as this machine reaches them."""
    from iris_platform.controller_vm.pools import Pools
    from iris_platform.manual import KNOWN_HOSTS_FILE
    from iris_platform.ssh import KnownHosts, connect, settings_of, targets_in

    targets = targets_in(config)
    known_hosts, settings = KnownHosts(paths.pki_dir / KNOWN_HOSTS_FILE), settings_of(config.ssh)
    return Pools(targets, lambda target: connect(target, settings, known_hosts), config.ssh.max_parallel)


# By the arm of `ControllerConfig.controller`; None until it exists.
CONTROLLERS: Mapping[str, Callable[[Recipe], ControllerVm] | None] = {
    "gcp": None,
    "manual": _manual,
    "local": _local,
}
