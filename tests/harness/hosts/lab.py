"""A network with hosts on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.harness.hosts import bases
from tests.harness.hosts.commands import call
from tests.harness.hosts.host import Host
from tests.harness.hosts.machine import DISK, SYSTEMD, TINI, Build, Machine
from tests.harness.hosts.needs import BenchLacks, lacking
from tests.harness.hosts.network import Bridge
from tests.harness.hosts.proxy import slow_proxy
from tests.harness.hosts.sshd import make_key

# In the sealed mounts, which nobody has to clean up.
LABS = Path("/run/labs")
MOST_HOSTS = 64
FIRST_NUMBER = 10


class Lab:
    """Makes hosts, and takes all of them away at the end.

    Raises BenchLacks on entry, and where a base tree is missing.
    """

    def __enter__(self) -> Lab:
        if why := lacking():
            raise BenchLacks(why)
        with ExitStack() as undo:
            self._bridge = Bridge()
            undo.callback(self._bridge.remove)
            LABS.mkdir(exist_ok=True)
            self.directory = Path(tempfile.mkdtemp(dir=LABS, prefix=f"{self._bridge.name}-"))
            undo.callback(shutil.rmtree, self.directory)
            self.user_key = self.directory / "user_key"
            self._user_key_line = make_key(self.user_key, "user@lab")
            self._all: list[Host] = []
            self._machines: dict[str, Machine] = {}
            self._numbers: dict[str, int] = {}
            self._last_number = MOST_HOSTS - 1
            self._mounted: dict[str, Path] = {}
            undo.callback(self._scrap)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _scrap(self) -> None:
        with ExitStack() as undo:
            for where in self._mounted.values():
                undo.callback(call, ["umount", str(where)])
            for machine in self._machines.values():
                undo.callback(machine.scrap)

    @property
    def address(self) -> str:
        """Where hosts reach the test itself."""
        return self._bridge.address

    def free_address(self) -> str:
        """An address of the lab's network that no host has yet."""
        return f"{self._bridge.network}.{FIRST_NUMBER + MOST_HOSTS + len(self._machines)}"

    def claim(self, name: str) -> str:
        """The address that a host of this name will have; of a host to come, where it is not said otherwise.

        Numbers go round, so that what was somebody's stays nobody's for a while.
        """
        assert name not in self._numbers, f"there is a host {name}"
        assert len(self._numbers) < MOST_HOSTS, f"at most {MOST_HOSTS} hosts"
        taken = set(self._numbers.values())
        while True:
            self._last_number = (self._last_number + 1) % MOST_HOSTS
            if self._last_number not in taken:
                break
        self._numbers[name] = self._last_number
        return f"{self._bridge.network}.{FIRST_NUMBER + self._last_number}"

    def scrap(self, name: str) -> None:
        """Takes a host away, or what was claimed for it; its name and its address are free."""
        machine = self._machines.pop(name, None)
        if machine:
            machine.scrap()
        del self._numbers[name]

    def host(
        self,
        name: str,
        *,
        base: str = bases.MACHINE,
        memory: int | None = None,
        disk: int = DISK,
        init: str = TINI,
    ) -> Host:
        """A host that answers SSH; `memory` (None: all that there is) and `disk` in bytes.

        `init` is its first process: tini, or systemd where the base has it.
        """
        host = self.start(name, base=base, memory=memory, disk=disk, init=init)
        host.wait()
        return host

    def hosts(
        self, count: int, *, base: str = bases.MACHINE, memory: int | None = None, disk: int = DISK
    ) -> list[Host]:
        """Several hosts of one kind, h0, h1 and so on, started together."""
        taken = len(self._machines)
        names = [f"h{taken + number}" for number in range(count)]
        started = [self.start(name, base=base, memory=memory, disk=disk) for name in names]
        for host in started:
            host.wait()
        return started

    def start(
        self,
        name: str,
        *,
        base: str = bases.MACHINE,
        memory: int | None = None,
        disk: int = DISK,
        init: str = TINI,
    ) -> Host:
        """As `host`, but returns at once: somebody has to wait for it."""
        assert name not in self._machines, f"there is a host {name}"
        if name not in self._numbers:
            self.claim(name)
        number = FIRST_NUMBER + self._numbers[name]
        tree = self._base(base)
        if init == SYSTEMD and not (tree / "lib/systemd/systemd").exists():
            raise BenchLacks(f"base {base} has no systemd")
        hidden = _not_the_hosts_business(tree) if base == bases.MACHINE else ()
        build = Build(name, number, tree, memory, disk, hidden, init)
        machine = Machine(build, self._bridge, self.directory / "hosts" / name)
        self._machines[name] = machine
        return Host(machine, self._user_key_line)

    def _base(self, base: str) -> Path:
        """The tree, read-only, and without what is mounted over it on this machine."""
        if base not in self._mounted:
            found, where = bases.find(base), self.directory / "bases" / base
            where.mkdir(parents=True)
            call(["mount", "--bind", str(found), str(where)])
            self._mounted[base] = where
            call(["mount", "-o", "remount,bind,ro", str(where)])
        return self._mounted[base]

    def known_hosts(self, *hosts: Host) -> Path:
        """A new known-hosts file, 0600, with the keys that these hosts have now."""
        handle, path = tempfile.mkstemp(dir=self.directory, prefix="known_hosts-")
        with os.fdopen(handle, "w") as file:
            file.writelines(f"{host.known_hosts_line}\n" for host in hosts)
        return Path(path)

    def ssh_command(self, host: Host, *, user: str = "root", known_hosts: Path | None = None) -> list[str]:
        """The ssh client, up to and with the destination: key and host key checked, nobody asked."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(self.user_key),
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known_hosts or self.known_hosts(host)),
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", os.devnull, *words, "-p", str(host.ssh_port), f"{user}@{host.address}"]

    @contextmanager
    def slow(
        self, host: Host, port: int | None = None, *, delay_s: float = 0.0, bytes_per_s: float | None = None
    ) -> Iterator[tuple[str, int]]:
        """Another address and port for a port of a host, with a delay and a bandwidth each way."""
        to = (host.address, port or host.ssh_port)
        with slow_proxy(self.address, to, delay_s=delay_s, bytes_per_s=bytes_per_s) as listening:
            yield self.address, listening


def _not_the_hosts_business(tree: Path) -> tuple[Path, ...]:
    """What root has at home on this machine: settings, clusters, shell start-up files; not its Pythons."""
    home = Path(os.path.expanduser("~root")).relative_to("/")
    return tuple(home / name for name in sorted(os.listdir(tree / home)) if name != ".pyenv")
