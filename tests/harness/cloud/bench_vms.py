"""VMs that are hosts of the SSH bench: they boot, ask their metadata server, and run their startup script."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.harness.cloud.bench_guest import BenchDisks, let_in
from tests.harness.cloud.machines import Order, Vm
from tests.harness.cloud.metadata import Question, Reply
from tests.harness.cloud.metadata_server import ADDRESS, NAMES, PORT, MetadataServer
from tests.harness.cloud.vms import Ask
from tests.harness.hosts import Host, Lab
from tests.harness.hosts.bases import MACHINE
from tests.harness.hosts.machine import DISK, TINI

END_S = 30.0
SCRIPT = "/tmp/metadata-scripts/startup-script"
LOG = "/var/log/startup-script.log"
# As the guest agent has it: written to a file, run as a program, with no HOME.
RUN = f'exec >>{LOG} 2>&1 </dev/null; "$0"; echo "startup-script exit status $?"'


@dataclass
class Machine:
    """One VM: what is to be done with it is done in order, by a thread of its own."""

    name: str
    address: str
    todo: ThreadPoolExecutor
    vm: Vm | None = None
    host: Host | None = None
    is_up: bool = False
    # When its startup script began, wall clock.
    began_s: float = 0.0
    metadata: MetadataServer | None = None
    scripts: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def names(self) -> str:
        """By which others know it, as in Google's internal DNS."""
        if self.vm is None:
            return self.name
        vm = self.vm
        return f"{vm.name}.c.{vm.project}.internal {vm.name}.{vm.zone}.c.{vm.project}.internal {vm.name}"


class BenchVms:
    """The bench as `Vms`.

    `base` is that of the hosts (`machine`, `bookworm`, `trixie`), `disk` in bytes,
    `init` their first process.
    """

    def __init__(self, lab: Lab, *, base: str = MACHINE, disk: int = DISK, init: str = TINI) -> None:
        self._lab = lab
        self._base, self._disk, self._init = base, disk, init
        self._machines: dict[str, Machine] = {}
        # Of the lab, which is no thread's friend, and of what hosts know of each other.
        self._lock = threading.Lock()
        self._ask: Ask = _nothing
        self._ending: list[Future[None]] = []
        self._disks = BenchDisks(lab.directory / "disks")
        self.troubles: list[str] = []

    def place(self, key: str, name: str) -> str:
        """See Vms."""
        with self._lock:
            address = self._lab.claim(name)
            todo = ThreadPoolExecutor(1, thread_name_prefix=name)
            self._machines[key] = Machine(name, address, todo)
        return address

    def attach(self, ask: Ask) -> None:
        """See Vms."""
        self._ask = ask

    def host(self, name: str) -> Host:
        """The host of a VM by its name; fails if it has not booted yet."""
        found = next((each for each in self._machines.values() if each.name == name), None)
        assert found and found.host and found.is_up, f"no host {name}"
        return found.host

    def is_up(self, name: str) -> bool:
        """Whether the host of a VM has booted, and has its metadata server."""
        return any(each.name == name and each.is_up for each in self._machines.values())

    def began_s(self, name: str) -> float:
        """When the startup script of a VM began that has booted: seconds of wall clock."""
        return next(each.began_s for each in self._machines.values() if each.name == name)

    def is_gone(self, name: str) -> bool:
        """Whether nothing is left of the hosts of that name, so that there can be another."""
        ended = all(each.done() for each in self._ending)
        return ended and not any(each.name == name for each in self._machines.values())

    def carry_out(self, order: Order) -> None:
        """See Vms."""
        machine = self._machines[order.vm.key]
        machine.vm = order.vm
        if order.deed == "boot":
            self._later(machine, lambda: self._boot(machine, order.vm))
        elif order.deed == "cut":
            self._later(machine, lambda: self._cut(machine))
        elif order.deed == "tell":
            self._later(machine, lambda: self._told(machine, order.vm))
        else:
            self._end(order.vm.key)

    def _end(self, key: str) -> None:
        machine = self._machines.pop(key)
        self._ending = [each for each in self._ending if not each.done()]
        self._ending.append(self._later(machine, lambda: self._scrap(machine)))
        machine.todo.shutdown(wait=False)

    def _later(self, machine: Machine, deed: Callable[[], None]) -> Future[None]:
        return machine.todo.submit(self._do, machine.name, deed)

    def _do(self, name: str, deed: Callable[[], None]) -> None:
        try:
            deed()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            # For whoever closes this; the others go on.
            self.troubles.append(f"{name}: {error}")

    def _boot(self, machine: Machine, vm: Vm) -> None:
        if machine.host is None:
            with self._lock:
                machine.host = self._lab.start(
                    machine.name, base=self._base, disk=self._disk, init=self._init
                )
            machine.host.wait()
        else:
            machine.host.boot()
        host = machine.host
        ask = self._ask
        listening = host.listen(ADDRESS, PORT)
        machine.metadata = MetadataServer(listening, lambda question: ask(vm.key, question))
        self._disks.attach(host, vm.disks)
        let_in(host, vm)
        machine.is_up = True
        self._tell_names()
        script = vm.attributes.get("startup-script")
        if script:
            host.write(SCRIPT, script.encode(), 0o700)
            machine.began_s = time.time()
            machine.scripts.append(host.spawn(["sh", "-c", RUN, SCRIPT]))

    def _told(self, machine: Machine, vm: Vm) -> None:
        if machine.is_up and machine.host is not None:
            let_in(machine.host, vm)

    def _tell_names(self) -> None:
        with self._lock:
            all_of_them = list(self._machines.values())
            known = [f"{ADDRESS} {NAMES}", *(f"{each.address} {each.names}" for each in all_of_them)]
            for each in all_of_them:
                if each.is_up and each.host is not None:
                    text = "\n".join(["127.0.0.1 localhost", f"127.0.1.1 {each.name}", *known, ""])
                    (each.host.root / "etc/hosts").write_text(text)

    def _cut(self, machine: Machine) -> None:
        with self._lock:
            machine.is_up = False
        if machine.metadata:
            machine.metadata.close()
            machine.metadata = None
        if machine.host and machine.host.is_on:
            machine.host.kill()
        if machine.vm:
            self._disks.detach(machine.vm.disks)
        for script in machine.scripts:
            script.wait(END_S)
        machine.scripts.clear()

    def _scrap(self, machine: Machine) -> None:
        self._cut(machine)
        machine.host = None
        with self._lock:
            self._lab.scrap(machine.name)

    def forget_disk(self, name: str) -> None:
        """See Vms."""
        self._disks.forget(name)

    def close(self) -> None:
        """See Vms. Fails with what went wrong with any of them."""
        for key in list(self._machines):
            self._end(key)
        for each in self._ending:
            each.result(END_S)
        assert not self.troubles, "\n".join(self.troubles)


def _nothing(key: str, question: Question) -> Reply:
    return Reply(404, "")
