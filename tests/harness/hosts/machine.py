"""The metal of a host: its disk, its power, its processes. Knows nothing of SSH or of the user."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.harness.cluster import wait_until
from tests.harness.hosts.cgroups import HostCgroup
from tests.harness.hosts.commands import COMMAND_S, call
from tests.harness.hosts.network import Bridge, Cable

SCRIPT = Path(__file__).with_name("host.sh")
NAMESPACES = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL"]
FIRST_PROCESS = "tini-static"
DISK = 1 << 30
# What a host's first process is.
TINI, SYSTEMD = "tini", "systemd"
ORDERLY_S = 5.0
# Of the console, where a boot failed.
TAIL = 2000


@dataclass(frozen=True)
class Build:
    """What a machine is made of.

    `memory` and `disk` in bytes; a disk is memory too, once written. `hidden` are
    paths of the base, from its root, that the host has not.
    """

    name: str
    number: int  # on the bridge
    base: Path
    memory: int | None = None
    disk: int = DISK
    hidden: tuple[Path, ...] = ()
    init: str = TINI  # or SYSTEMD


class Machine:
    """One set of namespaces, made anew at every boot around a disk that stays."""

    def __init__(self, build: Build, bridge: Bridge, directory: Path) -> None:
        self.build = build
        self.directory = directory
        self.settings = directory / "settings"
        self.address = f"{bridge.network}.{build.number}"
        self.boots = 0
        self.cable: Cable | None = None
        self.cgroup: HostCgroup | None = None
        self._bridge = bridge
        self._console_before = 0
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "root").mkdir(parents=True)
        self.disk.mkdir()
        self.settings.mkdir()
        shutil.copy(shutil.which(FIRST_PROCESS) or FIRST_PROCESS, self.settings / "init")
        self._mount_disk()

    @property
    def disk(self) -> Path:
        """What the host's root file system is on."""
        return self.directory / "disk"

    @property
    def upper(self) -> Path:
        """Where the overlay keeps what was written."""
        return self.disk / "upper"

    @property
    def console(self) -> str:
        """What the boots and `sshd` had to say."""
        return (self.settings / "console.log").read_text(errors="replace")

    @property
    def console_of_boot(self) -> str:
        """The same, of the present boot alone."""
        with (self.settings / "console.log").open(errors="replace") as file:
            file.seek(self._console_before)
            return file.read()

    def _mount_disk(self) -> None:
        options = f"size={self.build.disk},mode=755"
        call(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.disk)])
        self.upper.mkdir()
        (self.disk / "work").mkdir()
        for path in self.build.hidden:
            (self.upper / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # How an overlay says that something is not there.
            os.mknod(self.upper / path, stat.S_IFCHR, 0)

    def format_disk(self) -> None:
        """Forgets everything that was ever written."""
        call(["umount", str(self.disk)])
        self._mount_disk()

    def start(self) -> None:
        """Switches it on; somebody has to wait until it answers."""
        assert not self.cable, f"{self.build.name} is on already"
        self.boots += 1
        self.cable = Cable(self._bridge, self.build.number, self.boots)
        self.cgroup = HostCgroup(self.cable.netns, self.build.memory)
        (self.settings / "boot_id").write_text(f"{uuid.uuid4()}\n")
        environ = {
            "PATH": os.environ["PATH"],
            "LAB_NAME": self.build.name,
            "LAB_DIR": str(self.directory),
            "LAB_BASE": str(self.build.base),
            "LAB_ADDRESS": f"{self.address}/24",
            "LAB_INIT": self.build.init,
        }
        with (self.settings / "console.log").open("ab") as console:
            self._console_before = console.tell()
            network = ["nsenter", f"--net=/run/netns/{self.cable.netns}"]
            self._process = subprocess.Popen(
                self.into_cgroup(*network, *NAMESPACES, "sh", str(SCRIPT), "boot"),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def into_cgroup(self, *argv: str) -> list[str]:
        """A command that runs as one of the host's, for freezing and for its memory."""
        assert self.cgroup, f"{self.build.name} is off"
        return ["sh", str(SCRIPT), "enter", *self.cgroup.doors, "--", *argv]

    def wait(self, answers: Callable[[], bool]) -> None:
        """Waits until a booting machine answers; says what its console says if it never does."""
        assert self._process, f"{self.build.name} is off"
        process = self._process
        try:
            wait_until(lambda: process.poll() is not None or answers())
        except AssertionError as error:
            raise AssertionError(f"{self.build.name} does not come up:\n{self.console[-TAIL:]}") from error
        assert process.poll() is None, f"{self.build.name} cannot boot:\n{self.console[-TAIL:]}"

    @property
    def first_process(self) -> int:
        """The pid here of the host's first process."""
        assert self._process, f"{self.build.name} is off"
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children, f"{self.build.name} is not up"
        return int(children[0])

    def processes(self) -> list[int]:
        """The pids here of everything that runs there, the first process included."""
        tree = _process_tree(self.first_process)
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return sorted(pid for pid in pids if _process_tree(pid) == tree)

    def cut_power(self) -> None:
        """Everything stops at once, and no connection is closed: peers hear nothing more."""
        assert self.cable, f"{self.build.name} is off"
        self.cable.unplug()
        self._end()

    def shut_down(self, last: int) -> None:
        """SIGTERM to everything, in its own time up to a limit; `last` (sshd) goes after the others.

        Connections that are open are closed, for their peers to see.
        """
        spared = {self.first_process, last}
        for pid in set(self.processes()) - spared:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with suppress(AssertionError):
            wait_until(lambda: set(self.processes()) <= spared, ORDERLY_S)
        self._end()

    def _end(self) -> None:
        assert self._process and self.cable and self.cgroup
        try:
            os.kill(self.first_process, signal.SIGKILL)
        except (AssertionError, OSError):
            # It never got so far, or has just ended by itself.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        # What holds the namespaces is as frozen as the rest, and has to see its child's end.
        self.cgroup.thaw()
        # Ends when the kernel has killed and reaped the last of them.
        self._process.wait(COMMAND_S)
        self.cgroup.remove()
        self.cable.remove()
        self._process = self.cable = self.cgroup = None

    def scrap(self) -> None:
        """Takes everything away, in whatever state it is."""
        if self.cable:
            self.cut_power()
        call(["umount", str(self.disk)])
        shutil.rmtree(self.directory)


def _process_tree(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        # It ended while we looked.
        return None
