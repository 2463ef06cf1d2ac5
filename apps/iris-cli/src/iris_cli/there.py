"""What a controller on another machine is given: the configuration as it has to be over there."""

from __future__ import annotations

from iris_config import IrisConfig
from iris_platform.ssh import UserConfig, resolve, targets_of
from iris_platform.ssh.target import DEFAULT_PORT, DEFAULT_USER
from iris_proto.v1.config_pb2 import IrisClusterConfig, ManualProvider

# The controller's own key, wherever its keys are.
KEY_THERE = "@state@/pki/ssh.key"
# Its machine's own settings are nobody's of ours.
NO_SSH_CONFIG = "/dev/null"


def is_here(config: IrisConfig) -> bool:
    """Whether the controller is a process on this machine."""
    return config.proto.controller.WhichOneof("controller") == "local"


def is_at_google(config: IrisConfig) -> bool:
    """Whether the controller has a machine of its own, which a start makes."""
    return config.proto.controller.HasField("gcp")


def manual_hosts(config: IrisConfig) -> set[str]:
    """The hosts of all manual groups, by their names in the configuration."""
    groups = config.scale_groups.values()
    return {
        host for group in groups if group.provider.HasField("manual") for host in group.provider.manual.hosts
    }


def place(config: IrisConfig) -> str:
    """Where a controller that is elsewhere runs, for messages."""
    controller = config.proto.controller
    if is_at_google(config):
        return f"on a machine of its own in zone {controller.gcp.zone} of {controller.gcp.project_id}"
    return f"on {controller.manual.host}"


def machines(config: IrisConfig) -> list[str]:
    """What is made for such a controller, and is billed, where it is not there yet; a line each."""
    if not is_at_google(config):
        return []
    gcp = config.proto.controller.gcp
    disk, boot = (f"{size >> 30} GiB" for size in (gcp.state_disk_size, gcp.boot_disk_size))
    return [
        f"make a disk of {disk} for state and keys, which stays after a stop without --forget",
        f"make a machine {gcp.machine_type} with a boot disk of {boot}",
    ]


def config_there(config: IrisConfig, user_config: UserConfig | None, known_by: str = "") -> IrisConfig:
    """The configuration with this machine's SSH settings resolved, and the controller's own key.

    Jump hosts are for the way from here; the controller dials hosts itself. It is
    `known_by` that host name where the configuration names none.

    Raises:
        Refused: the user's settings reach a host in a way that the controller cannot.
    """
    proto = IrisClusterConfig()
    proto.CopyFrom(config.proto)
    proto.ssh.config_file = NO_SSH_CONFIG
    proto.controller.advertise_address = proto.controller.advertise_address or known_by
    pki = proto.storage.pki_dir
    key = f"{pki}/ssh.key" if pki else KEY_THERE
    for group in proto.scale_groups.values():
        if group.provider.HasField("manual"):
            _move(group.provider.manual, user_config, key)
    return IrisConfig(proto)


def comparable(config: IrisConfig) -> IrisConfig:
    """The configuration without what only says where the controller and its key are."""
    proto = IrisClusterConfig()
    proto.CopyFrom(config.proto)
    if proto.controller.HasField("gcp"):
        # Its machine's own name, where the operator gave none.
        proto.controller.advertise_address = ""
    for group in proto.scale_groups.values():
        if group.provider.HasField("manual"):
            group.provider.manual.ssh_key_file = ""
    return IrisConfig(proto)


def _move(manual: ManualProvider, user_config: UserConfig | None, key: str) -> None:
    found = [resolve(target, user_config) for target in targets_of(manual).values()]
    del manual.hosts[:]
    manual.hosts.extend(target.host for target in found)
    manual.per_host.clear()
    manual.ssh_user, manual.ssh_port = DEFAULT_USER, DEFAULT_PORT
    manual.ssh_key_file, manual.ssh_jump_host = key, ""
    for target in found:
        if (target.user, target.port) != (DEFAULT_USER, DEFAULT_PORT):
            own = manual.per_host[target.host]
            own.ssh_user, own.ssh_port = target.user, target.port
