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
from iris_platform.names import controller_name
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
class CloudMachine:
    """A machine that is made for the controller, on Compute Engine at `endpoint`.

    Name and id are empty until they are known; no other machine ever has that id.
    `is_private`: it is reached through IAP, which Google's own command line speaks.
    """

    project: str
    zone: str
    endpoint: str
    name: str = ""
    machine_id: str = ""
    is_private: bool = False

    @property
    def place(self) -> str:
        """Where it was asked for, for messages."""
        return f"zone {self.zone} of {self.project}"

    @property
    def proxy(self) -> tuple[str, ...]:
        """The program that connects to its SSH server where its address is private."""
        if not self.is_private:
            return ()
        where = ("--project", self.project, "--zone", self.zone)
        return ("gcloud", "compute", "start-iap-tunnel", self.name, "22", "--listen-on-stdin", *where)


@dataclass(frozen=True)
class Site:
    """How operators reach a controller's host, and what is where on it.

    Empty and 0 as in `SshTarget`; `port` is the controller's for agents and
    operators. `state_dir` and `pki_dir` are empty where they are in the usual
    place, and `cluster_id` until it is known. `machine` is one that was made for it.
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
    machine: CloudMachine | None = None

    @property
    def seat(self) -> str:
        """Where it is, for messages: what does not change as long as it is the same controller."""
        return self.machine.place if self.machine is not None else self.host

    @property
    def place(self) -> str:
        """The controller's address there, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def directories(self, root: str) -> dict[str, str]:
        """Where state and keys are on a host where everything of Iris is below `root`; absolute paths."""
        own = f"{root}/controller/state"
        return {"state_dir": self.state_dir or f"{own}/state", "pki_dir": self.pki_dir or f"{own}/pki"}


def site_of(config: IrisClusterConfig) -> Site:
    """The site that a configuration's `controller.manual` or `controller.gcp` describes."""
    from iris_platform.ssh.target import DEFAULT_PORT, DEFAULT_USER

    manual, gcp, ssh, storage = config.controller.manual, config.controller.gcp, config.ssh, config.storage
    site = Site(
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
    if not config.controller.HasField("gcp"):
        return site
    machine = CloudMachine(gcp.project_id, gcp.zone, endpoint=config.endpoints.compute)
    return replace(site, port=gcp.port, machine=machine)


def site_of_id(config: IrisClusterConfig, cluster_id: str) -> Site:
    """The site of a configuration whose cluster has this id, for one whose keys are not here."""
    site = site_of(config)
    if site.machine is None:
        return replace(site, cluster_id=cluster_id)
    return replace(
        site, cluster_id=cluster_id, machine=replace(site.machine, name=controller_name(cluster_id))
    )


def has_keys(paths: ClusterPaths) -> bool:
    """Whether the keys of a cluster with its controller elsewhere are here."""
    return (paths.pki_dir / BACKUP_FILE).exists()


def known_site(config: IrisClusterConfig, paths: ClusterPaths) -> Site:
    """The same with what is known of the cluster from its last start.

    Raises:
        Refused: that was on another host, and it was not stopped there; or it cannot be read.
    """
    site, known = site_of(config), read_site(paths)
    if known is None:
        return site
    if known.seat != site.seat:
        raise Refused(
            f"cluster {config.name} was started with its controller on {known.seat}, and not stopped there;"
            f" stop it first, or remove {paths.state_dir} if that host no longer exists"
        )
    if site.machine is None:
        return replace(site, cluster_id=known.cluster_id)
    machine = known.machine and replace(known.machine, endpoint=site.machine.endpoint)
    return replace(known, port=site.port, state_dir=site.state_dir, pki_dir=site.pki_dir, machine=machine)


def read_site(paths: ClusterPaths) -> Site | None:
    """Where the controller is that was last started from here; None where it is no other machine.

    Raises:
        Refused: the file cannot be used.
    """
    path = paths.state_dir / SITE_FILE
    try:
        value = json.loads(path.read_bytes())
        machine = value.pop("machine", None)
        return Site(**value, machine=CloudMachine(**machine) if machine else None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path}: cannot read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
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
    if (machine := site.machine) is not None:
        # Addresses of such machines change hands, and its administrator is not called root.
        known_as = f"{machine.name}.{machine.machine_id}"
        target = replace(target, known_as=known_as, proxy=machine.proxy, as_root=True)
    settings = SshSettings(
        site.connect_timeout_s, site.keepalive_s, user_config=load_user_config(site.ssh_config_file)
    )
    return connect(target, settings, KnownHosts(pki_dir / KNOWN_HOSTS_FILE, pins=pins))
