"""Who carries out what the model orders: VMs on paper, here; real ones in `bench_vms`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Protocol

from tests.harness.cloud.machines import Order
from tests.harness.cloud.metadata import Question, Reply

Ask = Callable[[str, Question], Reply]

# RFC 2544: set aside for tests, routed nowhere; room for slices of any size.
PAPER_NETWORK = ipaddress.IPv4Network("198.18.0.0/15")


class Vms(Protocol):
    """Calls come one at a time, and are to return at once: the cloud stands still meanwhile."""

    def place(self, key: str, name: str) -> str:
        """An address for the VM with this key, which nobody else has; it has no power yet."""

    def attach(self, ask: Ask) -> None:
        """From now on `ask(key, question)` knows what the metadata server of a VM answers."""

    def carry_out(self, order: Order) -> None:
        """Boots it, takes its power, or takes it away, in the order in which it was told."""

    def forget_disk(self, name: str) -> None:
        """Loses what was on a disk, by its full name; no VM has it."""

    def close(self) -> None:
        """Takes everything away; returns when it is gone."""


class PaperVms:
    """Addresses and nothing behind them."""

    def __init__(self) -> None:
        self._free = list(range(2, PAPER_NETWORK.num_addresses - 2))[::-1]
        self._taken: dict[str, int] = {}

    def place(self, key: str, name: str) -> str:
        """See Vms."""
        self._taken[key] = self._free.pop()
        return str(PAPER_NETWORK[self._taken[key]])

    def attach(self, ask: Ask) -> None:
        """See Vms; VMs on paper ask nothing."""

    def carry_out(self, order: Order) -> None:
        """See Vms."""
        if order.deed == "scrap":
            # Soon somebody else's, as it is in Google's networks.
            self._free.append(self._taken.pop(order.vm.key))

    def forget_disk(self, name: str) -> None:
        """See Vms."""

    def close(self) -> None:
        """See Vms."""
