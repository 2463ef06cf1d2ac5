"""All manual hosts of a cluster, before its controller knows them: what they are, and whom they let in.

By their operator, from this machine, with this machine's keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from iris_platform.base import PlatformError, VmBootstrapSpec
from iris_platform.bootstrap import NO_BUNDLE, NO_CONTAINER, Startup
from iris_platform.bootstrap.run import run_script
from iris_platform.joining import Kind
from iris_platform.manual.invite import invite, uninvite
from iris_platform.ssh import Connect, SshConnection, SshTarget, for_each

LOOK_S = 30.0
# For connecting and for everything that is then done on a host.
EACH_S = 120.0


@dataclass(frozen=True)
class HostFacts:
    """What a host says of itself; memory in bytes."""

    kind: Kind
    cpus: int
    memory_bytes: int


Result = TypeVar("Result")


@dataclass(frozen=True)
class Pools:
    """Every manual host of a cluster, by its name in the configuration."""

    targets: Mapping[str, SshTarget]
    connect: Connect
    most: int

    def invite(self, ssh_key: str, cluster_id: str) -> tuple[set[Kind], list[str]]:
        """Let the holder of a key in; the kinds of hosts that there are, and which hosts did not answer."""

        def work(connection: SshConnection) -> Kind:
            invite(connection, ssh_key, cluster_id)
            return _facts(connection).kind

        found = self._each(self.targets, work)
        kinds = {kind for kind in found.values() if not isinstance(kind, PlatformError)}
        return kinds, _troubles(found)

    def uninvite(self, cluster_id: str) -> list[str]:
        """Shut a cluster's controller out; which hosts may still let it in, and why."""
        return _troubles(self._each(self.targets, lambda connection: uninvite(connection, cluster_id)))

    def look(self, hosts: Collection[str]) -> Mapping[str, HostFacts | PlatformError]:
        """What some of the hosts say of themselves; changes nothing there."""
        return self._each(hosts, _facts)

    def _each(
        self, hosts: Collection[str], work: Callable[[SshConnection], Result]
    ) -> Mapping[str, Result | PlatformError]:
        def on(host: str) -> Result:
            connection = self.connect(self.targets[host])
            try:
                return work(connection)
            finally:
                connection.close()

        rounds = -(-len(hosts) // self.most)
        return for_each(hosts, on, self.most, rounds * EACH_S)


def _facts(connection: SshConnection) -> HostFacts:
    startup = Startup(VmBootstrapSpec("worker", NO_CONTAINER, {}), NO_BUNDLE)
    found = run_script(connection, startup, ["probe"], timeout_s=LOOK_S).check(connection.address).facts
    kind = ".".join(str(found["python"]).split(".")[:2]), str(found["machine"])
    return HostFacts(kind, int(found["cpus"]), int(found["memory_bytes"]))


def _troubles(found: Mapping[str, object]) -> list[str]:
    return [f"host {host}: {error}" for host, error in found.items() if isinstance(error, PlatformError)]
