"""Where a controller on another machine is: a file in the cluster's state directory here.

It holds no secret. What proves who we are is beside the keys: the operator's
key and certificate, the host keys that were pinned, the backup of the authority.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from iris_platform.base import Refused
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.paths import ClusterPaths

# Not to hide a cycle: protobuf and paramiko must not be loaded with this module.
if TYPE_CHECKING:
    from iris_platform.ssh import SshConnection
    from iris_proto.v1.config_pb2 import IrisClusterConfig

SITE_FILE = "site.json"
# In the keys' directory here.
OPERATOR_DIR = "operator"
BACKUP_FILE = "ca-backup.pem"


@dataclass(frozen=True)
class Site:
    """How operators reach a controller's host, and what is where on it.

    Empty and 0 as in `SshTarget`; `port` is the controller's for agents and
    operators. `state_dir` and `pki_dir` are empty where they are in the usual
    place, and `cluster_id` until it is known.
    """

    host: str
    port: int
    user: str = ""
    ssh_port: int = 0
    key_file: str = ""
    jump_host: str = ""
    ssh_config_file: str = ""
    connect_timeout_s: float = 30.0
    keepalive_s: float = 15.0
    state_dir: str = ""
    pki_dir: str = ""
    cluster_id: str = ""

    @property
    def place(self) -> str:
        """The controller's address there, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def directories(self, root: str) -> dict[str, str]:
        """Where state and keys are on a host where everything of Iris is below `root`; absolute paths."""
        own = f"{root}/controller/state"
        return {"state_dir": self.state_dir or f"{own}/state", "pki_dir": self.pki_dir or f"{own}/pki"}


def site_of(config: IrisClusterConfig) -> Site:
    """The site that a configuration's `controller.manual` describes."""
    from iris_platform.ssh.target import DEFAULT_PORT, DEFAULT_USER

    manual, ssh, storage = config.controller.manual, config.ssh, config.storage
    return Site(
        host=manual.host,
        port=manual.port,
        # An effective configuration has every default; they do not overrule the user's own settings.
        user="" if manual.ssh_user == DEFAULT_USER else manual.ssh_user,
        ssh_port=0 if manual.ssh_port == DEFAULT_PORT else manual.ssh_port,
        key_file=manual.ssh_key_file,
        jump_host=manual.ssh_jump_host,
        ssh_config_file=ssh.config_file,
        connect_timeout_s=ssh.connect_timeout.ToNanoseconds() / 1e9,
        keepalive_s=ssh.keepalive_interval.ToNanoseconds() / 1e9,
        state_dir=storage.state_dir,
        pki_dir=storage.pki_dir,
    )


def known_site(config: IrisClusterConfig, paths: ClusterPaths) -> Site:
    """The same with what is known of the cluster from its last start.

    Raises:
        Refused: that was on another host, and it was not stopped there; or it cannot be read.
    """
    site, known = site_of(config), read_site(paths)
    if known is None:
        return site
    if known.host != site.host:
        raise Refused(
            f"cluster {config.name} was started with its controller on {known.host}, and not stopped there;"
            f" stop it first, or remove {paths.state_dir} if that host no longer exists"
        )
    return replace(site, cluster_id=known.cluster_id)


def read_site(paths: ClusterPaths) -> Site | None:
    """Where the controller is that was last started from here; None where it is no other machine.

    Raises:
        Refused: the file cannot be used.
    """
    path = paths.state_dir / SITE_FILE
    try:
        return Site(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path}: cannot read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise Refused(
            f"{path}: cannot be used: {error}; remove it, and `iris cluster start` writes it again"
        ) from error


def write_site(paths: ClusterPaths, site: Site) -> None:
    """Remember it.

    Raises:
        OSError: it could not be written.
    """
    make_private_dir(paths.state_dir)
    write_atomic(paths.state_dir / SITE_FILE, json.dumps(asdict(site), indent=1).encode("utf-8") + b"\n")


def dial(site: Site, pki_dir: Path, *, pins: bool = True) -> SshConnection:
    """A connection to the controller's host, with the keys of this machine.

    Without `pins` the key of a new host is let pass and not written down.

    Raises:
        PlatformError: see `iris_platform.ssh.connect`.
    """
    from iris_platform.manual import KNOWN_HOSTS_FILE
    from iris_platform.ssh import KnownHosts, SshSettings, SshTarget, connect, load_user_config

    target = SshTarget(site.host, site.ssh_port, site.user, site.key_file or None, site.jump_host or None)
    settings = SshSettings(
        site.connect_timeout_s, site.keepalive_s, user_config=load_user_config(site.ssh_config_file)
    )
    return connect(target, settings, KnownHosts(pki_dir / KNOWN_HOSTS_FILE, pins=pins))
