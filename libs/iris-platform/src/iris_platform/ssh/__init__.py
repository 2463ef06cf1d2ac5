"""Other machines over SSH: targets, connections, commands, files, forwards.

Importing this package imports no paramiko, which is the extra
`iris-platform[ssh]`; `connect` does. Knows nothing of slices, bundles or agents.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from iris_platform.ssh.connection import Chunk, CommandResult, CommandStream, SshConnection, SshSettings
from iris_platform.ssh.errors import HostKeyChanged, RemoteFileMissing, SshUnavailable
from iris_platform.ssh.fan_out import for_each
from iris_platform.ssh.known_hosts import KnownHosts
from iris_platform.ssh.target import SshTarget, UserConfig, resolve, targets_in, targets_of

# Not to hide a cycle: neither paramiko nor protobuf must be loaded with this package.
if TYPE_CHECKING:
    from iris_platform.ssh.jumps import JumpHosts
    from iris_proto.v1.config_pb2 import SshConfig

__all__ = [
    "Chunk",
    "CommandResult",
    "CommandStream",
    "Connect",
    "HostKeyChanged",
    "KnownHosts",
    "RemoteFileMissing",
    "SshConnection",
    "SshSettings",
    "SshTarget",
    "SshUnavailable",
    "UserConfig",
    "connect",
    "dialler",
    "for_each",
    "jump_hosts",
    "load_user_config",
    "resolve",
    "settings_of",
    "targets_in",
    "targets_of",
]

# What `connect` is to its callers, who take it as an argument where tests bring
# connections in memory.
Connect = Callable[[SshTarget], SshConnection]

_MISSING = "SSH needs paramiko, which is not installed here: pip install 'iris-platform[ssh]'"


def connect(
    target: SshTarget, settings: SshSettings, known_hosts: KnownHosts, jumps: JumpHosts | None = None
) -> SshConnection:
    """Dial `target` within `settings.connect_timeout_s`, jump hosts and all.

    With `jumps`, connections to jump hosts are shared and stay open until
    `jumps.close()`; without, the connection has its own and closes them.

    Raises:
        HostKeyChanged: the host, or a jump host, shows another key than the pinned one.
        Refused: a key file cannot be used, or the two ends have no algorithm in common.
        PermissionMissing: the host takes none of the keys.
        Unreachable: no answer, or none in time.
        SshUnavailable: paramiko is not installed.
    """
    try:
        from iris_platform.ssh import dial
    except ModuleNotFoundError as error:
        raise SshUnavailable(_MISSING) from error
    return dial.connect(target, settings, known_hosts, jumps)


def jump_hosts() -> JumpHosts:
    """An empty set of connections to jump hosts, to be shared and then closed.

    Raises:
        SshUnavailable: paramiko is not installed.
    """
    try:
        from iris_platform.ssh.jumps import JumpHosts
    except ModuleNotFoundError as error:
        raise SshUnavailable(_MISSING) from error
    return JumpHosts()


def dialler(settings: SshSettings, known_hosts: KnownHosts) -> Connect:
    """Connects as `connect` does; all that it makes go through the same connections to jump hosts."""
    shared = cache(jump_hosts)
    return lambda target: connect(target, settings, known_hosts, shared())


def settings_of(ssh: SshConfig) -> SshSettings:
    """How a cluster's configuration has hosts reached.

    Raises:
        Refused, SshUnavailable: as `load_user_config`.
    """
    return SshSettings(
        connect_timeout_s=ssh.connect_timeout.ToNanoseconds() / 1e9,
        keepalive_s=ssh.keepalive_interval.ToNanoseconds() / 1e9,
        user_config=load_user_config(ssh.config_file),
    )


def load_user_config(path: str) -> UserConfig:
    """What the user's SSH configuration says; nothing where there is no such file.

    Raises:
        Refused: it cannot be read or understood.
        SshUnavailable: paramiko is not installed.
    """
    try:
        from iris_platform.ssh.user_config import read_user_config
    except ModuleNotFoundError as error:
        raise SshUnavailable(_MISSING) from error
    return read_user_config(path)
