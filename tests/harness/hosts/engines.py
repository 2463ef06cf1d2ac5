"""Real container engines inside hosts: podman, and docker with a daemon of the host's own.

    engine = start_engine(host, "docker")
    engine.load(make_image(directory))          # Debian with both programs, as IMAGE
    ...
    assert engine.containers() == [] and engine.images() == [IMAGE]

What an engine stores is in memory, outside of what `Host.listing` sees. The
host's root has to be the machine's, where the engines are installed. Needs the
Debian packages `podman`, `docker.io` and `runc`.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from iris_platform.base import Refused
from iris_platform.bundle import PROGRAMS, Shelf
from tests.harness.cluster import wait_until
from tests.harness.hosts import bases
from tests.harness.hosts.commands import call
from tests.harness.hosts.host import Host
from tests.harness.hosts.needs import BenchLacks

IMAGE = "localhost/iris:test"
BASE = "bookworm"
# In the image.
ROOT = "/opt/iris"
RUNTIME = "/usr/local/bin/lab-runtime"
LOAD_S = 60.0
# Of no use to a container, and a third of what is to be copied.
LEFT_OUT = ("./usr/share", "./usr/sbin", "./var", "*/gconv", "*/perl-base")
PACKAGES = {"podman": {"podman": "podman"}, "docker": {"docker": "docker.io", "dockerd": "docker.io"}}
STORES = {"podman": "/var/lib/containers", "docker": "/var/lib/docker"}

PODMAN_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""
PODMAN = f"""\
[engine]
runtime = "lab"
cgroup_manager = "cgroupfs"
events_logger = "none"
[engine.runtimes]
lab = ["{RUNTIME}"]
"""
# There is one network, and it is the host's.
DOCKER = {
    "bridge": "none",
    "data-root": STORES["docker"],
    "default-runtime": "lab",
    "hosts": ["unix:///run/docker.sock"],
    "ip-forward": False,
    "ip6tables": False,
    "iptables": False,
    "runtimes": {"lab": {"path": RUNTIME}},
    "storage-driver": "overlay2",
}
START_DOCKER = "setsid dockerd --config-file /etc/docker/daemon.json >/run/lab/dockerd.log 2>&1 </dev/null &"


@dataclass(frozen=True)
class Image:
    """A root file system, and where its programs are."""

    tar: Path
    path: str


class Engine:
    """An engine that works, on one host."""

    def __init__(self, host: Host, name: str) -> None:
        self.name = name
        self._host = host

    def load(self, image: Image) -> None:
        """Have an image, and run it once, so that all that an engine ever makes for itself is there."""
        change = ["--change", f"ENV PATH={image.path}"]
        done = self._host.run([self.name, "import", *change, "-", IMAGE], image.tar.read_bytes(), LOAD_S)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        # This machine's cgroups of version 2 may count no processes.
        options = ["--rm", "--network=host", "--privileged", "--pids-limit=-1"]
        tried = self._host.run([self.name, "run", *options, IMAGE, "true"])
        if tried.returncode:
            raise BenchLacks(f"{self.name} cannot run here: {tried.stderr.decode(errors='replace').strip()}")
        # Made after the first container, for the next.
        wait_until(lambda: self.containers() == [])

    def containers(self) -> list[str]:
        """The names of all containers, in whatever state."""
        return self._host.output(self.name, "ps", "--all", "--format", "{{.Names}}").split()

    def images(self) -> list[str]:
        """All that it stores."""
        return self._host.output(self.name, "images", "--format", "{{.Repository}}:{{.Tag}}").split()


def start_engine(host: Host, name: str) -> Engine:
    """Set an engine up on a host and start it."""
    needed = {**PACKAGES[name], "runc": "runc"}
    if missing := sorted({package for program, package in needed.items() if not shutil.which(program)}):
        raise BenchLacks(f"{name} needs the packages {' '.join(missing)}")
    # An engine's layers are overlays, and cannot be on one.
    host.output("mkdir", "-p", STORES[name])
    host.output("mount", "-t", "tmpfs", "tmpfs", STORES[name])
    host.write(RUNTIME, Path(__file__).with_name("runtime.py").read_bytes(), 0o755)
    if name == "podman":
        host.write("/etc/containers/storage.conf", PODMAN_STORAGE.encode())
        host.write("/etc/containers/containers.conf", PODMAN.encode())
    else:
        host.write("/etc/docker/daemon.json", json.dumps(DOCKER).encode())
        host.output("sh", "-c", START_DOCKER)
        wait_until(lambda: host.run(["docker", "info"]).returncode == 0)
    return Engine(host, name)


def make_image(directory: Path) -> Image:
    """Debian with both programs, as a tar file in `directory`."""
    tree = bases.find(BASE)
    try:
        bundle = Shelf(directory / "shelf", PROGRAMS).bundle_for(bases.BARE[BASE], platform.machine())
    except Refused as error:
        raise BenchLacks(str(error)) from error
    tar = directory / "image.tar"
    with _copy_of(tree, directory) as root:
        shutil.copy(bundle.path, root / "bundle")
        words = ["python3", "-I", "-S", "/bundle", "install", "--root", ROOT, "--program", "iris-controller"]
        call(["mknod", "-m", "666", str(root / "dev/null"), "c", "1", "3"])
        call(["chroot", str(root), *words], deadline_s=LOAD_S)
        # Not for root alone.
        call(["chmod", "-R", "a+rX", f"{root}{ROOT}"])
        for name in ("bundle", "dev/null"):
            (root / name).unlink()
        left_out = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        call(["tar", "-C", str(root), *left_out, "-cf", str(tar), "."], deadline_s=LOAD_S)
    shutil.rmtree(directory / "shelf")
    return Image(tar, f"{ROOT}/bundles/{bundle.sha256}/bin:/usr/local/bin:/usr/bin:/bin")


@contextmanager
def _copy_of(tree: Path, directory: Path) -> Iterator[Path]:
    """A copy that keeps its changes in memory."""
    memory = directory / "memory"
    memory.mkdir()
    call(["mount", "-t", "tmpfs", "tmpfs", str(memory)])
    try:
        root = memory / "root"
        for part in ("root", "upper", "work"):
            (memory / part).mkdir()
        layers = f"lowerdir={tree},upperdir={memory}/upper,workdir={memory}/work"
        call(["mount", "-t", "overlay", "-o", layers, "overlay", str(root)])
        try:
            yield root
        finally:
            call(["umount", str(root)])
    finally:
        call(["umount", str(memory)])
        memory.rmdir()
