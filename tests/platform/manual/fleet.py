"""Hosts that behave, without SSH: what they carry, what runs, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from iris_platform.base import BeingDeleted, PlatformError, StartFailed, Unreachable
from iris_platform.manual.hosts import NOT_THE_SAME, HostReport, NotTheSameHost, Outcome, is_the_same
from iris_platform.manual.records import ManualSlice


@dataclass
class Machine:
    """One host: its label file, its agent, and its troubles."""

    cluster_id: str = ""
    slice: ManualSlice | None = None
    runs: bool = False
    is_down: bool = False
    is_unwanted: bool = False
    trouble: str = ""
    said: str = ""
    looked: int = 0
    boot_id: str = "first"
    started: list[str] = field(default_factory=list)

    def report(self) -> HostReport:
        """What is to be seen of it."""
        detail = "" if self.runs else "ended"
        name = "other" if self.cluster_id else ""
        return HostReport(self.cluster_id, name, self.boot_id, self.slice, self.runs, detail, self.said)

    @property
    def is_as_it_was(self) -> bool:
        """Whether nothing of Iris is there."""
        return not self.cluster_id and self.slice is None and not self.runs

    def is_swapped(self) -> None:
        """Another machine is at the address, with the same host key."""
        self.cluster_id, self.slice, self.runs, self.boot_id = "", None, False, "another"


class Fleet:
    """`Hosts` over machines in memory."""

    def __init__(self, *names: str, cluster_id: str) -> None:
        self.machines = {name: Machine() for name in names}
        self.tidied: set[str] = set()
        self._cluster_id = cluster_id

    def look(self, hosts: Sequence[str]) -> Mapping[str, HostReport | PlatformError]:
        """See `Hosts.look`."""
        return {host: self._look(self.machines[host]) for host in hosts}

    def _look(self, machine: Machine) -> HostReport | PlatformError:
        machine.looked += 1
        if machine.is_down:
            return Unreachable("no route to host")
        return machine.report()

    def start(self, record: ManualSlice) -> Mapping[str, Outcome]:
        """See `Hosts.start`."""
        return {host: self._start(self.machines[host], record) for host in record.hosts}

    def _start(self, machine: Machine, record: ManualSlice) -> Outcome:
        if machine.is_down:
            return Unreachable("no route to host")
        # The label is written before anything is installed.
        machine.cluster_id, machine.slice = self._cluster_id, record
        if machine.is_unwanted:
            return BeingDeleted("not let in: its slice is being deleted")
        if machine.trouble:
            return StartFailed(machine.trouble)
        if not machine.runs:
            machine.started.append(record.spec.name)
        machine.runs = True
        return None

    def remove(self, record: ManualSlice, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """See `Hosts.remove`."""
        return {host: self._remove(host, record) for host in hosts}

    def tidy(self, cluster_id: str, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """See `Hosts.tidy`."""
        down = {host for host in hosts if self.machines[host].is_down}
        self.tidied.update(set(hosts) - down)
        return {host: Unreachable("no route to host") if host in down else None for host in hosts}

    def _remove(self, host: str, record: ManualSlice) -> Outcome:
        machine = self.machines[host]
        if machine.is_down:
            return Unreachable("no route to host")
        if not is_the_same(record, host, machine.report()):
            return NotTheSameHost(NOT_THE_SAME)
        if machine.slice is not None and machine.slice.spec.name == record.spec.name:
            machine.cluster_id, machine.slice, machine.runs = "", None, False
        return None
