"""What is still open after the faults: everything that keeps a cluster from being at rest."""

from __future__ import annotations

from iris_controller.core import states as s
from iris_controller.core import unknown
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.recovery import why_held
from iris_controller.core.states import WorkerState
from iris_controller.core.world import World
from iris_platform.base import SliceCloudState, VmState
from tests.simulation.cloud import Cloud
from tests.simulation.oracle import Oracle


def open_ends(world: World, cloud: Cloud, oracle: Oracle) -> list[str]:
    """Why the cluster is not at rest, at its least size, with every job ended."""
    found = [
        f"job {status.job_id} is {status.state.name}"
        for status in oracle.statuses.values()
        if not status.state.is_terminal
    ]
    found += [f"{live.id} runs on {live.place}" for live in oracle.live.values()]
    if world.cluster.incomplete is not None:
        found.append(f"memory is incomplete: {why_held(world)}")
    # An agent that has shipped a log to an older store does not do it again.
    due = [attempt for attempts in world.logs_due.values() for attempt in attempts]
    found += [f"the log of {attempt} is due" for attempt in due if not oracle.was_before_loss(attempt)]
    found += [f"{place} has live attempts" for place, live in world.live.items() if live]
    found += [f"{host.name} remembers {host.remembers}" for host in cloud.running_hosts() if host.remembers]
    for group in world.settings.groups.values():
        found += _group(world, group)
    return found + _differences(world, cloud)


def left_over(world: World, cloud: Cloud) -> list[str]:
    """Why the cluster is not empty after a stop."""
    found = [f"the cloud has {name}" for name in cloud.slices]
    return found + [f"the store has {slice_.name} {slice_.state}" for slice_ in world.present_slices()]


def held_for_operator(world: World) -> list[str]:
    """Unknown slices that the controller says it will not delete by itself."""
    said = [word for word in unknown.words(world, world.clocks.ticked or 0) if "held" in word]
    return [name for name in world.unknown if any(f" {name}:" in word for word in said)]


def _group(world: World, group: GroupPolicy) -> list[str]:
    present = [slice_ for slice_ in world.present_slices() if slice_.group == group.name]
    floor = min(group.max_slices, max(group.min_slices, group.buffer_slices))
    found = [
        f"{slice_.name} is {slice_.state}" for slice_ in present if type(slice_.state) is not s.SliceReady
    ]
    if len(present) != floor:
        found.append(f"{group.name} has {len(present)} slices, not {floor}")
    for slice_ in present:
        for place in world.places(slice_):
            worker = world.workers.get(place)
            if worker is None or worker.state is not WorkerState.HEALTHY:
                found.append(f"worker {place} is {worker}")
    return found


def _differences(world: World, cloud: Cloud) -> list[str]:
    """Where cloud and store do not agree."""
    present = {slice_.name for slice_ in world.present_slices()}
    found = [f"the cloud has {name}, the store has not" for name in cloud.slices if name not in present]
    for name in sorted(present):
        slice_ = cloud.slices.get(name)
        if slice_ is None:
            found.append(f"the store has {name}, the cloud has not")
        elif slice_.state is not SliceCloudState.RUNNING:
            found.append(f"the cloud has {name} as {slice_.state.value}")
        elif any(vm.state is not VmState.RUNNING for vm in slice_.vms):
            found.append(f"not all hosts of {name} run")
    return found
