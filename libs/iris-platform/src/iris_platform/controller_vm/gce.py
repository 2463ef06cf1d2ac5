"""A controller on a machine of Compute Engine, which is made for it; see `ControllerVm`.

The machine comes first, and then the recipe of every machine that is reached over
SSH (`RemoteController`). State and keys are on a disk of their own, which outlives
it. Names and labels carry the cluster's id, so the authority is made here, before
anything else; see docs/decisions/013-controller-on-gce.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from iris_config.defaults import PKI_DIR
from iris_platform.base import (
    ContainerSpec,
    NotOurs,
    PermissionMissing,
    PlatformError,
    StartFailed,
    Stray,
    Unreachable,
    VmState,
)
from iris_platform.bootstrap import NO_CONTAINER
from iris_platform.controller_vm.base import ControllerState, ControllerStatus, Operator, nothing
from iris_platform.controller_vm.forget import forget_places
from iris_platform.controller_vm.login import LOGIN_USER, key_file, metadata_line
from iris_platform.controller_vm.namesakes import KINDS, namesakes
from iris_platform.controller_vm.remote import RemoteController
from iris_platform.controller_vm.site import BACKUP_FILE, Site, dial, read_site, write_site
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.gcp.compute import Compute, Exists
from iris_platform.gcp.machine import (
    SSH_KEYS,
    Found,
    Machine,
    disk_body,
    found_of,
    instance_body,
    metadata_body,
    with_ssh_key,
)
from iris_platform.gcp.session import open_session
from iris_platform.identity import IdentityError
from iris_platform.joining import Kind
from iris_platform.names import (
    LABEL_CLUSTER_ID,
    controller_labels,
    controller_name,
    state_disk_name,
)
from iris_platform.paths import ClusterPaths
from iris_platform.pki.authority import identity_in, new_backup
from iris_platform.processes import wait_until

# Not to hide a cycle: paramiko must not be loaded with this package.
if TYPE_CHECKING:
    from iris_platform.controller_vm.pools import Pools
    from iris_platform.ssh import SshConnection

# From its creation to a shell: the image boots, makes the user, mounts the disk.
BOOT_S = 300.0
# Each look whether it is so far.
LOOK_S = 20.0
MOST_PAUSE_S = 2.0

Dial = Callable[[Site], "SshConnection"]


class GceController:
    """A controller on a machine that Iris makes for it and deletes with it."""

    def __init__(
        self,
        cluster: str,
        site: Site,
        paths: ClusterPaths,
        operator: Operator,
        wanted: Machine | None = None,
        pools: Pools | None = None,
        *,
        container: ContainerSpec = NO_CONTAINER,
        kinds: Collection[Kind] = (),
        connect: Dial | None = None,
    ) -> None:
        """`site.machine` says where it is or shall be, `connect` replaces the way to it.

        `wanted` is the machine as a start makes it, but for what the cluster's id says;
        `kinds` are as for `RemoteController`.
        """
        assert site.machine is not None, "it is on a machine of its own"
        self._cluster = cluster
        self._site = site
        self._machine = site.machine
        self._paths = paths
        self._operator = operator
        self._wanted = wanted
        self._pools = pools
        self._container = container
        self._kinds = kinds
        self._connect = connect or (lambda site: dial(site, paths.pki_dir))
        self._remote: RemoteController | None = None

    def known_by(self) -> str:
        """See `ControllerVm.known_by`. Makes the cluster's authority where there is none."""
        return self._wanted_machine().host_name

    def start(self, config: str, before: Callable[[], None] = nothing) -> ControllerStatus:
        """See `ControllerVm.start`. Makes the disk and the machine first, where they are not there."""
        machine = self._wanted_machine()
        found = self._look()
        if found is None or found.vm.state is not VmState.RUNNING:
            before()
            before = nothing
            # From here on there is something to be stopped.
            write_site(self._paths, self._site)
            self._have_machine(machine, found)
            found = self._look()
            if found is None:
                raise StartFailed(f"machine {machine.name} is gone again")
        self._take(found, remember=True)
        with self._operator.step(f"wait for machine {machine.name}"):
            self._await_boot()
        return self._over_ssh().start(config, before)

    def discover(self) -> ControllerStatus | None:
        """See `ControllerVm.discover`."""
        status = self.status()
        return None if status.state is ControllerState.ABSENT else status

    def status(self) -> ControllerStatus:
        """See `ControllerVm.status`. A machine is something that is there, whatever runs on it."""
        found = self._look() if self._is_known() else None
        if found is None:
            return ControllerStatus(ControllerState.ABSENT)
        there = ControllerStatus(ControllerState.UNRESPONSIVE, 0, self._site.place)
        if found.vm.state is not VmState.RUNNING:
            return replace(there, detail=f"its machine is {found.vm.state.value}")
        if not key_file(self._paths.pki_dir).exists():
            return replace(there, detail="its machine runs, and the key to it is not here")
        self._take(found)
        try:
            seen = self._over_ssh().status()
        except PlatformError as error:
            return replace(there, detail=str(error))
        return replace(there, detail="its machine has none") if seen.state is ControllerState.ABSENT else seen

    def restart(self, config: str) -> ControllerStatus:
        """See `ControllerVm.restart`; the machine stays."""
        return self._over_ssh().restart(config)

    def stop(self) -> bool:
        """See `ControllerVm.stop`; its machine goes, and its disk stays."""
        found = self._look() if self._site.cluster_id else None
        if found is None:
            return False
        if found.vm.state is VmState.RUNNING:
            self._take(found)
            try:
                self._over_ssh().stop()
            except PlatformError as error:
                # Its end is the machine's at the latest.
                self._operator.note(f"iris: {error}; its machine is deleted with it")
        with self._operator.step(f"delete machine {found.vm.vm_id}"):
            self._compute.delete(self._machine.zone, "instances", found.vm.vm_id)
            if self._look() is not None:
                raise Unreachable(f"machine {found.vm.vm_id}: is listed after its deletion")
        return True

    def kept(self) -> dict[str, str]:
        """See `ControllerVm.kept`: both are on one disk."""
        name = self._disk()
        where = f"disk {name} in {self._machine.zone}" if name else ""
        return {"state_dir": where, "pki_dir": where}

    def forget(self) -> None:
        """See `ControllerVm.forget`: deletes the disk."""
        name = self._disk()
        if name:
            with self._operator.step(f"delete disk {name}"):
                self._compute.delete(self._machine.zone, "disks", name)
                if self._disk():
                    raise Unreachable(f"disk {name}: is listed after its deletion")
        forget_places(self._paths)

    def log_in(self) -> None:
        """See `ElsewhereVm.log_in`. Lets our key in first."""
        found = self._look() if self._is_known() else None
        if found is None:
            raise NotOurs(f"{self._machine.place}: has no controller of cluster {self._cluster}")
        with self._operator.step("let this machine's key in"):
            line = metadata_line(self._paths.pki_dir, self._operator.name)
            keys = with_ssh_key(found.metadata.get(SSH_KEYS, ""), line)
            if keys != found.metadata.get(SSH_KEYS):
                body = metadata_body({**found.metadata, SSH_KEYS: keys}, found.fingerprint)
                self._compute.set_metadata(self._machine.zone, found.vm.vm_id, body)
        self._take(found, remember=True)
        with self._operator.step(f"wait for machine {found.vm.vm_id}"):
            self._await_boot()
        self._over_ssh().log_in()

    @cached_property
    def _compute(self) -> Compute:
        """Made by the first call: that there are no credentials is an error of it."""
        endpoint = self._machine.endpoint
        return Compute(endpoint, self._machine.project, open_session(endpoint))

    def namesakes(self) -> list[Stray]:
        """Machines and disks in its zone that carry the cluster's name and any id but the known one.

        Raises:
            PlatformError: they cannot be listed.
        """
        where = f"in {self._machine.place} carries cluster id"
        return [
            Stray(kind, name, f"{where} {other or 'none'}", other)
            for plural, kind in KINDS.items()
            for name, other in self._namesakes(plural)
            if other != self._site.cluster_id
        ]

    # -- whose it is -------------------------------------------------------------

    def _identify(self) -> str:
        """The cluster's id; its authority is made now where nothing of the cluster is anywhere.

        Raises:
            NotOurs: somebody else has started it, or another cluster of that name.
        """
        if self._site.cluster_id:
            return self._site.cluster_id
        path = self._paths.pki_dir / BACKUP_FILE
        try:
            if not path.exists():
                self._refuse_namesakes()
                make_private_dir(path.parent)
                write_atomic(path, new_backup(self._cluster, time.time()))
            self._know(identity_in(self._cluster, path.read_bytes()).cluster_id)
        except IdentityError as error:
            raise NotOurs(f"{path}: {error}") from error
        return self._site.cluster_id

    def _know(self, cluster_id: str) -> None:
        self._machine = replace(self._machine, name=controller_name(cluster_id))
        self._site = replace(self._site, cluster_id=cluster_id, machine=self._machine)
        self._remote = None

    def _refuse_namesakes(self) -> None:
        for kind in KINDS:
            for name, cluster_id in self._namesakes(kind):
                raise NotOurs(
                    f"{self._machine.place}: has {name} of a cluster {self._cluster} (id {cluster_id}),"
                    " whose keys are not here: `iris cluster login` gets them of one that runs; bring back"
                    f" {self._paths.pki_dir / BACKUP_FILE} of one that was stopped, or take another name"
                )

    def _is_known(self) -> bool:
        """Whether it is known which cluster it is: by what is here, or else by what its machine says.

        Raises:
            NotOurs: there are several of that name.
        """
        path = self._paths.pki_dir / BACKUP_FILE
        if self._site.cluster_id:
            return True
        if path.exists():
            self._identify()
            return True
        ids = {cluster_id for _, cluster_id in self._namesakes("instances")}
        if len(ids) > 1:
            raise NotOurs(
                f"{self._machine.place}: has several controllers of {self._cluster}: {', '.join(sorted(ids))}"
            )
        if ids:
            self._know(ids.pop())
        return bool(self._site.cluster_id)

    def _namesakes(self, kind: str) -> Iterator[tuple[str, str]]:
        return namesakes(self._compute, self._machine.zone, self._cluster, kind)

    def _wanted_machine(self) -> Machine:
        cluster_id = self._identify()
        assert self._wanted is not None, "a start has a configuration"
        labels = {**self._wanted.labels, **controller_labels(self._cluster, cluster_id)}
        name, disk = controller_name(cluster_id), state_disk_name(cluster_id)
        return replace(self._wanted, name=name, disk=disk, labels=labels)

    # -- the machine -------------------------------------------------------------

    def _look(self) -> Found | None:
        """The machine as it is now.

        Raises:
            NotOurs: one of its name has other labels.
        """
        zone, name = self._machine.zone, controller_name(self._site.cluster_id)
        body = self._compute.get(zone, "instances", name)
        if body is None:
            return None
        self._check_ours(body)
        return found_of(body, zone)

    def _disk(self) -> str:
        """The name of the disk that is there; empty where there is none."""
        if not self._site.cluster_id:
            return ""
        name = state_disk_name(self._site.cluster_id)
        body = self._compute.get(self._machine.zone, "disks", name)
        if body is None:
            return ""
        self._check_ours(body)
        return name

    def _check_ours(self, body: Mapping[str, Any]) -> None:
        labels = body.get("labels") or {}
        if labels.get(LABEL_CLUSTER_ID) != self._site.cluster_id:
            raise NotOurs(f"{body.get('name')}: has the labels of another cluster, or none")

    def _have_machine(self, machine: Machine, found: Found | None) -> None:
        if found is not None:
            with self._operator.step(f"start machine {machine.name}"):
                self._compute.start(machine.zone, machine.name)
            return
        if not self._disk():
            with self._operator.step(f"make disk {machine.disk}"):
                self._insert("disks", disk_body(machine))
        line = metadata_line(self._paths.pki_dir, self._operator.name)
        with self._operator.step(f"make machine {machine.name} in {machine.zone}"):
            self._insert("instances", instance_body(machine, line))

    def _insert(self, kind: str, body: Mapping[str, Any]) -> None:
        try:
            self._compute.insert(self._machine.zone, kind, body)
        except Exists:
            # Of an earlier try whose answer was lost: whose it is, is looked at.
            there = self._compute.get(self._machine.zone, kind, str(body["name"]))
            self._check_ours(there or {"name": body["name"]})

    def _take(self, found: Found, *, remember: bool = False) -> None:
        """What is known of the machine now; later commands are told if we have to do with it already."""
        machine = replace(self._machine, machine_id=found.machine_id, is_private=not found.external_address)
        site = replace(
            self._site,
            host=found.external_address or found.vm.address,
            user=LOGIN_USER,
            key_file=str(key_file(self._paths.pki_dir)),
            machine=machine,
        )
        if site != self._site:
            self._site, self._machine, self._remote = site, machine, None
            known = None if remember else read_site(self._paths)
            if remember or (known is not None and known.cluster_id == site.cluster_id):
                write_site(self._paths, site)

    def _await_boot(self) -> None:
        """Until there is a shell on it, and its disk is mounted.

        Raises:
            StartFailed: it did not come to that in time; says how far it was.
        """
        why = ""

        def is_ready() -> bool:
            nonlocal why
            why = self._why_not_ready()
            return not why

        if not wait_until(is_ready, BOOT_S, most_pause_s=MOST_PAUSE_S):
            raise StartFailed(f"machine {self._machine.name} is not ready after {BOOT_S:g} s: {why}")

    def _why_not_ready(self) -> str:
        try:
            connection = self._connect(self._site)
            try:
                # The last that the machine's boot mounts.
                is_mounted = connection.run(["mountpoint", "-q", PKI_DIR], timeout_s=LOOK_S).status == 0
            finally:
                connection.close()
        except (Unreachable, PermissionMissing) as error:
            return str(error)
        return (
            ""
            if is_mounted
            else "its disk is not mounted: `journalctl -u google-startup-scripts` there says why"
        )

    def _over_ssh(self) -> RemoteController:
        if self._remote is None:
            site = self._site
            parts = (self._cluster, site, self._paths, self._operator, self._pools)
            self._remote = RemoteController(*parts, lambda: self._connect(site), self._container, self._kinds)
        return self._remote
