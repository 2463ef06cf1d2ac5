"""Hosts that behave, without SSH: what they carry, what runs, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from iris_platform.base import PlatformError, StartFailed, Unreachable
from iris_platform.manual.hosts import HostReport, Outcome
from iris_platform.manual.records import ManualSlice


@dataclass
class Machine:
    """One host: its label file, its agent, and its troubles."""

    cluster_id: str = ""
    slice: ManualSlice | None = None
    runs: bool = False
    is_down: bool = False
    trouble: str = ""
    said: str = ""
    looked: int = 0
    started: list[str] = field(default_factory=list)

    @property
    def is_as_it_was(self) -> bool:
        """Whether nothing of Iris is there."""
        return not self.cluster_id and self.slice is None and not self.runs


class Fleet:
    """`Hosts` over machines in memory."""

    def __init__(self, *names: str, cluster_id: str) -> None:
        self.machines = {name: Machine() for name in names}
        self._cluster_id = cluster_id

    def look(self, hosts: Sequence[str]) -> Mapping[str, HostReport | PlatformError]:
        """See `Hosts.look`."""
        return {host: self._look(self.machines[host]) for host in hosts}

    def _look(self, machine: Machine) -> HostReport | PlatformError:
        machine.looked += 1
        if machine.is_down:
            return Unreachable("no route to host")
        detail = "" if machine.runs else "ended"
        return HostReport(machine.cluster_id, machine.slice, machine.runs, detail, machine.said)

    def start(self, record: ManualSlice) -> Mapping[str, Outcome]:
        """See `Hosts.start`."""
        return {host: self._start(self.machines[host], record) for host in record.hosts}

    def _start(self, machine: Machine, record: ManualSlice) -> Outcome:
        if machine.is_down:
            return Unreachable("no route to host")
        # The label is written before anything is installed.
        machine.cluster_id, machine.slice = self._cluster_id, record
        if machine.trouble:
            return StartFailed(machine.trouble)
        if not machine.runs:
            machine.started.append(record.spec.name)
        machine.runs = True
        return None

    def remove(self, slice_name: str, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """See `Hosts.remove`."""
        return {host: self._remove(self.machines[host], slice_name) for host in hosts}

    def tidy(self, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """See `Hosts.tidy`."""
        return {
            host: Unreachable("no route to host") if self.machines[host].is_down else None for host in hosts
        }

    def _remove(self, machine: Machine, slice_name: str) -> Outcome:
        if machine.is_down:
            return Unreachable("no route to host")
        if machine.slice is not None and machine.slice.spec.name == slice_name:
            machine.cluster_id, machine.slice, machine.runs = "", None, False
        return None
