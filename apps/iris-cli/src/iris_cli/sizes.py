"""What manual hosts offer where the configuration does not say: asked of them at the start, and kept."""

from __future__ import annotations

from iris_cli.exits import FAILED, CliError
from iris_cli.locate import Cluster
from iris_cli.output import Output
from iris_cli.steps import Steps
from iris_cli.teardown.scope import started_config
from iris_cli.text import plural
from iris_config import IrisConfig
from iris_platform.base import PlatformError
from iris_platform.controller_vm import pools_of
from iris_platform.controller_vm.pools import HostFacts
from iris_proto.v1.config_pb2 import IrisClusterConfig, ScaleGroupConfig


def with_sizes(cluster: Cluster, config: IrisConfig, output: Output) -> IrisConfig:
    """The configuration with the `host_resources` of every manual group.

    What the last start found is taken again as long as the group has the same
    hosts: a controller that runs has it. Otherwise the least that any host of
    the group offers.

    Raises:
        CliError: no host of a group says what it offers.
    """
    proto = IrisClusterConfig()
    proto.CopyFrom(config.proto)
    known = _known(cluster)
    unknown = [group for group in proto.scale_groups.values() if _is_unknown(group)]
    for group in unknown:
        before = known.get(group.name)
        if before is not None and before.provider == group.provider:
            group.host_resources.CopyFrom(before.host_resources)
    asked = [group for group in unknown if _is_unknown(group)]
    if asked:
        _ask(asked, proto, cluster, output)
    return IrisConfig(proto) if unknown else config


def _known(cluster: Cluster) -> dict[str, ScaleGroupConfig]:
    try:
        started = started_config(cluster)
    except CliError:
        return {}
    return dict(started.scale_groups.items()) if started else {}


def _is_unknown(group: ScaleGroupConfig) -> bool:
    return group.provider.HasField("manual") and not group.host_resources.cpu


def _ask(groups: list[ScaleGroupConfig], proto: IrisClusterConfig, cluster: Cluster, output: Output) -> None:
    hosts = sorted({host for group in groups for host in group.provider.manual.hosts})
    try:
        with Steps(output).step(f"ask {plural(len(hosts), 'host')} what they offer"):
            found = pools_of(proto, cluster.paths).look(hosts)
    except PlatformError as error:
        raise CliError(FAILED, str(error)) from error
    for host, answer in found.items():
        if isinstance(answer, PlatformError):
            output.note(f"iris: host {host} does not say what it offers: {answer}")
    for group in groups:
        facts = [found[host] for host in group.provider.manual.hosts]
        known = [fact for fact in facts if isinstance(fact, HostFacts)]
        if not known:
            raise CliError(
                FAILED,
                f"scale_groups.{group.name}: no host says what it offers",
                hint="see why: iris doctor; or say it: host_resources: { cpu: 4, memory: 8GiB }",
            )
        group.host_resources.cpu = min(fact.cpus for fact in known)
        if not group.host_resources.memory:
            group.host_resources.memory = min(fact.memory_bytes for fact in known)
