"""Compute Engine's instances and disks: JSON objects as the API has them, and what becomes of them.

Only what Iris and gcloud need of them: one network interface, a boot disk with the
machine, disks that outlive it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.harness.cloud import errors, rules
from tests.harness.cloud.compute_rules import (
    check_instance,
    check_name,
    disk_name_of,
    link,
    metadata_of,
    timestamp,
)
from tests.harness.cloud.errors import ApiError
from tests.harness.cloud.faults import Fault, delay, find
from tests.harness.cloud.machines import Disk, Vm
from tests.harness.cloud.timeline import Shelf
from tests.harness.cloud.world import World, refuse_at_once

Json = dict[str, Any]


@dataclass
class Operation:
    """A zone operation; `error` and `http` where it failed."""

    name: str
    number: int
    kind: str
    target: str  # the target's full name
    target_id: str
    begun_ms: int
    ended_ms: int | None = None
    error: ApiError | None = None


@dataclass
class Instances:
    """All instances and disks. Names are full: `projects/P/zones/Z/instances/I`."""

    world: World
    made: int = 0
    operations: dict[str, Operation] = field(default_factory=dict)
    _vms: dict[str, Vm] = field(default_factory=dict)
    _asked: dict[str, Operation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.instances: Shelf[Json] = Shelf(self.world.timeline)
        self.disks: Shelf[Json] = Shelf(self.world.timeline)

    def get(self, shelf: Shelf[Json], name: str) -> Json:
        """Raises ApiError NOT_FOUND."""
        found = shelf.get(name)
        if found is None:
            raise not_found(name)
        return found

    def vm_of(self, name: str) -> Vm | None:
        """The machine of an instance."""
        return self._vms.get(name)

    def again(self, request_id: str) -> Operation | None:
        """What the same request began before."""
        return self._asked.get(request_id) if request_id else None

    def _begin(self, kind: str, target: str, target_id: str, request_id: str) -> Operation:
        self.made += 1
        now = self.world.timeline.now_ms
        place = target.rpartition("/")[0].rpartition("/")[0]
        name = f"{place}/operations/operation-{now}-{self.made:08x}"
        made = Operation(name, 10**18 + self.made, kind, target, target_id, now)
        self.operations[name] = made
        if request_id:
            self._asked[request_id] = made
        return made

    def _later(self, operation: Operation, faults: tuple[Fault, ...], act: Callable[[], None]) -> None:
        """Ends an operation in its time, and does what it is about."""

        def end() -> None:
            try:
                act()
            except ApiError as error:
                operation.error = error
            operation.ended_ms = self.world.timeline.now_ms

        if not find(faults, "stuck"):
            self.world.timeline.after(self.world.settings.timings.instance + delay(faults), end)

    def _change(self, shelf: Shelf[Json], name: str, **fields: Any) -> None:
        shelf.put(name, {**self.get(shelf, name), **fields})

    def _common(self, kind: str, name: str) -> Json:
        self.made += 1
        return {
            "kind": f"compute#{kind}",
            "id": str(10**18 + self.made),
            "creationTimestamp": timestamp(self.world.timeline.now_ms),
            "zone": link("/".join(name.split("/")[:4])),
            "selfLink": link(name),
        }

    # Disks

    def insert_disk(self, place: str, body: Json, request_id: str, faults: tuple[Fault, ...]) -> Operation:
        name = f"{place}/disks/{check_name(body)}"
        rules.check_labels(body.get("labels") or {})
        if self.disks.get(name):
            raise already_exists(name)
        refuse_at_once(faults, place.rpartition("/")[2], str(body["name"]))
        disk = {**body, **self._common("disk", name), "status": "CREATING"}
        disk |= {"sizeGb": str(body.get("sizeGb") or 10), "labelFingerprint": _print(body.get("labels"))}
        self.disks.put(name, disk)
        operation = self._begin("insert", name, disk["id"], request_id)
        self._later(operation, faults, lambda: self._change(self.disks, name, status="READY"))
        return operation

    def delete_disk(self, name: str, request_id: str, faults: tuple[Fault, ...]) -> Operation:
        disk = self.get(self.disks, name)
        if users := disk.get("users"):
            raise in_use(name, users[0])
        operation = self._begin("delete", name, disk["id"], request_id)
        self._change(self.disks, name, status="DELETING")

        def gone() -> None:
            self.disks.remove(name)
            self.world.machines.forget_disk(name)

        self._later(operation, faults, gone)
        return operation

    # Instances

    def insert(self, place: str, body: Json, request_id: str, faults: tuple[Fault, ...]) -> Operation:
        name = f"{place}/instances/{check_name(body)}"
        project, zone = place.split("/")[1::2]
        check_instance(body, project, zone, self.world.settings)
        if self.instances.get(name):
            raise already_exists(name)
        # Who is refused takes no disk.
        refuse_at_once(faults, zone, str(body["name"]))
        attached = self._attached(place, body, link(name))
        instance = {**body, **self._common("instance", name), "status": "PROVISIONING"}
        instance["machineType"] = link(f"{place}/machineTypes/{body['machineType'].rpartition('/')[2]}")
        instance["metadata"] = {**(body.get("metadata") or {}), "kind": "compute#metadata"}
        instance["metadata"]["fingerprint"] = _print(metadata_of(body))
        instance["labelFingerprint"] = _print(body.get("labels"))
        self.instances.put(name, instance)
        operation = self._begin("insert", name, instance["id"], request_id)
        ends = next((f for f in faults if f.do in ("stockout", "quota", "fail") and f.after), None)
        if ends:
            self._later(operation, faults, lambda: self._fail(name, ends))
        else:
            self._later(operation, faults, lambda: self._come_up(name, attached))
        return operation

    def _attached(self, place: str, body: Json, user: str) -> tuple[Disk, ...]:
        disks = []
        for each in body.get("disks") or ():
            if not each.get("source"):
                continue
            name = disk_name_of(each["source"], place)
            known = self.get(self.disks, name)
            if known.get("users"):
                raise in_use(name, known["users"][0])
            device = each.get("deviceName") or name.rpartition("/")[2]
            disks.append(Disk(name, device, int(known["sizeGb"])))
        for disk in disks:
            self._change(self.disks, disk.name, users=[user])
        return tuple(disks)

    def _fail(self, name: str, fault: Fault) -> None:
        place = "/".join(name.split("/")[:4])
        self._release(name)
        self.instances.remove(name)
        raise operation_failure(fault, place)

    def _release(self, name: str) -> None:
        for disk, known in list(self.disks.all()):
            if link(name) in (known.get("users") or ()):
                self._change(self.disks, disk, users=[])

    def _come_up(self, name: str, disks: tuple[Disk, ...]) -> None:
        if self.instances.get(name) is None:
            return
        body = self.get(self.instances, name)
        vm = self._vms[name] = self._machine(name, body, disks)
        self.world.machines.add(vm)
        interface = dict((body.get("networkInterfaces") or [{}])[0])
        interface |= {"name": "nic0", "networkIP": vm.address}
        if interface.get("accessConfigs"):
            interface["accessConfigs"] = [
                {**each, "natIP": vm.address} for each in interface["accessConfigs"]
            ]
        self._change(self.instances, name, status="RUNNING", networkInterfaces=[interface])
        self.world.timeline.after(self.world.settings.timings.boot, lambda: self._boot(name, vm))

    def _boot(self, name: str, vm: Vm) -> None:
        body = self.instances.get(name)
        if body and body["status"] == "RUNNING":
            self.world.machines.boot(vm)

    def _machine(self, name: str, body: Mapping[str, Any], disks: tuple[Disk, ...]) -> Vm:
        _, project, _, zone, _, short = name.split("/")
        key, address = self.world.machines.place(short)
        accounts = body.get("serviceAccounts") or [{}]
        number = self.world.settings.projects[project]
        email = accounts[0].get("email") or ""
        if email in ("", "default"):
            email = f"{number}-compute@developer.gserviceaccount.com"
        return Vm(
            key=key,
            id=int(body["id"]),
            name=short,
            project=project,
            zone=zone,
            owner=name,
            index=0,
            address=address,
            created_ms=self.world.timeline.now_ms,
            attributes=metadata_of(body),
            email=email,
            scopes=tuple(accounts[0].get("scopes") or ()),
            machine_type=str(body["machineType"]).rpartition("/")[2],
            disks=disks,
            labels=dict(body.get("labels") or {}),
        )

    def delete(self, name: str, request_id: str, faults: tuple[Fault, ...]) -> Operation:
        instance = self.get(self.instances, name)
        operation = self._begin("delete", name, instance["id"], request_id)
        self._change(self.instances, name, status="STOPPING")
        vm = self._vms.get(name)
        if vm:
            self.world.machines.cut(vm)

        def gone() -> None:
            self.instances.remove(name)
            self._release(name)
            if vm and self._vms.pop(name, None):
                self.world.machines.scrap(vm)

        self._later(operation, faults, gone)
        return operation

    def power(self, name: str, verb: str, request_id: str, faults: tuple[Fault, ...]) -> Operation:
        """`start`, `stop` or `reset`."""
        instance, vm = self.get(self.instances, name), self._vms.get(name)
        operation = self._begin(verb, name, instance["id"], request_id)
        if vm is None:
            raise not_ready(name)
        between, then = ("STOPPING", "TERMINATED") if verb == "stop" else ("STAGING", "RUNNING")
        self._change(self.instances, name, status=between)
        if verb != "start":
            self.world.machines.cut(vm)

        def turned() -> None:
            self._change(self.instances, name, status=then)
            if then == "RUNNING":
                self.world.machines.boot(vm)

        self._later(operation, faults, turned)
        return operation

    def set_metadata(self, name: str, body: Json, request_id: str, faults: tuple[Fault, ...]) -> Operation:
        instance = self.get(self.instances, name)
        if body.get("fingerprint") != instance["metadata"]["fingerprint"]:
            raise stale("metadata")
        changed = metadata_of({"metadata": body})
        rules.check_metadata(changed)
        operation = self._begin("setMetadata", name, instance["id"], request_id)
        metadata = {"kind": "compute#metadata", "items": body.get("items") or []}
        self._change(self.instances, name, metadata={**metadata, "fingerprint": _print(changed)})
        vm = self._vms.get(name)
        if vm:
            vm.attributes.clear()
            vm.attributes.update(changed)
            self.world.machines.tell(vm)
        self._later(operation, faults, lambda: None)
        return operation

    def set_labels(self, name: str, body: Json, request_id: str, faults: tuple[Fault, ...]) -> Operation:
        instance = self.get(self.instances, name)
        if body.get("labelFingerprint") != instance["labelFingerprint"]:
            raise stale("labels")
        labels = body.get("labels") or {}
        rules.check_labels(labels)
        operation = self._begin("setLabels", name, instance["id"], request_id)
        self._change(self.instances, name, labels=labels, labelFingerprint=_print(labels))
        self._later(operation, faults, lambda: None)
        return operation


def _print(value: object) -> str:
    """Eight bytes in base64, as clients take them to be; in the alphabet that all of them write."""
    digest = hashlib.sha256(json.dumps(value or {}, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest[:8]).decode()


def not_found(name: str) -> ApiError:
    return ApiError(5, f"The resource '{name}' was not found", "notFound")


def already_exists(name: str) -> ApiError:
    return ApiError(6, f"The resource '{name}' already exists", "alreadyExists")


def in_use(name: str, user: str) -> ApiError:
    words = f"The disk resource '{name}' is already being used by '{user.partition('/v1/')[2]}'"
    return ApiError(9, words, "resourceInUseByAnotherResource")


def not_ready(name: str) -> ApiError:
    return ApiError(9, f"The resource '{name}' is not ready", "resourceNotReady")


def stale(what: str) -> ApiError:
    words = f"Supplied fingerprint does not match current {what} fingerprint."
    return ApiError(9, words, "conditionNotMet", http_as=412)


def operation_failure(fault: Fault, place: str) -> ApiError:
    """What an operation of Compute Engine ends with; `reason` is the code of its error."""
    if fault.do == "stockout":
        words = f"The zone '{place}' does not have enough resources available to fulfill the request."
        tail = "Try a different zone, or try again later."
        return ApiError(14, fault.message or f"{words}  {tail}", "ZONE_RESOURCE_POOL_EXHAUSTED")
    if fault.do == "quota":
        region = place.rpartition("/")[2].rpartition("-")[0]
        words = f"Quota 'CPUS' exceeded.  Limit: 24.0 in region {region}."
        return ApiError(7, fault.message or words, "QUOTA_EXCEEDED")
    error = errors.of_code(fault.code, fault.message)
    error.reason = "INTERNAL_ERROR"
    return error
