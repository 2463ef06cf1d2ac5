"""TPU nodes: from CREATING to READY, and away again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from google.cloud import tpu_v2
from google.protobuf import empty_pb2

from iris_config.accelerators import Accelerator
from tests.harness.cloud import errors, rules
from tests.harness.cloud.attributes import of_node
from tests.harness.cloud.faults import Fault, delay, find
from tests.harness.cloud.machines import Vm
from tests.harness.cloud.operations import Work
from tests.harness.cloud.timeline import Shelf
from tests.harness.cloud.world import World, failure, refuse_at_once

NODE: Any = tpu_v2.Node.pb()
State = tpu_v2.Node.State
Health = tpu_v2.Node.Health
PORT = 8470
# What the cloud fills in, whatever the request says.
OUTPUT_ONLY = (
    *("name", "state", "health_description", "create_time", "network_endpoints", "health", "id"),
    *("api_version", "symptoms", "queued_resource", "multislice_node"),
)
# Hardware is theirs.
HOLD_MACHINES = {
    State.CREATING,
    State.READY,
    State.RESTARTING,
    State.REIMAGING,
    State.REPAIRING,
    State.STARTING,
}


@dataclass
class Life:
    """What a node is beside what the API shows."""

    accelerator: Accelerator
    spot: bool
    owner: str = ""  # the queued resource that made it
    work: Work | None = None  # what is under way
    vms: list[Vm] = field(default_factory=list)
    told: Callable[[errors.ApiError | None], None] | None = None  # hears how the creation ended


class Nodes:
    """All nodes. Names are full: `projects/P/locations/Z/nodes/N`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.shelf: Shelf[Any] = Shelf(world.timeline)
        self._lives: dict[str, Life] = {}
        self._made = 0
        # Hears of nodes that end: name, and whether a user did it.
        self.when_ended: list[Callable[[str, bool], None]] = []

    # What there is

    def get(self, name: str) -> Any:
        """Raises ApiError NOT_FOUND."""
        node = self.shelf.get(name)
        if node is None:
            raise errors.not_found(name)
        return node

    def life(self, name: str) -> Life:
        """Of a node that exists."""
        return self._lives[name]

    def exists(self, name: str) -> bool:
        return self.shelf.get(name) is not None

    def chips_used(self, place: rules.Place, generation: str, spot: bool) -> int:
        """Chips of nodes that no queued resource accounts for."""
        return sum(
            life.accelerator.chips
            for name, life in self._lives.items()
            if not life.owner
            and rules.place_of(name) == place
            and (life.accelerator.generation, life.spot) == (generation, spot)
        )

    def slices_held(self, zone: str, accelerator_type: str) -> int:
        """Slices of a type whose hardware is taken, in any project."""
        return sum(
            life.accelerator.accelerator_type == accelerator_type
            for name, life in self._lives.items()
            if rules.place_of(name).zone == zone and self.shelf_state(name) in HOLD_MACHINES
        )

    def shelf_state(self, name: str) -> int:
        """The state of a node that exists."""
        return int(self.get(name).state)

    def has_room(self, zone: str, accelerator: Accelerator, more: int = 1) -> bool:
        """Whether a zone has hardware for so many more."""
        held = self.slices_held(zone, accelerator.accelerator_type)
        return self._world.limits.has_room(zone, accelerator.accelerator_type, held + more)

    # Creation

    def create(
        self, name: str, asked: Any, life: Life, faults: tuple[Fault, ...], *, multislice: bool = False
    ) -> Work:
        """Begins it; the request has been found good. Raises ApiError where it ends at once."""
        place, short = rules.place_of(name), name.rpartition("/")[2]
        if self.exists(name):
            raise errors.already_exists(name)
        refuse_at_once(faults, place.zone, short)
        room = self.has_room(place.zone, life.accelerator)
        life.work = self._world.operations.begin(name, "create")
        self._lives[name] = life
        self._put_new(name, asked, life, multislice)
        self._follow(name, life, faults, room)
        return life.work

    def _put_new(self, name: str, asked: Any, life: Life, multislice: bool) -> None:
        self._made += 1
        node = NODE()
        node.CopyFrom(asked)
        for output in OUTPUT_ONLY:
            node.ClearField(output)
        node.name, node.state, node.api_version = name, State.CREATING, tpu_v2.Node.ApiVersion.V2
        node.id = 1_000_000_000_000_000_000 + self._made
        node.create_time.FromMilliseconds(self._world.timeline.now_ms)
        node.queued_resource, node.multislice_node = life.owner, multislice
        node.accelerator_type = life.accelerator.accelerator_type
        node.accelerator_config.type_ = rules.CONFIG_TYPES[life.accelerator.generation]
        node.accelerator_config.topology = life.accelerator.topology
        project = rules.place_of(name).project
        if not node.network_configs:
            short = (node.network_config.network or "default").rpartition("/")[2]
            node.network_config.network = f"projects/{project}/global/networks/{short}"
        if not node.service_account.email:
            number = self._world.settings.projects[project]
            node.service_account.email = f"{number}-compute@developer.gserviceaccount.com"
        if not node.service_account.scope:
            node.service_account.scope.append("https://www.googleapis.com/auth/cloud-platform")
        self.shelf.put(name, node)

    def _follow(self, name: str, life: Life, faults: tuple[Fault, ...], room: bool) -> None:
        """What becomes of it."""
        work, timings = life.work, self._world.settings.timings
        place, short = rules.place_of(name), name.rpartition("/")[2]
        late = delay(faults)
        ends = next((f for f in faults if f.do in ("stockout", "quota", "fail") and f.after), None)
        error = failure(ends, place.zone, short) if ends else None
        if error is None and not room:
            error = errors.stockout(place.zone, short)
        if error is not None:
            self._later(timings.stockout + late, name, work, lambda: self._vanish(name, error))
            return
        half = find(faults, "partial")
        dead = set(half.hosts) if half else set()
        self._later(timings.machines + late, name, work, lambda: self._make_machines(name, dead))
        if find(faults, "stuck"):
            return
        end = self._fail_partly if half and half.after else self._become_ready
        self._later(timings.ready + late, name, work, lambda: end(name))

    def _later(self, delay_ms: int, name: str, work: Work | None, act: Callable[[], None]) -> None:
        """Unless something else has begun with the node, or it is another one of that name."""

        def still() -> None:
            life = self._lives.get(name)
            if life is not None and life.work is work:
                act()

        self._world.timeline.after(delay_ms, still)

    def _vanish(self, name: str, error: errors.ApiError) -> None:
        life = self._lives[name]
        self._drop(name)
        self._world.operations.end(life.work, error=error)
        if life.told:
            life.told(error)

    def _make_machines(self, name: str, dead: set[int]) -> None:
        life, machines = self._lives[name], self._world.machines
        life.vms = of_node(self.get(name), life.accelerator, self._world)
        timings = self._world.settings.timings
        for vm in life.vms:
            machines.add(vm)
            if vm.index not in dead:
                boot = timings.boot_of.get(vm.index, timings.boot)
                self._world.timeline.after(boot, partial(self._boot, name, vm))

    def _boot(self, name: str, vm: Vm) -> None:
        if name in self._lives and self.shelf_state(name) in HOLD_MACHINES:
            self._world.machines.boot(vm)

    def _become_ready(self, name: str) -> None:
        life = self._lives[name]
        self.change(name, state=State.READY, health=Health.HEALTHY, endpoints=life.vms)
        work, life.work = life.work, None
        self._world.operations.end(work, self.get(name))
        if life.told:
            life.told(None)

    def _fail_partly(self, name: str) -> None:
        """The operation ends badly, and the node stays, to be deleted by whoever asked for it."""
        life = self._lives[name]
        words = "not all workers of the node became healthy"
        self.change(name, health=Health.TIMEOUT, description=words, endpoints=life.vms)
        error = errors.ApiError(13, f"Cloud TPU node creation failed: {words}. {errors.event_id(name)}")
        work, life.work = life.work, None
        self._world.operations.end(work, error=error)
        if life.told:
            life.told(error)

    def change(
        self,
        name: str,
        *,
        state: int | None = None,
        health: int | None = None,
        description: str | None = None,
        endpoints: list[Vm] | None = None,
    ) -> None:
        """Shows another state from now on; what is None stays."""
        node = NODE()
        node.CopyFrom(self.get(name))
        if state is not None:
            node.state = state
        if health is not None:
            node.health = health
        if description is not None:
            node.health_description = description
        if endpoints is not None:
            del node.network_endpoints[:]
            for vm in endpoints:
                end = node.network_endpoints.add(ip_address=vm.address, port=PORT)
                if node.network_config.enable_external_ips:
                    end.access_config.external_ip = vm.address
        self.shelf.put(name, node)

    def update(self, name: str, asked: Any, paths: list[str]) -> Work:
        """UpdateNode: description, tags, labels, metadata and the like."""
        node = NODE()
        node.CopyFrom(self.get(name))
        for path in paths:
            if path not in ("description", "tags", "labels", "metadata", "data_disks"):
                raise errors.invalid(f"Invalid update mask path: '{path}'")
            node.ClearField(path)
            source = NODE()
            source.CopyFrom(asked)
            for other in node.DESCRIPTOR.fields_by_name:
                if other != path:
                    source.ClearField(other)
            node.MergeFrom(source)
        rules.check_labels(dict(node.labels))
        rules.check_metadata(dict(node.metadata))
        self.shelf.put(name, node)
        for vm in self._lives[name].vms:
            vm.attributes.update(node.metadata)
            self._world.machines.tell(vm)
        work = self._world.operations.begin(name, "update")
        self._world.operations.end(work, node)
        return work

    # The end

    def delete(self, name: str, faults: tuple[Fault, ...] = (), *, by_user: bool = True) -> Work:
        """Begins it. Raises ApiError NOT_FOUND, or ABORTED where it may not be deleted now."""
        node, settings = self.get(name), self._world.settings
        life = self._lives[name]
        if node.state == State.DELETING and not settings.delete_while_deleting:
            raise errors.busy(name)
        if node.state == State.CREATING and life.work and not settings.delete_while_creating:
            raise errors.busy(name)
        told, life.told = life.told, None
        cancelled = errors.ApiError(1, "The operation was cancelled: the node was deleted.")
        self._world.operations.end(life.work, error=cancelled)
        life.work = self._world.operations.begin(name, "delete")
        self.change(name, state=State.DELETING)
        self._power_off(life)
        if told:
            told(cancelled)
        if not find(faults, "stuck"):
            wait = settings.timings.delete + delay(faults)
            self._later(wait, name, life.work, lambda: self._gone(name, by_user))
        return life.work

    def _gone(self, name: str, by_user: bool) -> None:
        work = self._lives[name].work
        self._drop(name)
        self._world.operations.end(work, empty_pb2.Empty())
        for each in self.when_ended:
            each(name, by_user)

    def _drop(self, name: str) -> None:
        life = self._lives.pop(name)
        for vm in life.vms:
            self._world.machines.scrap(vm)
        self.shelf.remove(name)
        self._world.timeline.after(0, self._world.freed)

    def _power_off(self, life: Life) -> None:
        for vm in life.vms:
            self._world.machines.cut(vm)

    def preempt(self, name: str, notice_ms: int | None = None) -> None:
        """Says so to its hosts, and takes them away after the notice; the node stays, PREEMPTED."""
        self.get(name)
        life = self._lives[name]
        for vm in life.vms:
            self._world.machines.tell(vm, preempted=True)
        wait = self._world.settings.timings.notice if notice_ms is None else notice_ms
        self._world.timeline.after(wait, lambda: self._preempted(name, life))

    def _preempted(self, name: str, life: Life) -> None:
        if self._lives.get(name) is not life or self.shelf_state(name) in (State.DELETING, State.PREEMPTED):
            return
        error = errors.ApiError(10, "The node was preempted while it was being created.")
        self._world.operations.end(life.work, error=error)
        life.work = None
        self._power_off(life)
        self.change(name, state=State.PREEMPTED, health=Health.HEALTH_UNSPECIFIED)
        self._world.timeline.after(0, self._world.freed)
        for each in self.when_ended:
            each(name, False)

    # Stopping and starting

    def stop(self, name: str) -> Work:
        """Raises ApiError unless it is READY."""
        return self._turn(name, "stop", State.READY, State.STOPPING, State.STOPPED)

    def start(self, name: str) -> Work:
        """Raises ApiError unless it is STOPPED; a preempted node cannot be started."""
        return self._turn(name, "start", State.STOPPED, State.STARTING, State.READY)

    def _turn(self, name: str, verb: str, was: int, between: int, then: int) -> Work:
        node, life = self.get(name), self._lives[name]
        if node.state != was:
            state = State(node.state).name
            raise errors.precondition(
                f"Cannot {verb} node '{name}' in state {state}; it must be {State(was).name}."
            )
        work = life.work = self._world.operations.begin(name, verb)
        self.change(name, state=between)
        if between == State.STOPPING:
            self._power_off(life)
        else:
            for vm in life.vms:
                self._world.machines.boot(vm)

        def turned() -> None:
            self.change(name, state=then)
            life.work = None
            self._world.operations.end(work, self.get(name))

        self._later(self._world.settings.timings.stop, name, work, turned)
        return work
