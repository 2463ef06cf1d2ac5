"""A cluster's places in a temporary directory, and what is left of it in /proc."""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from iris_platform import ClusterPaths, PlatformSettings, processes
from iris_platform.base import ClusterIdentity, HostResources, SliceSpec
from iris_platform.local import LocalPlatform
from iris_platform.local.agents import START_MARK
from iris_platform.names import slice_labels, slice_name
from iris_proto.v1.config_pb2 import HostResources as HostResourcesProto
from iris_proto.v1.config_pb2 import LocalProvider, ProviderConfig, ScaleGroupConfig

STAND_IN = Path(__file__).with_name("stand_in_agent.py")
IDENTITY = ClusterIdentity("demo", "abcdefghij")
LOCAL = ProviderConfig(local=LocalProvider())


def agent(fault: str = "") -> tuple[str, ...]:
    """The stand-in's command, with one of its faults."""
    return (sys.executable, "-I", "-S", str(STAND_IN), *([fault] if fault else []))


def group(name: str = "here", hosts: int = 1, zone: str = "local") -> ScaleGroupConfig:
    """An effective local scale group."""
    return ScaleGroupConfig(
        name=name,
        accelerator_type="cpu",
        zones=[zone],
        slice_size=hosts,
        host_resources=HostResourcesProto(cpu=1.5, memory=2**30),
        provider=LOCAL,
    )


def name(number: int = 1, *, group: str = "here", cluster_id: str = IDENTITY.cluster_id) -> str:
    """A slice's name."""
    return slice_name(cluster_id, group, 1_700_000_000_000, number)


def spec(slice_: str | None = None, hosts: int = 1, *, identity: ClusterIdentity = IDENTITY) -> SliceSpec:
    """A slice of `hosts` hosts, by default `name()`."""
    slice_ = slice_ or name(cluster_id=identity.cluster_id)
    return SliceSpec(
        name=slice_,
        group="here",
        hosts=hosts,
        resources=HostResources(1500, 2**30),
        accelerator_type="cpu",
        labels=slice_labels(identity.cluster, identity.cluster_id, "here", slice_),
    )


@dataclass
class LocalWorld:
    """A cluster's places; `close` ends whatever carries their mark."""

    home: Path
    now_ms: int = 1_700_000_000_000
    paths: ClusterPaths = field(init=False)

    def __post_init__(self) -> None:
        self.paths = ClusterPaths(self.home / "state", self.home / "pki", self.home / "hosts")

    def platform(
        self,
        fault: str = "",
        *,
        zones: tuple[str, ...] = ("local",),
        identity: ClusterIdentity = IDENTITY,
        command: tuple[str, ...] | None = None,
        start_s: float = 20.0,
        stop_s: float = 5.0,
    ) -> LocalPlatform:
        """A platform; every one is as new as a restarted controller's."""
        return LocalPlatform(
            PlatformSettings(
                provider=LOCAL,
                zones=zones,
                identity=identity,
                paths=self.paths,
                agent_command=command or agent(fault),
                agent_start_s=start_s,
                agent_stop_s=stop_s,
                now_ms=lambda: self.now_ms,
            )
        )

    def host_dir(self, slice_: str | None = None, index: int = 0) -> Path:
        return self.paths.local_root / (slice_ or name()) / str(index)

    def marked(self) -> list[int]:
        """Every live process of any host of this cluster, those that start one included."""
        root = self.paths.local_root.resolve()
        found = {**processes.marks(START_MARK), **processes.marks(processes.HOST_MARK)}
        return sorted(pid for pid, value in found.items() if Path(value).is_relative_to(root))

    def left_on_disk(self) -> list[str]:
        """What is under the root, in sorted order."""
        root = self.paths.local_root
        return sorted(path.name for path in root.iterdir()) if root.exists() else []

    def kill(self, *pids: int) -> None:
        """SIGKILL, and wait until they are gone."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert processes.wait_until(lambda: not any(processes.start_time(pid) for pid in pids), timeout_s=10)

    def close(self) -> None:
        self.kill(*self.marked())


@contextlib.contextmanager
def local_world(home: Path) -> Iterator[LocalWorld]:
    """A world whose processes do not outlive it."""
    world = LocalWorld(home)
    try:
        yield world
    finally:
        world.close()


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a process of its own; its exit status, negative for a signal."""
    with warnings.catch_warnings():
        # pytest's fault handler has a thread; it holds no lock of ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            # Not sys.exit: the rest belongs to the parent.
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


DIED = 99
_STEPS = {
    *("os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "shutil.rmtree"),
    *("fcntl.flock", "subprocess.Popen", "os.kill"),
}


def is_step(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event is about to change a file or a process."""
    if event == "open":
        path, _, flags = arguments
        writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        return bool(writing) and path != os.devnull
    return event in _STEPS


def dying_at(step: Callable[[str, tuple[object, ...]], bool], nth: int, work: Callable[[], object]) -> None:
    """Do `work` but end this process, as a power cut would, before the nth step.

    For use in a child: the hook stays.
    """
    left = nth

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if step(event, arguments):
            left -= 1
            if left == 0:
                os._exit(DIED)

    sys.addaudithook(hook)
    work()
