"""The TPU platform's bench: a test cloud that does everything at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from iris_platform import ClusterIdentity, Platform
from iris_platform.base import SliceSpec, Unreachable
from iris_proto.v1.config_pb2 import ScaleGroupConfig
from tests.platform.contract.bench import IDENTITY
from tests.platform.gcp import clouds


class CloudBench:
    """A cluster whose slices are nodes, or queued resources."""

    zones = clouds.ZONES

    def __init__(self, world: clouds.CloudWorld) -> None:
        self._world = world
        self._cloud = world.control

    def platform(
        self, zones: tuple[str, ...] | None = None, identity: ClusterIdentity = IDENTITY
    ) -> Platform:
        return self._world.platform(zones or self.zones[:1], identity)

    def group(self, name: str = "here", hosts: int = 1) -> ScaleGroupConfig:
        return self._world.group(name, hosts)

    def spec(self, name: str, hosts: int = 1, identity: ClusterIdentity = IDENTITY) -> SliceSpec:
        return self._world.spec(name, hosts, identity)

    def interrupt_creation(self, name: str, hosts: int) -> None:
        self._cloud.fault("error", "Create*", after=True)
        with suppress(Unreachable):
            self.platform().create_slice(self.spec(name, hosts))

    def interrupt_deletion(self, name: str) -> None:
        self._cloud.set_timings(delete=3_600_000)
        self.platform().delete_slice(name)

    def settle(self) -> None:
        self._cloud.advance(3_600_000)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        fault = self._cloud.fault("error", count=None)
        yield
        self._cloud.remove_fault(fault)

    def kill_host(self, name: str, index: int) -> None:
        (vm,) = (vm for vm in self._cloud.vms(name) if vm.index == index)
        self._cloud.cut_vm(vm.key)
        # All that Google shows is of the node.
        self._cloud.set_node(self.zones[0], name, "TERMINATED", description=f"host {index} has no power")

    def say(self, name: str, index: int, text: str) -> None:
        # Of a host that started well nothing is left with Google; these have all failed.
        for vm in self._cloud.vms(name):
            said = "no bundle\n" + (text if vm.index == index else "")
            self._cloud.leave(vm.key, "iris/bootstrap-log", said)

    def what_runs(self) -> list[str]:
        return sorted([*self._cloud.nodes(), *self._cloud.queued()])
