"""A controller on a machine that is reached over SSH; see `ControllerVm`.

What is decided here is the order of things: nothing is let into the fleet's
hosts before the keys are where they stay, and nothing runs before it could do
its work.
"""

from __future__ import annotations

import atexit
import json
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from iris_platform.base import ContainerSpec, NotOurs
from iris_platform.bootstrap import NO_CONTAINER, BundleSource, document
from iris_platform.bundle import PROGRAMS, Shelf
from iris_platform.controller_vm.base import ControllerState, ControllerStatus, Operator, nothing
from iris_platform.controller_vm.forget import forget_places
from iris_platform.controller_vm.host import ControllerHost, Keys, Program, Seen
from iris_platform.controller_vm.pools import Pools
from iris_platform.controller_vm.site import BACKUP_FILE, OPERATOR_DIR, Site, dial, write_site
from iris_platform.credentials import CredentialsError
from iris_platform.files import write_atomic
from iris_platform.joining import Kind
from iris_platform.paths import ClusterPaths
from iris_platform.pki.keyring import Keyring

# Not to hide a cycle: paramiko must not be loaded with this package.
if TYPE_CHECKING:
    from iris_platform.ssh import SshConnection

BUNDLES = "bundles"
CONTROLLER = document.PROGRAMS["controller"]

Dial = Callable[[], "SshConnection"]


