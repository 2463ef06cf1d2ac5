"""The local platform's bench, with the stand-in agent or the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from iris_platform import ClusterIdentity, Platform, processes
from iris_platform.base import NotOurs, SliceSpec
from iris_proto.v1.config_pb2 import ScaleGroupConfig
from tests.platform import world
from tests.platform.contract.bench import IDENTITY


class LocalBench:
    """A local cluster in a temporary directory."""

    zones = ("local", "shed")

    def __init__(self, made: world.LocalWorld, command: tuple[str, ...] | None) -> None:
        self._world = made
        self._command = command

    def platform(
        self, zones: tuple[str, ...] | None = None, identity: ClusterIdentity = IDENTITY
    ) -> Platform:
        zones = zones or self.zones[:1]
        return self._world.platform(zones=zones, identity=identity, command=self._command)

    def group(self, name: str = "here", hosts: int = 1) -> ScaleGroupConfig:
        return world.group(name, hosts, self.zones[0])

    def spec(self, name: str, hosts: int = 1, identity: ClusterIdentity = IDENTITY) -> SliceSpec:
        return world.spec(name, hosts, identity=identity)

    def interrupt_creation(self, name: str, hosts: int) -> None:
        platform = self._world.platform("kill-starter")
        assert world.in_child(partial(platform.create_slice, self.spec(name, hosts))) < 0
        # The real agent's starter ends by itself; this one waits to be ended.
        self._world.kill(*self._world.marked())

    def interrupt_deletion(self, name: str) -> None:
        def delete() -> None:
            self._world.platform().delete_slice(name)

        # Whoever sends the first signal dies of it, as in a power cut.
        status = world.in_child(partial(world.dying_at, "signal", delete))
        assert status == world.DIED

    @contextmanager
    def hidden(self) -> Iterator[None]:
        root = self._world.paths.local_root
        aside = root.with_name("aside")
        root.rename(aside)
        root.write_text("in the way")
        try:
            yield
        finally:
            root.unlink()
            aside.rename(root)

    def kill_host(self, name: str, index: int) -> None:
        host_dir = self._world.host_dir(name, index)
        processes.clean_host(host_dir)

    def what_runs(self) -> list[str]:
        return [str(pid) for pid in self._world.marked()]

    def close(self) -> None:
        with suppress(NotOurs):
            self._world.close()
