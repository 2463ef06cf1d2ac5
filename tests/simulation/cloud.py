"""The simulated provider: slices that come, live and go in their own time.

Holds what is really there. `calls` is the way that the controller sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from iris_controller.core.values import Place
from iris_platform.base import Failure, NoCapacity, QuotaExceeded, SliceCloudState, SliceInfo, VmInfo, VmState
from iris_platform.names import slice_labels
from tests.simulation.hosts import Host
from tests.simulation.oracle import Oracle
from tests.simulation.scene import CLUSTER
from tests.simulation.stage import Stage

# How far behind a list of slices may be, and how long deleted ones are kept for that.
LONGEST_LAG_MS = 20_000


@dataclass
class Vm:
    """One machine of a slice."""

    state: VmState = VmState.BOOTING
    host: Host | None = None


@dataclass
class CloudSlice:
    """A slice that is really there, or was."""

    name: str
    group: str
    zone: str
    created_ms: int
    state: SliceCloudState = SliceCloudState.CREATING
    vms: list[Vm] = field(default_factory=list)
    failure: Failure | None = None
    gone_ms: int | None = None


class Cloud:
    """All providers of a simulation."""

    def __init__(self, stage: Stage, oracle: Oracle, make_host: Callable[[Place, str, str], Host]) -> None:
        """`make_host` starts the agent of a machine at a place, of a scale group, in a zone."""
        self._stage = stage
        self._oracle = oracle
        self._make_host = make_host
        self._random = stage.random("cloud")
        self._gone: list[CloudSlice] = []
        # How often a name was made; of two slices with one name a late list may show the first.
        self._made: dict[str, int] = {}
        self.slices: dict[str, CloudSlice] = {}
        # Names whose creation may take effect after everybody has given it up.
        self.lands_late: dict[str, None] = {}
        self.full_until_ms: dict[str, int] = {}
        self.unreachable_until_ms = 0

    def provider(self, group: str) -> str:
        """The provider of a scale group."""
        return self._stage.scene.settings.groups[group].provider

    # -- what can be asked for ---------------------------------------------

    def create(self, name: str, group: str, zone: str) -> None:
        """Accepts a slice; the same name again is the same slice.

        Raises:
            NoCapacity: there is none left in that zone.
            QuotaExceeded: its project may have no more there.
        """
        there = self.slices.get(name)
        if there is not None:
            assert (there.group, there.zone) == (group, zone), f"{name} was asked for in two places"
            return
        self._check_capacity(self.provider(group), zone)
        self._made[name] = self._made.get(name, 0) + 1
        made = CloudSlice(name, group, zone, self._stage.engine.now_ms)
        self.slices[name] = made
        self._stage.story.tell("cloud", f"{name} is being made")
        self._oracle.on_cloud_slice(name, group, zone, [s.name for s in self.slices.values()])
        valid_ms = self._stage.scene.settings.groups[group].queued_for_ms
        if valid_ms is None:
            self._build(made)
        else:
            self._put_in_line(made, valid_ms)

    def _put_in_line(self, made: CloudSlice, valid_ms: int) -> None:
        """It is served in its turn, or fails when its validity is over; then it stays until it is deleted."""
        faults = self._stage.faults
        turn_ms = self._random.choice((500, 5_000, valid_ms // 2))
        if faults.hits("line_is_long"):
            turn_ms = faults.between("line_is_long", valid_ms - 10_000, valid_ms + 10_000)
        if turn_ms < valid_ms:
            self._later(made, turn_ms, turn_ms, lambda: self._serve(made))
        else:
            self._later(made, valid_ms, valid_ms, lambda: self.fail(made, Failure.NO_CAPACITY))

    def _serve(self, made: CloudSlice) -> None:
        if made.state is SliceCloudState.CREATING:
            self._stage.story.tell("cloud", f"{made.name} has come to its turn")
            self._build(made)

    def _build(self, made: CloudSlice) -> None:
        faults = self._stage.faults
        hosts = self._stage.scene.settings.groups[made.group].hosts
        if faults.hits("create_fails_late"):
            why = (Failure.NO_CAPACITY, Failure.QUOTA)[faults.pick("create_fails_late", 2)]
            self._later(made, 1_000, 15_000, lambda: self.fail(made, why))
            return
        made.vms = [Vm() for _ in range(hosts)]
        broken = faults.pick("create_fails_half_way", hosts) if faults.hits("create_fails_half_way") else None
        for index in range(hosts):
            if index == broken:
                self._later(made, 100, 8_000, lambda: self.fail(made))
            elif not faults.hits("host_never_boots"):
                self._later(made, 100, 8_000, partial(self._boot, made, index))

    def _check_capacity(self, provider: str, zone: str) -> None:
        if not self._stage.faults.are_on:
            return
        if self._stage.engine.now_ms < self.full_until_ms.get(zone, 0):
            raise NoCapacity(f"{provider} has no capacity left in {zone}")
        taken = sum(1 for s in self.slices.values() if s.zone == zone and self.provider(s.group) == provider)
        if taken >= self._stage.scene.quotas[provider, zone]:
            raise QuotaExceeded(f"{provider} may have no more than {taken} slices in {zone}")

    def delete(self, name: str) -> None:
        """Accepts a deletion; fine if there is nothing."""
        slice_ = self.slices.get(name)
        if slice_ is None or slice_.state is SliceCloudState.DELETING:
            return
        self._stage.story.tell("cloud", f"{name} is being deleted")
        slice_.state = SliceCloudState.DELETING
        slow = self._random.choice((500, 3_000, 15_000))
        for index in range(len(slice_.vms)):
            self._later(slice_, 0, slow, partial(self.kill, slice_, index))
        self._later(slice_, slow, slow + 1_000, lambda: self.vanish(slice_))

    def get(self, name: str) -> SliceInfo | None:
        """What is known by this name now."""
        slice_ = self.slices.get(name)
        return None if slice_ is None else self._info(slice_)

    def listing(self, provider: str, zone: str, lag_ms: int) -> tuple[SliceInfo, ...]:
        """A complete list, of a moment ago: without what is newer, with what was there then."""
        then_ms = self._stage.engine.now_ms - lag_ms
        past = [s for s in self._gone if s.gone_ms is not None and s.gone_ms > then_ms]
        return tuple(
            self._info(s)
            for s in [*self.slices.values(), *past]
            if s.created_ms <= then_ms and s.zone == zone and self.provider(s.group) == provider
        )

    def on_listed(self, provider: str, zone: str, seen: Iterable[SliceInfo]) -> None:
        """A list has reached the controller."""
        self._oracle.on_listed(provider, zone, [info.slice_id for info in seen])

    def _info(self, slice_: CloudSlice) -> SliceInfo:
        cluster_id = self._stage.scene.settings.cluster_id
        labels = slice_labels(CLUSTER, cluster_id, slice_.group, slice_.name)
        vms = tuple(
            VmInfo(f"{slice_.name}-{index}", "10.0.0.1", slice_.zone, labels, vm.state, slice_.created_ms)
            for index, vm in enumerate(slice_.vms)
        )
        made_ms, why = slice_.created_ms, slice_.failure
        return SliceInfo(slice_.name, slice_.zone, labels, slice_.state, vms, made_ms, failure=why)

    # -- what happens ------------------------------------------------------

    def _later(self, slice_: CloudSlice, least_ms: int, most_ms: int, action: Callable[[], None]) -> None:
        """Something that happens to a slice, unless it is gone by then."""

        def happen() -> None:
            if slice_.gone_ms is None:
                action()

        self._stage.engine.after(self._random.randint(least_ms, most_ms), happen)

    def _boot(self, slice_: CloudSlice, index: int) -> None:
        vm = slice_.vms[index]
        if vm.state is not VmState.BOOTING:
            return
        vm.state = VmState.RUNNING
        vm.host = self._make_host(Place(slice_.name, index), slice_.group, slice_.zone)
        all_run = all(v.state is VmState.RUNNING for v in slice_.vms)
        if all_run and slice_.state is SliceCloudState.CREATING:
            slice_.state = SliceCloudState.RUNNING
        self._stage.story.tell("cloud", f"{slice_.name}/{index} has booted")

    def kill(self, slice_: CloudSlice, index: int) -> None:
        """One machine stops for good, with all that runs on it."""
        vm = slice_.vms[index]
        if vm.state is VmState.TERMINATED:
            return
        vm.state = VmState.TERMINATED
        if vm.host is not None:
            vm.host.die()
        self._stage.story.tell("cloud", f"{slice_.name}/{index} has stopped")

    def fail(self, slice_: CloudSlice, failure: Failure | None = None) -> None:
        """The provider gives a slice up; its machines, if it has any, may well go on."""
        if slice_.state in (SliceCloudState.CREATING, SliceCloudState.RUNNING):
            slice_.state, slice_.failure = SliceCloudState.FAILED, failure
            self._stage.story.tell("cloud", f"{slice_.name} has failed")

    def preempt(self, slice_: CloudSlice) -> None:
        """The provider takes the machines back, and still lists the slice."""
        self._kill_all(slice_)
        slice_.state = SliceCloudState.PREEMPTED
        self._stage.story.tell("cloud", f"{slice_.name} was preempted")

    def preempt_zone(self, zone: str) -> int:
        """The provider wants all of its machines in a zone back; returns of how many slices."""
        taken = [
            s
            for s in self.slices.values()
            if s.zone == zone and self.provider(s.group) == "tpu" and s.state is not SliceCloudState.DELETING
        ]
        for slice_ in taken:
            self.preempt(slice_)
        return len(taken)

    def vanish(self, slice_: CloudSlice) -> None:
        """A slice is there no more."""
        self._kill_all(slice_)
        slice_.gone_ms = self._stage.engine.now_ms
        del self.slices[slice_.name]
        self._gone = [
            s for s in self._gone if s.gone_ms is not None and s.gone_ms > slice_.gone_ms - LONGEST_LAG_MS
        ]
        self._gone.append(slice_)
        self._stage.story.tell("cloud", f"{slice_.name} is gone")

    def _kill_all(self, slice_: CloudSlice) -> None:
        for index in range(len(slice_.vms)):
            self.kill(slice_, index)

    def remove_agent(self, place: Place, group: str) -> None:
        """An agent without a controller takes itself away, on a cloud with its whole slice.

        Worker 0 does that at once, the others a little later if it did not.
        """
        slice_ = self.slices.get(place.slice_name)
        if slice_ is None:
            return
        if self.provider(group) == "tpu":
            wait_ms = min(place.worker_index, 4) * 10_000
            self._later(slice_, wait_ms, wait_ms, lambda: self.delete(slice_.name))
        else:
            self.kill(slice_, place.worker_index)

    def is_sound(self, name: str) -> bool:
        """Whether a slice is there, comes or runs, and none of its machines has stopped."""
        slice_ = self.slices.get(name)
        good = (SliceCloudState.CREATING, SliceCloudState.RUNNING)
        return (
            slice_ is not None
            and self._made[name] == 1
            and slice_.state in good
            and all(vm.state is not VmState.TERMINATED for vm in slice_.vms)
        )

    def running_hosts(self) -> list[Host]:
        """Every machine that is up, in the order of its slice's creation."""
        return [
            vm.host
            for slice_ in self.slices.values()
            for vm in slice_.vms
            if vm.host is not None and vm.state is VmState.RUNNING
        ]