class RemoteController:
    """A controller on a host of the operator's own."""

    def __init__(
        self,
        cluster: str,
        site: Site,
        paths: ClusterPaths,
        operator: Operator,
        pools: Pools | None = None,
        connect: Dial | None = None,
        container: ContainerSpec = NO_CONTAINER,
        kinds: Collection[Kind] = (),
    ) -> None:
        """`pools` are the hosts that it is to reach; `connect` replaces the way to its own.

        It and its agents run in `container`, or without an image from bundles, those
        of machines that are yet to be made from bundles of all these `kinds`.
        """
        self._cluster = cluster
        self._site = site
        self._paths = paths
        self._operator = operator
        self._pools = pools
        self._connect = connect or (lambda: dial(site, paths.pki_dir))
        self._container = container
        self._kinds = frozenset(kinds)
        self._ring = Keyring(paths.pki_dir / OPERATOR_DIR)
        self._connection: SshConnection | None = None
        atexit.register(self.close)

    def known_by(self) -> str:
        """See `ControllerVm.known_by`: the configuration names its host."""
        return ""

    def start(self, config: str, before: Callable[[], None] = nothing) -> ControllerStatus:
        """See `ControllerVm.start`. Also lets it into the hosts, and us into the cluster."""
        host = self._reach()
        seen = host.look()
        if seen.is_up:
            self.let_in(host, seen)
            return self._serving(seen.pid)
        before()
        return self._start(host, seen, config)

    def discover(self) -> ControllerStatus | None:
        """See `ControllerVm.discover`."""
        status = self.status()
        return None if status.state is ControllerState.ABSENT else status

    def status(self) -> ControllerStatus:
        """See `ControllerVm.status`; as its host's service manager sees it."""
        host = self._reach()
        seen = host.look()
        if seen.phase == "ready":
            return self._serving(seen.pid)
        if seen.is_up or seen.phase in ("backing_off", "gave_up"):
            words = f"{seen.phase.replace('_', ' ')} {seen.detail}".strip()
            return ControllerStatus(ControllerState.UNRESPONSIVE, seen.pid, self._site.place, words)
        return ControllerStatus(ControllerState.ABSENT)

    def restart(self, config: str) -> ControllerStatus:
        """See `ControllerVm.restart`."""
        host = self._reach()
        seen = host.look()
        with self._operator.step("stop the controller"):
            host.stop()
        return self._start(host, seen, config)

    def stop(self) -> bool:
        """See `ControllerVm.stop`; what is left of it on its host is its state and its keys."""
        host = self._reach()
        there = host.look().phase != "absent"
        with self._operator.step("stop the controller"):
            host.remove(forget=False)
        return there

    def kept(self) -> dict[str, str]:
        """Where its state and its keys are on its host; empty where there are none."""
        host = self._reach()
        found = host.places()
        return {name: f"{self._site.host}:{path}" if path else "" for name, path in found.items()}

    def forget(self) -> None:
        """See `ControllerVm.forget`."""
        host = self._reach()
        host.look()
        with self._operator.step("remove the controller's state and keys"):
            host.remove(forget=True)
        forget_places(self._paths)

    def log_in(self) -> None:
        """See `ElsewhereVm.log_in`."""
        host = self._reach()
        seen = host.look()
        if not (seen.bundle or seen.image):
            raise NotOurs(f"{host.address}: no controller of cluster {self._cluster} is installed there")
        self.let_in(host, seen)

    def let_in(self, host: ControllerHost, seen: Seen) -> None:
        """Keys for us from a controller that is installed, and its way into the hosts."""
        with self._operator.step("get the operator's certificate"):
            keys, state = self._install(host, self._there(seen))
        self._open_pools(host, keys, state)

    def _start(self, host: ControllerHost, seen: Seen, config: str) -> ControllerStatus:
        step = self._operator.step
        # From here on there is something to be stopped.
        write_site(self._paths, self._site)
        with step("bring the program there"):
            program = host.bring(self._container, Shelf(self._paths.state_dir / BUNDLES, PROGRAMS))
        with step("install it, and make the cluster's keys"):
            keys, state = self._install(host, program, self._backup(seen))
        self._open_pools(host, keys, state)
        with step("start the controller"):
            # Whose it is was not known before.
            return self._serving(host.of(self._site).start(program, json.loads(config)))

    def _backup(self, seen: Seen) -> bytes:
        """The cluster's keys, for a host that never had them: its own is lost, or a new one takes its place."""
        path = self._paths.pki_dir / BACKUP_FILE
        return path.read_bytes() if path.exists() and not seen.labels else b""

    def _there(self, seen: Seen) -> Program:
        """What a controller that is installed runs from, whatever the configuration says by now."""
        if seen.image:
            container = replace(self._container, image=seen.image, entrypoint=[CONTROLLER])
            return Program(container=container)
        return Program(BundleSource(seen.bundle, path="/nonexistent"))

    def _install(self, host: ControllerHost, program: Program, backup: bytes = b"") -> tuple[Keys, str]:
        """The keys, kept here as well."""
        try:
            self._ring.make_key()
            keys, state = host.install(program, self._operator.name, self._ring.make_csr() + backup)
            self._keep(keys)
        except CredentialsError as error:
            raise NotOurs(f"{host.address}: {error}") from error
        return keys, state

    def _keep(self, keys: Keys) -> None:
        """What must be here for every later command.

        Raises:
            CredentialsError: it is another cluster than the one that is known here.
        """
        self._ring.prepare(keys.ca.encode("ascii"))
        self._ring.store(keys.certificate.encode("ascii"), time.time())
        write_atomic(self._paths.pki_dir / BACKUP_FILE, keys.backup.encode("ascii"))
        self._site = replace(self._site, cluster_id=keys.cluster_id)
        write_site(self._paths, self._site)

    def _open_pools(self, host: ControllerHost, keys: Keys, state: str) -> None:
        """The hosts let the controller in, and it has what to put on them."""
        kinds = set(self._kinds)
        if self._pools is not None and self._pools.targets:
            kinds |= self._invite(self._pools, keys)
        if self._container.image or not kinds:
            return
        with self._operator.step("bring it what runs on hosts"):
            host.stock(f"{state}/{BUNDLES}", kinds, Shelf(self._paths.state_dir / BUNDLES))

    def _invite(self, pools: Pools, keys: Keys) -> set[Kind]:
        """The hosts let the controller in; the kinds of those that did."""
        hosts = "1 host" if len(pools.targets) == 1 else f"{len(pools.targets)} hosts"
        with self._operator.step(f"let the controller into {hosts}"):
            kinds, troubles = pools.invite(keys.ssh_key, keys.cluster_id)
        for trouble in troubles:
            self._operator.note(
                f"{trouble}; `iris doctor` says what to fix, then `iris cluster start` once more lets it in"
            )
        return kinds

    def close(self) -> None:
        """Hang up; calls after this connect again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _reach(self) -> ControllerHost:
        """The controller's host, over one connection as long as that is of use."""
        connection = self._connection
        if connection is None or not connection.is_alive:
            with self._operator.step(f"connect to {self._site.host}"):
                connection = self._connection = self._connect()
        return ControllerHost(connection, self._cluster, self._site)

    def _serving(self, pid: int) -> ControllerStatus:
        return ControllerStatus(ControllerState.SERVING, pid, self._site.place)
