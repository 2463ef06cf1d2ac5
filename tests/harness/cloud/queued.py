"""Queued resources: a wish that waits for hardware, and holds quota until it is deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from google.cloud import tpu_v2
from google.protobuf import empty_pb2

from iris_config.accelerators import Accelerator
from tests.harness.cloud import errors, rules
from tests.harness.cloud.faults import Fault, delay, find
from tests.harness.cloud.nodes import NODE, Life, Nodes
from tests.harness.cloud.operations import Work
from tests.harness.cloud.timeline import Shelf
from tests.harness.cloud.world import FOR_EVER, World, failure, refuse_at_once

QUEUED: Any = tpu_v2.QueuedResource.pb()
State = tpu_v2.QueuedResourceState.State
Initiator = tpu_v2.QueuedResourceState.StateInitiator
EXPIRES_IN = (State.CREATING, State.ACCEPTED, State.WAITING_FOR_RESOURCES)
# Those in which the API deletes without force, whatever nodes there are.
DELETABLE = (State.ACCEPTED, State.WAITING_FOR_RESOURCES, State.FAILED, State.SUSPENDED)
ON_CREATED_NODES = ("partial", "stockout", "quota", "fail")


@dataclass
class Wish:
    """What a queued resource is beside what the API shows."""

    nodes: dict[str, Any]  # full name -> the node as it was asked for
    accelerators: dict[str, Accelerator]
    spot: bool
    request_id: str
    multislice: bool
    faults: tuple[Fault, ...]
    until_ms: int = FOR_EVER
    after_ms: int = 0
    created: Work | None = None
    deletion: Work | None = None
    initiator: int = Initiator.STATE_INITIATOR_UNSPECIFIED
    ready: set[str] = field(default_factory=set)


class QueuedResources:
    """All of them. Names are full: `projects/P/locations/Z/queuedResources/Q`."""

    def __init__(self, world: World, nodes: Nodes) -> None:
        self._world = world
        self._nodes = nodes
        self.shelf: Shelf[Any] = Shelf(world.timeline)
        self._wishes: dict[str, Wish] = {}
        nodes.when_ended.append(self._node_ended)
        world.when_freed.append(self._look_for_room)

    def get(self, name: str) -> Any:
        """Raises ApiError NOT_FOUND."""
        resource = self.shelf.get(name)
        if resource is None:
            raise errors.not_found(name)
        return resource

    def state(self, name: str) -> int:
        """Of one that exists."""
        return int(self.get(name).state.state)

    def chips_used(self, place: rules.Place, generation: str, spot: bool) -> int:
        """Chips of every one that is not deleted, in whatever state."""
        return sum(
            accelerator.chips
            for name, wish in self._wishes.items()
            if rules.place_of(name) == place and wish.spot == spot
            for accelerator in wish.accelerators.values()
            if accelerator.generation == generation
        )

    # Creation

    def create(
        self,
        name: str,
        asked: Any,
        accelerators: list[Accelerator],
        request_id: str,
        faults: tuple[Fault, ...],
    ) -> Work:
        """Begins it; the request has been found good. Raises ApiError where it ends at once."""
        place, short = rules.place_of(name), name.rpartition("/")[2]
        known = self._wishes.get(name)
        if known and known.created and request_id and known.request_id == request_id:
            return known.created
        if known:
            raise errors.already_exists(name)
        wish = _wish(place, short, asked, accelerators, request_id, faults)
        for node in wish.nodes:
            if self._nodes.exists(node):
                raise errors.already_exists(node)
        refuse_at_once(faults, place.zone, short)
        now = self._world.timeline.now_ms
        wish.until_ms, wish.after_ms = _window(asked.queueing_policy, now)
        wish.created = self._world.operations.begin(name, "create")
        resource = QUEUED()
        resource.CopyFrom(asked)
        resource.name = name
        resource.ClearField("state")
        resource.create_time.FromMilliseconds(now)
        resource.state.state = State.CREATING
        resource.state.creating_data.SetInParent()
        self._wishes[name] = wish
        self.shelf.put(name, resource)
        self._world.timeline.after(self._world.settings.timings.validate, lambda: self._accept(name, wish))
        if wish.until_ms < FOR_EVER:
            self._world.timeline.after(wish.until_ms - now, lambda: self._expire(name, wish))
        return wish.created

    def _is(self, name: str, wish: Wish, *states: int) -> bool:
        return self._wishes.get(name) is wish and self.state(name) in states

    def _accept(self, name: str, wish: Wish) -> None:
        if not self._is(name, wish, State.CREATING):
            return
        over = self._over_quota(name, wish)
        self.show(name, State.WAITING_FOR_RESOURCES)
        self._world.operations.end(wish.created, self.get(name))
        ends = next((f for f in wish.faults if f.do in ("quota", "fail") and f.after), None)
        if ends:
            over = failure(ends, rules.place_of(name).zone, name.rpartition("/")[2])
        if over:
            self._fail(name, over)
        elif not find(wish.faults, "stuck"):
            wait = self._world.settings.timings.queue + delay(wish.faults)
            wait = max(wait, wish.after_ms - self._world.timeline.now_ms)
            self._world.timeline.after(wait, lambda: self._come_up(name, wish))

    def _over_quota(self, name: str, wish: Wish) -> errors.ApiError | None:
        place = rules.place_of(name)
        for accelerator in wish.accelerators.values():
            used = self.chips_used(place, accelerator.generation, wish.spot)
            used += self._nodes.chips_used(place, accelerator.generation, wish.spot)
            limits = self._world.limits
            if over := limits.over_quota(place.project, place.zone, accelerator, wish.spot, used):
                return over
        return None

    def _come_up(self, name: str, wish: Wish) -> None:
        """Its turn has come; from now on it takes what there is."""
        wish.after_ms = -1
        self._provision(name, wish)

    def _look_for_room(self) -> None:
        for name, wish in sorted(self._wishes.items()):
            if wish.after_ms < 0:
                self._provision(name, wish)

    def _provision(self, name: str, wish: Wish) -> None:
        if not self._is(name, wish, State.WAITING_FOR_RESOURCES):
            return
        zone = rules.place_of(name).zone
        same = list(wish.accelerators.values())
        if not all(self._nodes.has_room(zone, each, same.count(each)) for each in same):
            return
        self.show(name, State.PROVISIONING)
        faults = tuple(fault for fault in wish.faults if fault.do in ON_CREATED_NODES and fault.after)
        for node, asked in wish.nodes.items():
            life = Life(wish.accelerators[node], wish.spot, owner=name)
            life.told = partial(self._node_made, name, wish, node)
            try:
                self._nodes.create(node, asked, life, faults, multislice=wish.multislice)
            except errors.ApiError as error:
                self._fail(name, error)
                return

    def _node_made(self, name: str, wish: Wish, node: str, error: errors.ApiError | None) -> None:
        if not self._is(name, wish, State.PROVISIONING):
            return
        if error:
            self._fail(name, error)
            return
        wish.ready.add(node)
        if wish.ready == set(wish.nodes):
            self.show(name, State.ACTIVE)

    def _expire(self, name: str, wish: Wish) -> None:
        if self._is(name, wish, *EXPIRES_IN):
            self._fail(
                name, errors.ApiError(4, "The queued resource was not provisioned before its end time.")
            )

    def _fail(self, name: str, error: errors.ApiError) -> None:
        self.show(name, State.FAILED, error=error)

    def show(
        self,
        name: str,
        state: int,
        *,
        error: errors.ApiError | None = None,
        initiator: int = Initiator.STATE_INITIATOR_UNSPECIFIED,
    ) -> None:
        """Shows another state from now on."""
        resource = QUEUED()
        resource.CopyFrom(self.get(name))
        resource.ClearField("state")
        resource.state.state, resource.state.state_initiator = state, initiator
        data = f"{State(state).name.lower()}_data"
        if error:
            resource.state.failed_data.error.code = error.code
            resource.state.failed_data.error.message = error.message
        elif data in resource.state.DESCRIPTOR.fields_by_name:
            getattr(resource.state, data).SetInParent()
        self.shelf.put(name, resource)

    # The end

    def delete(self, name: str, force: bool, faults: tuple[Fault, ...] = ()) -> Work:
        """Begins it. Raises ApiError NOT_FOUND, or what keeps it from being deleted now."""
        state, wish = self.state(name), self._wishes[name]
        if state == State.DELETING and not self._world.settings.delete_while_deleting:
            raise errors.busy(name)
        left = [node for node in wish.nodes if self._owns(name, node)]
        if left and not force and state not in DELETABLE:
            raise errors.precondition(
                f"Queued resource '{name}' is in state {State(state).name} and has nodes; delete its nodes first, or"
                " set force to true."
            )
        wish.deletion = self._world.operations.begin(name, "delete")
        self._world.operations.end(wish.created, error=errors.ApiError(1, "The operation was cancelled."))
        self.show(name, State.DELETING)
        if force:
            for node in left:
                if self._nodes.shelf_state(node) != tpu_v2.Node.State.DELETING:
                    self._nodes.delete(node)
        if not find(faults, "stuck"):
            wait = self._world.settings.timings.delete + delay(faults)
            self._world.timeline.after(wait, lambda: self._gone(name, wish, force))
        return wish.deletion

    def _owns(self, name: str, node: str) -> bool:
        return self._nodes.exists(node) and self._nodes.life(node).owner == name

    def _gone(self, name: str, wish: Wish, force: bool) -> None:
        if self._wishes.get(name) is not wish:
            return
        if force and any(self._owns(name, node) for node in wish.nodes):
            # One of its nodes is stuck, and so is it.
            timings = self._world.settings.timings
            self._world.timeline.after(max(timings.delete, 1), lambda: self._gone(name, wish, force))
            return
        del self._wishes[name]
        self.shelf.remove(name)
        self._world.operations.end(wish.deletion, empty_pb2.Empty())
        self._world.timeline.after(0, self._world.freed)

    def _node_ended(self, node: str, by_user: bool) -> None:
        """A node was deleted or preempted: what asked for it is over too."""
        for name, wish in list(self._wishes.items()):
            if node in wish.nodes and self._is(name, wish, State.ACTIVE, State.PROVISIONING):
                wish.initiator = Initiator.USER if by_user else Initiator.SERVICE
                self.show(name, State.SUSPENDING, initiator=wish.initiator)
                wait = self._world.settings.timings.suspend
                self._world.timeline.after(wait, partial(self._suspended, name, wish))

    def _suspended(self, name: str, wish: Wish) -> None:
        if self._is(name, wish, State.SUSPENDING):
            self.show(name, State.SUSPENDED, initiator=wish.initiator)

    def reset(self, name: str) -> Work:
        """ResetQueuedResource: FAILED or SUSPENDED, and without nodes, back into the queue."""
        state, wish = self.state(name), self._wishes[name]
        left = [node for node in wish.nodes if self._owns(name, node)]
        if state not in (State.FAILED, State.SUSPENDED) or left:
            raise errors.precondition(
                f"Queued resource '{name}' cannot be reset in state {State(state).name}."
            )
        work = self._world.operations.begin(name, "reset")
        wish.ready.clear()
        wish.faults, wish.after_ms = (), 0
        self.show(name, State.WAITING_FOR_RESOURCES)
        wait = self._world.settings.timings.queue
        self._world.timeline.after(wait, lambda: self._come_up(name, wish))
        self._world.operations.end(work, self.get(name))
        return work


def _wish(
    place: rules.Place,
    short: str,
    asked: Any,
    accelerators: list[Accelerator],
    request_id: str,
    faults: tuple[Fault, ...],
) -> Wish:
    spot = asked.WhichOneof("tier") == "spot"
    wish = Wish({}, {}, spot, request_id, False, faults)
    for spec, accelerator in zip(asked.tpu.node_spec, accelerators, strict=True):
        names = [spec.node_id]
        if not spec.node_id:
            wish.multislice = True
            prefix = spec.multislice_params.node_id_prefix or short
            names = [f"{prefix}-{number}" for number in range(spec.multislice_params.node_count)]
        for each in names:
            node = NODE()
            node.CopyFrom(spec.node)
            if spot:
                node.scheduling_config.spot = True
            if asked.reservation_name:
                node.scheduling_config.reserved = True
            wish.nodes[f"{place}/nodes/{each}"] = node
            wish.accelerators[f"{place}/nodes/{each}"] = accelerator
    return wish


def _window(policy: Any, now_ms: int) -> tuple[int, int]:
    """Until when and from when on it may be provisioned."""
    until, after = FOR_EVER, 0
    if policy.HasField("valid_until_duration"):
        until = now_ms + policy.valid_until_duration.ToMilliseconds()
    elif policy.HasField("valid_until_time"):
        until = policy.valid_until_time.ToMilliseconds()
    elif policy.HasField("valid_after_duration"):
        after = now_ms + policy.valid_after_duration.ToMilliseconds()
    elif policy.HasField("valid_after_time"):
        after = policy.valid_after_time.ToMilliseconds()
    elif policy.HasField("valid_interval"):
        after = policy.valid_interval.start_time.ToMilliseconds()
        until = policy.valid_interval.end_time.ToMilliseconds()
    return until, after
