"""One host as a test sees it: power, network, keys, disk, clock, and what is on it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.harness.cluster import wait_until
from tests.harness.hosts.commands import run
from tests.harness.hosts.listing import Listing, all_files, changed_files
from tests.harness.hosts.machine import Machine
from tests.harness.hosts.needs import BenchLacks
from tests.harness.hosts.network import listen_in
from tests.harness.hosts.sshd import PORT, Sshd, is_sshd

RUN_S = 30.0
FAKETIME = "libfaketimeMT.so.1"
# The kernel's boot clock stays true: only what calendars show is wrong.
CALENDAR_ONLY = "FAKETIME_DONT_FAKE_MONOTONIC=1"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = os.path.expanduser("~root")
PYTHONS = "rm -f /usr/bin/python* /usr/local/bin/python* /bin/python*"
LET_IN = "umask 077; mkdir -p ~/.ssh && cat >~/.ssh/authorized_keys"


class Host:
    """A host; see the package's own words for what it is and what can be done to it.

    Methods fail with AssertionError if the host is off, where they need it on.
    """

    def __init__(self, machine: Machine, user_key: str) -> None:
        self._machine = machine
        self._sshd = Sshd(machine)
        self._user_key = user_key
        self._clock: list[str] = []  # NAME=VALUE, of libfaketime
        (machine.directory / "user_key.pub").write_text(user_key + "\n")
        machine.start()

    def __repr__(self) -> str:
        return f"Host({self.name}, {self.address})"

    @property
    def name(self) -> str:
        """Its host name."""
        return self._machine.build.name

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return self._machine.address

    @property
    def ssh_port(self) -> int:
        """Where `sshd` listens."""
        return PORT

    @property
    def host_key(self) -> str:
        """The public key by which it is known: type, key, comment."""
        return self._sshd.host_key

    @property
    def known_hosts_line(self) -> str:
        """What a known-hosts file has to say about it."""
        return f"{self.address} {' '.join(self.host_key.split()[:2])}"

    @property
    def boot_id(self) -> str:
        """What the host reads from /proc/sys/kernel/random/boot_id."""
        return (self._machine.settings / "boot_id").read_text().strip()

    @property
    def console(self) -> str:
        """What its boots and `sshd` had to say."""
        return self._machine.console

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._machine.cable is not None

    def wait(self) -> None:
        """Returns when `sshd` answers."""
        self._machine.wait(self._sshd.answers)

    # What is on it

    def run(
        self, argv: Sequence[str], stdin: bytes | None = None, timeout: float = RUN_S
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a program as root through the namespaces, in a clean environment, whatever its status.

        Raises subprocess.TimeoutExpired after `timeout` seconds, with the program killed.
        """
        environ = ["env", "-i", PATH, f"HOME={HOME}", "USER=root", "LOGNAME=root"]
        return run(self._machine.into_cgroup(*self._inside(), *environ, *self._clock, *argv), stdin, timeout)

    def spawn(self, argv: Sequence[str], *environ: str) -> subprocess.Popen[bytes]:
        """Starts a program as root, with nothing in its environment but a path and `environ`; it goes with the host.

        Its outputs are nobody's; somebody has to wait for it.
        """
        return subprocess.Popen(
            self._machine.into_cgroup(*self._inside(), "env", "-i", PATH, *environ, *argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _inside(self) -> list[str]:
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
        return ["nsenter", f"--target={self._machine.first_process}", *spaces]

    def listen(self, address: str, port: int) -> socket.socket:
        """A socket of this process that listens in the host's network, at an address that is its own from now on.

        To be closed before the host loses its power, or it keeps the network alive.
        """
        assert self._machine.cable, f"{self.name} is off"
        self._machine.cable.inside("ip", "address", "replace", f"{address}/32", "dev", "lo")
        return listen_in(self._machine.cable.netns, address, port)

    @property
    def root(self) -> Path:
        """Its files, as they are seen from here."""
        return Path(f"/proc/{self._machine.first_process}/root")

    def output(self, *argv: str) -> str:
        """What a program says that has to succeed."""
        done = self.run(argv)
        assert done.returncode == 0, f"{self.name}: {argv}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode()

    def read(self, path: str) -> bytes:
        """The content of a file; FileNotFoundError if it cannot be read."""
        done = self.run(["cat", "--", path])
        if done.returncode:
            raise FileNotFoundError(f"{self.name}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Writes a file as root, with its directories."""
        script = 'mkdir -p -- "$(dirname -- "$1")" && cat >"$1" && chmod "$2" -- "$1"'
        done = self.run(["sh", "-c", script, "write", path, f"{mode:o}"], content)
        assert done.returncode == 0, f"{self.name}: {done.stderr.decode(errors='replace')}"

    def listing(self) -> Listing:
        """Everything that differs from the base tree, what runs, and cgroups."""
        machine = self._machine
        files = changed_files(machine.upper, machine.build.base)
        files |= all_files(machine.disk / "tmp", "/tmp")
        # Through the host's eyes, since these are mounts of this boot.
        for passing in ("/run", "/dev/shm"):
            files |= all_files(Path(f"/proc/{machine.first_process}/root{passing}"), passing)
        assert machine.cgroup, f"{self.name} is off"
        return Listing(files, tuple(sorted(self.processes().values())), tuple(machine.cgroup.below()))

    def processes(self) -> dict[int, str]:
        """What runs there: pid on this machine -> command line; without `sshd`, tini and the dead."""
        found = {}
        for pid in self._machine.processes()[1:]:
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if words and not is_sshd(pid):
                found[pid] = words.decode(errors="replace").strip()
        return found

    # Power

    def kill(self) -> None:
        """Cuts the power: whoever was connected hears nothing more, not even an end."""
        self._machine.cut_power()

    def power_off(self) -> None:
        """Shuts it down in order: SIGTERM, some seconds, connections closed."""
        self._machine.shut_down(last=self._sshd.listener)

    def boot(self, *, fresh_disk: bool = False) -> None:
        """Switches it on again: a new boot id, empty /tmp and /run; returns when `sshd` answers.

        With `fresh_disk` as its base tree was, with the user's key let in; the host key stays.
        """
        assert not self.is_on, f"{self.name} is on already"
        if fresh_disk:
            self._machine.format_disk()
        self._machine.start()
        self.wait()

    def freeze(self) -> None:
        """Stops all of it: connections are taken by the kernel, and nobody answers."""
        assert self._machine.cgroup, f"{self.name} is off"
        self._machine.cgroup.freeze()

    def thaw(self) -> None:
        """Lets it go on."""
        assert self._machine.cgroup, f"{self.name} is off"
        self._machine.cgroup.thaw()

    # Network

    def cut(self, *, incoming: bool = True, outgoing: bool = True) -> None:
        """From now on packets to it, from it, or both vanish. A boot brings a whole cable."""
        assert self._machine.cable, f"{self.name} is off"
        self._machine.cable.cut(incoming=incoming, outgoing=outgoing)

    def block(self, sender: Host, port: int) -> None:
        """From now on what another host sends to a TCP port of it vanishes, and the rest passes."""
        assert self._machine.cable, f"{self.name} is off"
        self._machine.cable.block(sender.address, port)

    def heal(self) -> None:
        """Lets packets through again; connections go on if they waited."""
        assert self._machine.cable, f"{self.name} is off"
        self._machine.cable.heal()

    def set_address(self, address: str) -> None:
        """Gives it another address of the lab's network, now or for the next boot."""
        if self._machine.cable:
            self._machine.cable.set_address(f"{self.address}/24", f"{address}/24")
        self._machine.address = address
        if self.is_on:
            wait_until(self._sshd.answers)

    # Keys and users

    def new_host_key(self) -> None:
        """From now on it identifies itself with another key."""
        self._sshd.new_host_key()
        if self.is_on:
            self._sshd.reload()

    def refuse_key(self) -> None:
        """No longer lets anybody in; sessions go on."""
        self._let_in(b"")

    def accept_key(self) -> None:
        """Lets the lab's user in as root, and nobody else."""
        self._let_in(f"{self._user_key}\n".encode())

    def _let_in(self, keys: bytes, user: str = "root") -> None:
        home = self.output("getent", "passwd", user).split(":")[5]
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        done = self.run(["env", f"HOME={home}", *as_user, "sh", "-c", LET_IN], keys)
        assert done.returncode == 0, f"{self.name}: {done.stderr.decode(errors='replace')}"

    def add_user(self, user: str) -> None:
        """Makes a user whom the lab's key lets in; has no password and no rights."""
        # "*" is no password; the "!" that useradd writes would lock the user out.
        self.output("useradd", "--create-home", "--password", "*", "--shell", "/bin/sh", user)
        self._let_in(f"{self._user_key}\n".encode(), user)

    # Disk, clock, Python

    def fill_disk(self) -> None:
        """Leaves no free byte on its disk, /tmp included."""
        with (self._machine.disk / "filler").open("wb") as filler:
            status = os.statvfs(self._machine.disk)
            os.posix_fallocate(filler.fileno(), 0, status.f_bavail * status.f_frsize)

    def free_disk(self) -> None:
        """Undoes `fill_disk`."""
        (self._machine.disk / "filler").unlink()

    def set_clock_offset(self, seconds: int) -> None:
        """Makes the wall clock wrong for sessions that start from now on; 0 makes it right.

        The boot-time clock stays true. BenchLacks without Debian's `libfaketime`.
        """
        library = next(Path("/usr/lib").glob(f"*/faketime/{FAKETIME}"), None)
        if library is None:
            raise BenchLacks("another clock needs the package libfaketime")
        shutil.copy(library, self._machine.settings / FAKETIME)
        # Not for every process of the host: the sandbox of `sshd` kills what looks into files.
        preload = f"LD_PRELOAD=/run/lab/{FAKETIME}"
        self._clock = [preload, f"FAKETIME={seconds:+d}", CALENDAR_ONLY] if seconds else []
        self._sshd.write_config(f"SetEnv {' '.join(self._clock)}" if seconds else "")
        self._sshd.reload()

    def remove_python(self) -> None:
        """Takes every `python*` off the paths where SSH sessions look."""
        self.output("sh", "-c", PYTHONS)
