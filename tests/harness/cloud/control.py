"""What tests may do to the cloud: `POST /test/NAME` with the arguments as a JSON object.

Every public method is one of those; see `CloudClient` for what they mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from google.cloud import tpu_v2

from tests.harness.cloud.cloud import Cloud
from tests.harness.cloud.faults import Fault
from tests.harness.cloud.machines import Vm
from tests.harness.cloud.site import Site

NodeState = tpu_v2.Node.State
Health = tpu_v2.Node.Health
QueuedState = tpu_v2.QueuedResourceState.State


class Control:
    """Arguments and results are what JSON has. Raises ApiError, KeyError, TypeError, ValueError."""

    def __init__(self, site: Site) -> None:
        self._site = site

    # Faults and limits

    def add_fault(self, **fault: Any) -> int:
        hosts = tuple(fault.pop("hosts", ()))
        with self._site.open() as cloud:
            return cloud.world.faults.add(Fault(**fault, hosts=hosts))

    def remove_fault(self, number: int) -> None:
        with self._site.open() as cloud:
            cloud.world.faults.remove(number)

    def clear_faults(self) -> None:
        with self._site.open() as cloud:
            cloud.world.faults.clear()

    def faults(self) -> dict[int, dict[str, Any]]:
        with self._site.open() as cloud:
            waiting = cloud.world.faults.waiting()
            return {number: dataclasses.asdict(fault) for number, fault in waiting.items()}

    def set_quota(self, zone: str, generation: str, spot: bool, chips: int | None, project: str = "") -> None:
        with self._site.open() as cloud:
            cloud.world.limits.set_quota(project or _first(cloud), zone, generation, spot, chips)
            cloud.world.freed()

    def set_capacity(self, zone: str, accelerator_type: str, slices: int | None) -> None:
        with self._site.open() as cloud:
            cloud.world.limits.set_capacity(zone, accelerator_type, slices)
            cloud.world.freed()

    def set_rate(self, method: str, calls: int | None) -> None:
        with self._site.open() as cloud:
            cloud.world.limits.set_rate(method, calls)

    def configure(self, **fields: Any) -> None:
        with self._site.open() as cloud:
            cloud.world.settings = dataclasses.replace(cloud.world.settings, **fields)

    def set_timings(self, boot_of: Mapping[str, int] | None = None, **fields: int) -> None:
        with self._site.open() as cloud:
            timings = cloud.world.settings.timings
            if boot_of is not None:
                by_number = {int(index): ms for index, ms in boot_of.items()}
                timings = dataclasses.replace(timings, boot_of=by_number)
            changed: dict[str, Any] = dict(fields)
            timings = dataclasses.replace(timings, **changed)
            cloud.world.settings = dataclasses.replace(cloud.world.settings, timings=timings)

    # What happens

    def preempt(
        self, zone: str, names: Sequence[str], notice_ms: int | None = None, project: str = ""
    ) -> None:
        with self._site.open() as cloud:
            cloud.preempt(project or _first(cloud), zone, list(names), notice_ms)

    def maintain(self, zone: str, name: str, event: str, project: str = "") -> None:
        with self._site.open() as cloud:
            node = _node(cloud, project, zone, name)
            for vm in cloud.nodes.life(node).vms:
                cloud.world.machines.tell(vm, maintenance_event=event)

    def set_node(
        self,
        zone: str,
        name: str,
        state: str = "",
        health: str = "",
        description: str = "",
        project: str = "",
    ) -> None:
        with self._site.open() as cloud:
            cloud.nodes.change(
                _node(cloud, project, zone, name),
                state=_number(NodeState, state) if state else None,
                health=_number(Health, health) if health else None,
                description=description or None,
            )

    def cut_vm(self, key: str) -> None:
        with self._site.open() as cloud:
            cloud.world.machines.cut(_vm(cloud, key))

    def leave(self, key: str, path: str, text: str) -> None:
        with self._site.open() as cloud:
            _vm(cloud, key).left[path] = text

    def set_attribute(self, key: str, name: str, value: str | None) -> None:
        with self._site.open() as cloud:
            vm = _vm(cloud, key)
            vm.attributes.pop(name, None)
            if value is not None:
                vm.attributes[name] = value
            cloud.world.machines.tell(vm)

    def boot_vm(self, key: str) -> None:
        with self._site.open() as cloud:
            cloud.world.machines.boot(_vm(cloud, key))

    def advance(self, ms: int) -> int:
        self._site.clock.add(ms)
        return self.now()

    # What there is

    def now(self) -> int:
        with self._site.open() as cloud:
            return cloud.world.timeline.now_ms

    def nodes(self) -> dict[str, str]:
        with self._site.open() as cloud:
            return {name: NodeState(node.state).name for name, node in cloud.nodes.shelf.all()}

    def queued(self) -> dict[str, str]:
        with self._site.open() as cloud:
            return {name: QueuedState(each.state.state).name for name, each in cloud.queued.shelf.all()}

    def vms(self) -> list[dict[str, Any]]:
        with self._site.open() as cloud:
            return [_facts(vm) for vm in cloud.world.machines.all()]

    def instances(self) -> dict[str, str]:
        with self._site.open() as cloud:
            return {name: str(body["status"]) for name, body in cloud.instances.instances.all()}

    def disks(self) -> dict[str, str]:
        with self._site.open() as cloud:
            return {name: str(body["status"]) for name, body in cloud.instances.disks.all()}

    def wait_node(self, zone: str, name: str, state: str, timeout_s: float, project: str = "") -> bool:
        def met(cloud: Cloud) -> bool:
            full = f"projects/{project or _first(cloud)}/locations/{zone}/nodes/{name}"
            there = cloud.nodes.exists(full)
            return (
                not there
                if not state
                else there and cloud.nodes.shelf_state(full) == _number(NodeState, state)
            )

        return self._site.wait_for(met, timeout_s)

    def wait_queued(self, zone: str, name: str, state: str, timeout_s: float, project: str = "") -> bool:
        def met(cloud: Cloud) -> bool:
            full = f"projects/{project or _first(cloud)}/locations/{zone}/queuedResources/{name}"
            there = cloud.queued.shelf.get(full) is not None
            return (
                not there if not state else there and cloud.queued.state(full) == _number(QueuedState, state)
            )

        return self._site.wait_for(met, timeout_s)

    # What was called

    def calls(self) -> list[dict[str, Any]]:
        with self._site.open() as cloud:
            return [dataclasses.asdict(call) for call in cloud.journal.calls]

    def counts(self, name: str = "") -> dict[str, int]:
        with self._site.open() as cloud:
            return cloud.journal.counts_of(name) if name else cloud.journal.counts()

    def clear_calls(self) -> None:
        with self._site.open() as cloud:
            cloud.journal.calls.clear()


def _first(cloud: Cloud) -> str:
    return next(iter(cloud.world.settings.projects))


def _node(cloud: Cloud, project: str, zone: str, name: str) -> str:
    full = f"projects/{project or _first(cloud)}/locations/{zone}/nodes/{name}"
    return str(cloud.nodes.get(full).name)


def _number(enum: Any, name: str) -> int:
    """Raises KeyError if there is no such word."""
    return int(enum[name])


def _vm(cloud: Cloud, key: str) -> Vm:
    vm = cloud.world.machines.find(key)
    if vm is None:
        raise KeyError(key)
    return vm


def _facts(vm: Vm) -> dict[str, Any]:
    shown = ("key", "id", "name", "zone", "owner", "index", "address", "on", "preempted")
    return {field: getattr(vm, field) for field in shown}
