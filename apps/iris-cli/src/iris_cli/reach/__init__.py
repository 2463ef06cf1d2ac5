"""How a cluster's controller is reached: by its file on this machine, or over SSH on another."""

from __future__ import annotations

from iris_cli.exits import FAILED, CliError
from iris_cli.locate import Cluster
from iris_cli.reach.link import CHANNEL_OPTIONS, Link, Reach, RpcFailed
from iris_cli.reach.local import LocalReach
from iris_platform.base import Refused
from iris_platform.controller_vm.site import Site, read_site

__all__ = ["CHANNEL_OPTIONS", "Link", "Reach", "RpcFailed", "reach_of", "site_of"]


def reach_of(cluster: Cluster) -> Reach:
    """The way to a cluster's controller.

    Raises:
        CliError: what is written down about it cannot be used.
    """
    site = site_of(cluster)
    if site is None:
        return LocalReach(cluster)
    # Here, since it takes paramiko and cryptography along.
    from iris_cli.reach.remote import RemoteReach

    return RemoteReach(cluster, site)


def site_of(cluster: Cluster) -> Site | None:
    """Where a cluster's controller is; None where it is on this machine.

    Raises:
        CliError: what is written down about it cannot be used.
    """
    try:
        return read_site(cluster.paths)
    except Refused as error:
        raise CliError(FAILED, str(error)) from error
