"""Which host, as whom, with which keys and through which others.

Knows what the cluster's and the user's configuration say; dials nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from iris_platform.base import Refused

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_proto.v1.config_pb2 import IrisClusterConfig, ManualProvider

# As in config.proto. OpenSSH's own default for the user is the local one.
DEFAULT_USER = "root"
DEFAULT_PORT = 22
# Loops of jump hosts end here.
MAX_JUMPS = 8


class UserConfig(Protocol):
    """The user's `~/.ssh/config`: what it says of a host, by keyword in lower case."""

    def lookup(self, hostname: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class SshTarget:
    """A host to reach.

    What is left at 0, "" or None comes from the user's configuration, then from
    the defaults (port 22, user root). `jump_host` is `[USER@]HOST[:PORT]`,
    several with commas, the first one dialled first; `none` means none whatever
    the user's configuration says. The rest is for `resolve` to fill in:
    `identity_files` the user's keys to try where there is no `key_file`,
    `identities_only` whether the agent may offer others, `agent` its socket
    (None: `SSH_AUTH_SOCK`, "": no agent).

    Of machines whose addresses change hands: `known_as` is the name under which its
    host key is pinned (empty: its host and port), and `proxy` an argv whose standard
    input and output are the connection. With `as_root` commands and files are root's,
    through `sudo`.
    """

    host: str
    port: int = 0
    user: str = ""
    key_file: str | None = None
    jump_host: str | None = None
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    agent: str | None = None
    known_as: str = ""
    proxy: tuple[str, ...] = ()
    as_root: bool = False

    @property
    def pin(self) -> tuple[str, int]:
        """Name and port under which its host key is pinned."""
        return (self.known_as, DEFAULT_PORT) if self.known_as else (self.host, self.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user or DEFAULT_USER}@{host}:{self.port or DEFAULT_PORT}"


def resolve(target: SshTarget, user_config: UserConfig | None) -> SshTarget:
    """Fill in what the user's configuration says; what `target` says goes first.

    Raises:
        Refused: the user reaches this host through a ProxyCommand.
    """
    found = user_config.lookup(target.host) if user_config is not None else {}
    jump = target.jump_host or found.get("proxyjump")
    if not jump and found.get("proxycommand") not in (None, "none"):
        raise Refused(
            f"{target.host}: the SSH configuration reaches it through a ProxyCommand, which Iris does not"
            " run: use ProxyJump there, or ssh_jump_host in the cluster's configuration"
        )
    return replace(
        target,
        host=found.get("hostname") or target.host,
        port=target.port or _port(target.host, found),
        user=target.user or found.get("user") or DEFAULT_USER,
        key_file=os.path.expanduser(target.key_file) if target.key_file else None,
        jump_host=None if not jump or jump == "none" else jump,
        identity_files=target.identity_files
        or tuple(os.path.expanduser(path) for path in found.get("identityfile", ())),
        identities_only=target.identities_only or found.get("identitiesonly", "no") == "yes",
        agent=_agent(found.get("identityagent")) if target.agent is None else target.agent,
    )


def route(target: SshTarget, user_config: UserConfig | None, jumps_left: int = MAX_JUMPS) -> list[SshTarget]:
    """The hosts to dial one through the other, all resolved, `target` last.

    A jump host for which the user's configuration names no key gets the one
    of `target`, after what the agent offers.

    Raises:
        Refused: a jump host cannot be read, or there are too many, as when one
            is reached through itself.
    """
    last = resolve(target, user_config)
    if last.jump_host is None:
        return [last]
    first, *others = jump_chain(last.jump_host)
    if len(others) >= jumps_left:
        raise Refused(
            f"{target.host}: more than {MAX_JUMPS} jump hosts, or one that is reached through itself"
        )
    hops = route(first, user_config, jumps_left - 1 - len(others))
    hops += [resolve(replace(hop, jump_host="none"), user_config) for hop in others]
    key = () if last.key_file is None else (last.key_file,)
    return [replace(hop, identity_files=hop.identity_files or key) for hop in hops] + [last]


def jump_chain(jump_host: str) -> list[SshTarget]:
    """The hosts of `[USER@]HOST[:PORT][,…]`, the first one dialled first.

    Raises:
        Refused: it cannot be read.
    """
    return [_hop(part.strip()) for part in jump_host.split(",")]


def targets_of(manual: ManualProvider) -> dict[str, SshTarget]:
    """How each host of a group is reached, by its name in the configuration."""
    return {host: _target(host, manual) for host in manual.hosts}


def targets_in(config: IrisClusterConfig) -> dict[str, SshTarget]:
    """How each host of all manual groups is reached, by its name in the configuration."""
    found: dict[str, SshTarget] = {}
    for group in config.scale_groups.values():
        if group.provider.HasField("manual"):
            found.update(targets_of(group.provider.manual))
    return found


def _target(host: str, manual: ManualProvider) -> SshTarget:
    # Not by index: that would add the host to the message.
    own = manual.per_host.get(host)
    layers = [layer for layer in (own, manual) if layer is not None]
    port = _first(layer.ssh_port for layer in layers) or 0
    user = _first(layer.ssh_user for layer in layers) or ""
    return SshTarget(
        host=host,
        # An effective configuration has every default; they do not overrule the user's own settings.
        port=0 if own is None and port == DEFAULT_PORT else port,
        user="" if own is None and user == DEFAULT_USER else user,
        key_file=_first(layer.ssh_key_file for layer in layers),
        jump_host=_first(layer.ssh_jump_host for layer in layers),
    )


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value), None)


def _port(host: str, found: Mapping[str, Any]) -> int:
    text = found.get("port", str(DEFAULT_PORT))
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise Refused(f"{host}: the SSH configuration says Port {text}: expected 1 to 65535")
    return port


def _agent(value: str | None) -> str | None:
    if value is None or value == "SSH_AUTH_SOCK":
        return None
    return "" if value == "none" else os.path.expandvars(os.path.expanduser(value))


def _hop(text: str) -> SshTarget:
    text = text.removeprefix("ssh://")
    user, _, place = text.rpartition("@")
    host, port = place, ""
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        if not closed or rest not in ("", rest and ":" + rest[1:]):
            host = ""
        port = rest[1:]
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise Refused(f"jump host {text!r}: expected [USER@]HOST[:PORT]")
    return SshTarget(host, int(port or 0), user)
