"""Reads configurations for commands; problems become a `CliError`.

`iris_config` is the only parser; this words its errors, and makes of a
configuration the one of its rehearsal.
"""

from __future__ import annotations

from pathlib import Path

from iris_cli.exits import USAGE, CliError
from iris_cli.rehearsal import is_rehearsal, rehearsal_name
from iris_config import ConfigError, IrisConfig, MachineFacts, load_config, read_machine_facts
from iris_config.defaults import LEAST_LOCAL_CPUS
from iris_proto.v1.config_pb2 import IrisClusterConfig, ScaleGroupConfig


def load(path: Path) -> IrisConfig:
    """The configuration in a file, checked and complete.

    Raises:
        CliError: it cannot be read, or is wrong; every problem is in it.
    """
    try:
        return load_config(path)
    except ConfigError as error:
        lines = tuple(str(error).splitlines())
        raise CliError(USAGE, f"{path} cannot be used", details=lines) from error
    except OSError as error:
        raise CliError(USAGE, f"{path}: cannot read: {error.strerror}") from error


def load_for(cluster: str, path: Path) -> IrisConfig:
    """`load` for a cluster: what its rehearsal is given where it is one.

    Raises:
        CliError: as `load`.
    """
    config = load(path)
    return rehearse(config) if is_rehearsal(cluster) else config


def rehearse(config: IrisConfig, machine: MachineFacts | None = None) -> IrisConfig:
    """The same cluster in miniature: every group of local agents, another name.

    Shapes, limits, priorities and timeouts stay. `machine` stands in for the
    facts of this machine, which hosts of unknown size are taken to have.
    """
    proto = IrisClusterConfig()
    proto.CopyFrom(config.proto)
    proto.name = rehearsal_name(proto.name)
    # The real one may have its port in use, or be about to.
    proto.controller.Clear()
    proto.controller.local.SetInParent()
    # Nothing done to it may touch the real one's state.
    proto.ClearField("storage")
    proto.ClearField("bootstrap")
    for group in proto.scale_groups.values():
        _make_local(group, machine or read_machine_facts())
    return IrisConfig(proto)


def _make_local(group: ScaleGroupConfig, machine: MachineFacts) -> None:
    group.provider.local.SetInParent()
    # This machine is one zone; all that is left of the others is the first's name.
    del group.zones[1:]
    group.ClearField("runtime_version")
    group.ClearField("capacity")
    if not group.host_resources.cpu:
        # Known only once such a host is there, as is its memory then.
        group.host_resources.cpu = max(LEAST_LOCAL_CPUS, machine.cores)
        group.host_resources.memory = group.host_resources.memory or machine.memory_bytes
