"""The hosts that a controller elsewhere is to reach: it is let in at its start, and shut out at its end.

By their operator, from this machine, with this machine's keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from iris_platform.base import PlatformError, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER, BundleSource, Startup
from iris_platform.manual.invite import invite, uninvite
from iris_platform.manual.script import run_script
from iris_platform.ssh import Connect, SshConnection, SshTarget, for_each

LOOK_S = 30.0
# For connecting and for everything that is then done on a host.
EACH_S = 120.0

# A Python's version and a machine type, such as ("3.11", "x86_64").
Kind = tuple[str, str]
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
            return _kind(connection)

        found = self._each(work)
        kinds = {kind for kind in found.values() if not isinstance(kind, PlatformError)}
        return kinds, _troubles(found)

    def uninvite(self, cluster_id: str) -> list[str]:
        """Shut a cluster's controller out; which hosts may still let it in, and why."""
        return _troubles(self._each(lambda connection: uninvite(connection, cluster_id)))

    def _each(self, work: Callable[[SshConnection], Result]) -> Mapping[str, Result | PlatformError]:
        def on(host: str) -> Result:
            connection = self.connect(self.targets[host])
            try:
                return work(connection)
            finally:
                connection.close()

        rounds = -(-len(self.targets) // self.most)
        return for_each(self.targets, on, self.most, rounds * EACH_S)


def _kind(connection: SshConnection) -> Kind:
    bundle = BundleSource("0" * 64, path="/nonexistent")
    startup = Startup(VmBootstrapSpec("worker", NO_CONTAINER, {}), bundle)
    done = run_script(connection, startup, ["probe"], timeout_s=LOOK_S).check(connection.address)
    return ".".join(str(done.facts["python"]).split(".")[:2]), str(done.facts["machine"])


def _troubles(found: Mapping[str, object]) -> list[str]:
    return [f"host {host}: {error}" for host, error in found.items() if isinstance(error, PlatformError)]
