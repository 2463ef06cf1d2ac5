"""The end of what an agent said on its host, fetched by this machine from there.

The controller has no part in it: hosts are reached as `cluster stop` reaches them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from iris_cli.exits import CliError
from iris_cli.locate import Cluster
from iris_cli.reach import site_of
from iris_cli.teardown.scope import LOCAL, open_sites, open_sites_from_afar, read_scope
from iris_platform.base import HOST_LOG_BYTES, ClusterIdentity, PlatformError
from iris_platform.controller_vm.site import Site
from iris_platform.files import last_lines
from iris_proto.v1.controller_pb2 import Slice
from iris_proto.v1.job_pb2 import Place


@dataclass(frozen=True)
class HostWords:
    """`address` is the host's where it is known; `error` says why its log could not be had.

    Both `text` and `error` where only what the start said, as its failure has it, is left.
    """

    text: str = ""
    error: str = ""
    address: str = ""


def read_host_log(cluster: Cluster, cluster_id: str, entry: Slice, place: Place) -> HostWords:
    """The end of the log of one host of a slice, from the host, else from the slice's failure."""
    try:
        return _fetch(cluster, ClusterIdentity(cluster.name, cluster_id), entry, place.worker_index)
    except (CliError, PlatformError) as error:
        # The first line is why it failed.
        said = entry.message.partition("\n")[2]
        return HostWords(last_lines(said, HOST_LOG_BYTES), str(error))


def _fetch(cluster: Cluster, identity: ClusterIdentity, entry: Slice, index: int) -> HostWords:
    site = site_of(cluster)
    scope = read_scope(cluster)
    group = scope.groups.get(entry.scale_group)
    if group is None:
        return HostWords(error=f"scale group {entry.scale_group} is not in the configuration any more")
    if site is not None and group.provider.WhichOneof("provider") == LOCAL:
        return HostWords(error=_on_the_controllers_host(site, entry.name, index), address=site.host)
    # No other group's hosts have it.
    scope = replace(scope, groups={entry.scale_group: group})
    open_them = open_sites if site is None else open_sites_from_afar
    for found in open_them(scope, identity, cluster):
        if found.zone == entry.zone:
            log = found.platform.host_log(entry.name, index, entry.zone)
            return HostWords(log.text, address=log.address)
    return HostWords(error=f"scale group {entry.scale_group} has no zone {entry.zone} any more")


def _on_the_controllers_host(site: Site, name: str, index: int) -> str:
    path = f"controller/state/local/{name}/{index}/agent.log"
    root = "/var/lib/iris-host (of a user who is not root: ~/.local/share/iris-host)"
    return f"it is on the controller's host, {site.host}: {path} below {root}"
