"""The local platform's bench, with the stand-in agent or the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from iris_platform import ClusterIdentity, Platform, processes
from iris_platform.base import SliceSpec
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
        def removes_files(event: str, arguments: tuple[object, ...]) -> bool:
            return event == "os.rename" and ".gone-" in str(arguments[1])

        delete = partial(self.platform().delete_slice, name)
        status = world.in_child(partial(world.dying_at, removes_files, 1, delete))
        assert status == world.DIED

    def settle(self) -> None:
        """Nothing is ever under way."""

    @contextmanager
    def hidden(self) -> Iterator[None]:
        files = list(self._world.paths.local_root.glob("*/slice.json"))
        assert files
        for path in files:
            path.rename(path.with_name("aside"))
            path.mkdir()
        try:
            yield
        finally:
            for path in files:
                path.rmdir()
                path.with_name("aside").rename(path)

    def kill_host(self, name: str, index: int) -> None:
        host_dir = self._world.host_dir(name, index)
        processes.clean_host(host_dir)

    def say(self, name: str, index: int, text: str) -> None:
        with (self._world.host_dir(name, index) / "agent.log").open("a") as log:
            log.write(text)

    def what_runs(self) -> list[str]:
        return [str(pid) for pid in self._world.marked()]

    def close(self) -> None:
        self._world.close()
