"""The VMs that the cloud has: where they are, what they are told, and what is to be done with them.

The model only orders; `Vms` is who carries it out, on paper or on the bench.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.harness.cloud.timeline import Timeline

NONE = "NONE"
Deed = Literal["boot", "cut", "scrap", "tell"]


@dataclass(frozen=True)
class Disk:
    """One that is attached: full name, and the device name by which the machine knows it."""

    name: str
    device: str
    size_gb: int


@dataclass
class Vm:
    """One machine. `key` is its own for ever; `index` its number among those of its owner.

    `attributes` is what `instance/attributes/` of its metadata server has.
    `disks` are those that outlive it, in order.
    """

    key: str
    id: int
    name: str
    project: str
    zone: str
    owner: str  # full name of the node or instance
    index: int
    address: str
    created_ms: int
    attributes: dict[str, str]
    email: str
    scopes: tuple[str, ...]
    machine_type: str = "ct-host"
    on: bool = False
    preempted: bool = False
    maintenance_event: str = NONE
    disks: tuple[Disk, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    # Guest attributes, which its own programs leave: NAMESPACE/KEY -> value.
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """`boot`: give it power; `cut`: take it away; `scrap`: forget it, its address is free.

    `tell`: its attributes have changed.
    """

    deed: Deed
    vm: Vm


class Machines:
    """All VMs, and the orders that nobody has fetched yet.

    `place(key, name)` has an address for a new one; `moved` hears of every change.
    """

    def __init__(self, timeline: Timeline, place: Callable[[str, str], str]) -> None:
        self._timeline = timeline
        self._place = place
        self._vms: dict[str, Vm] = {}
        self._orders: list[Order] = []
        self._made = 0
        self._forgotten: list[str] = []
        self.changes = 0

    def place(self, name: str) -> tuple[str, str]:
        """A key and an address for a VM to come."""
        self._made += 1
        key = f"vm{self._made}"
        return key, self._place(key, name)

    def add(self, vm: Vm) -> None:
        self._vms[vm.key] = vm
        self.changes += 1

    def find(self, key: str) -> Vm | None:
        return self._vms.get(key)

    def all(self) -> list[Vm]:
        """The oldest first."""
        return list(self._vms.values())

    def boot(self, vm: Vm) -> None:
        """Nothing if it is on, or is no more."""
        if vm.key in self._vms and not vm.on:
            vm.on = True
            self._order("boot", vm)

    def cut(self, vm: Vm) -> None:
        """Takes the power."""
        if vm.on:
            vm.on = False
            self._order("cut", vm)

    def scrap(self, vm: Vm) -> None:
        """It is no more."""
        self.cut(vm)
        if self._vms.pop(vm.key, None):
            self._order("scrap", vm)

    def tell(self, vm: Vm, *, preempted: bool | None = None, maintenance_event: str | None = None) -> None:
        """Changes what its metadata server says."""
        vm.preempted = vm.preempted if preempted is None else preempted
        vm.maintenance_event = maintenance_event or vm.maintenance_event
        self._order("tell", vm)

    def _order(self, deed: Deed, vm: Vm) -> None:
        self.changes += 1
        self._orders.append(Order(deed, vm))

    def forget_disk(self, name: str) -> None:
        """What was on a disk is lost."""
        self._forgotten.append(name)

    def take_forgotten(self) -> list[str]:
        """Full names of disks that were deleted, once."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def take_orders(self) -> list[Order]:
        """What is to be done, in order, once."""
        orders, self._orders = self._orders, []
        return orders
