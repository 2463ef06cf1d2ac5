"""Faults that come by themselves: each in its own time, at whatever is there to be hit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from iris_platform.base import SliceCloudState
from tests.simulation.cloud import Cloud, CloudSlice
from tests.simulation.faults import INTERVALS
from tests.simulation.hosts import Host
from tests.simulation.machine import COPIES_KEPT, Machine
from tests.simulation.scene import ZONES
from tests.simulation.site import Site
from tests.simulation.stage import Stage
from tests.simulation.users import Users

# How far the wall clock may be set back or forth.
JUMPS_MS = (-3_600_000, -3_600_000, -60_000, -2_000, 2_000, 60_000, 3_600_000)


# Shorter ones may not be noticed between two ticks.
SHORTEST_STALL_MS = 4_000

# These need no agent to hit.
ANY_HOST = ("host_reboots", "host_cut_off", "host_suspended")
# Only where machines can be suspended alone.
SUPERVISED = ("host_suspended",)


class Chaos:
    """All of them; see `faults.INTERVALS`."""

    def __init__(self, stage: Stage, site: Site, machine: Machine, cloud: Cloud, users: Users) -> None:
        self._stage = stage
        self._site = site
        self._machine = machine
        self._cloud = cloud
        self._users = users
        # Each says whether it found something to hit.
        self._acts: Mapping[str, Callable[[str], bool]] = {
            "controller_killed": self._kill_controller,
            "controller_stalls": self._stall_controller,
            "wall_clock_jumps": self._jump,
            "cloud_unreachable": self._cut_cloud,
            "cloud_full": self._fill_cloud,
            "slice_preempted": self._on_slice(lambda name, slice_: cloud.preempt(slice_)),
            "zone_preempted": self._preempt_zone,
            "slice_vanishes": self._on_slice(lambda name, slice_: cloud.vanish(slice_)),
            "slice_fails": self._on_slice(lambda name, slice_: cloud.fail(slice_)),
            "host_dies": self._on_slice(self._kill_host),
            "host_reboots": self._on_host(lambda name, host: host.reboot()),
            "agent_killed": self._on_host(lambda name, host: host.kill_agent()),
            "session_killed": self._on_host(lambda name, host: host.kill_session()),
            "line_breaks": self._on_host(lambda name, host: host.break_lines(3_000, 20_000)),
            "host_cut_off": self._on_host(self._cut_off),
            "agent_leaves_tasks": self._on_host(lambda name, host: host.leave_tasks_alone()),
            "host_suspended": self._on_host(self._suspend),
            "network_out": self._cut_all_off,
            "store_copied": self._copy_store,
            "store_lost": self._lose_store,
            "store_restored": self._restore_store,
            "cluster_stopped": self._stop_cluster,
        }
        assert self._acts.keys() == INTERVALS.keys()

    def start(self) -> None:
        """From now on they come."""
        for name in self._acts:
            self._plan(name)

    def _plan(self, name: str) -> None:
        delay_ms = self._stage.faults.next_ms(name)
        if delay_ms is not None:
            self._stage.engine.after(delay_ms, lambda: self._come(name))

    def _come(self, name: str) -> None:
        if not self._stage.faults.are_on:
            return
        if self._acts[name](name):
            self._stage.faults.happened(name)
        self._plan(name)

    def end(self) -> None:
        """Faults are over: what they began ends now."""
        self._stage.faults.off()
        self._cloud.unreachable_until_ms = 0
        self._cloud.full_until_ms.clear()
        if self._machine.stalled_until_ms > self._stage.engine.now_ms:
            self._machine.stalled_until_ms = 0
            self._machine.oracle.fleet.on_stalled(self._stage.engine.now_ms)
        if not self._site.is_whole:
            self._site.crash("to be configured again")
        for host in self._cloud.running_hosts():
            host.set_right()

    # -- the controller ----------------------------------------------------------

    def _kill_controller(self, name: str) -> bool:
        there = self._site.controller is not None
        self._site.crash("of kill -9")
        return there

    def _stall_controller(self, name: str) -> bool:
        stall_ms = self._stage.faults.between(name, 1_000, 15_000 if self._coin(name) else 150_000)
        self._stage.story.tell("controller", f"stands still for {stall_ms} ms")
        self._machine.stalled_until_ms = self._stage.engine.now_ms + stall_ms
        if stall_ms > SHORTEST_STALL_MS:
            self._machine.oracle.fleet.on_stalled(self._machine.stalled_until_ms)
        return self._site.controller is not None

    def _coin(self, name: str) -> bool:
        return self._stage.faults.pick(name, 2) == 0

    def _copy_store(self, name: str) -> bool:
        self._machine.copy_store()
        return True

    def _lose_store(self, name: str) -> bool:
        if self._site.controller is None:
            return False
        self._site.crash("with its state directory")
        self._machine.lose_store()
        if self._coin(name):
            # The same outage silences the hosts, some for good.
            for_good = self._coin(name)
            for host in self._cloud.running_hosts():
                if for_good:
                    host.fall_silent()
                else:
                    host.cut_off(self._stage.faults.between(name, 60_000, 250_000))
        return True

    def _restore_store(self, name: str) -> bool:
        if self._site.controller is None or not self._machine.has_older_copy:
            return False
        self._site.crash("and an older store is brought back")
        self._machine.restore_store(self._stage.faults.pick(name, COPIES_KEPT))
        return True

    def _jump(self, name: str) -> bool:
        by_ms = JUMPS_MS[self._stage.faults.pick(name, len(JUMPS_MS))]
        self._stage.story.tell("controller", f"its wall clock jumps by {by_ms} ms")
        self._machine.shift_wall(by_ms)
        return True

    def _stop_cluster(self, name: str) -> bool:
        return self._users.stop_cluster(self._stage.faults.between(name, 1_000, 40_000))

    # -- the cloud -----------------------------------------------------------------

    def _cut_cloud(self, name: str) -> bool:
        self._cloud.unreachable_until_ms = self._until(name)
        return True

    def _fill_cloud(self, name: str) -> bool:
        zones = ZONES if self._coin(name) else (self._zone(name),)
        self._cloud.full_until_ms.update(dict.fromkeys(zones, self._until(name)))
        return True

    def _preempt_zone(self, name: str) -> bool:
        zone = self._zone(name)
        taken = self._cloud.preempt_zone(zone)
        self._stage.story.tell("fault", f"{name} {zone}: {taken} slices")
        return taken > 0

    def _zone(self, name: str) -> str:
        return ZONES[self._stage.faults.pick(name, len(ZONES))]

    def _until(self, name: str) -> int:
        return self._stage.engine.now_ms + self._stage.faults.between(name, 5_000, 60_000)

    def _on_slice(self, act: Callable[[str, CloudSlice], object]) -> Callable[[str], bool]:
        def hit(name: str) -> bool:
            there = [s for s in self._cloud.slices.values() if s.state is not SliceCloudState.DELETING]
            if there:
                slice_ = there[self._stage.faults.pick(name, len(there))]
                self._stage.story.tell("fault", f"{name} {slice_.name}")
                act(name, slice_)
            return bool(there)

        return hit

    def _kill_host(self, name: str, slice_: CloudSlice) -> None:
        if slice_.vms:
            self._cloud.kill(slice_, self._stage.faults.pick(name, len(slice_.vms)))

    # -- hosts ---------------------------------------------------------------------

    def _on_host(self, act: Callable[[str, Host], None]) -> Callable[[str], bool]:
        def hit(name: str) -> bool:
            hosts = [
                host
                for host in self._cloud.running_hosts()
                if (host.has_agent or name in ANY_HOST) and (host.is_supervised or name not in SUPERVISED)
            ]
            if hosts:
                host = hosts[self._stage.faults.pick(name, len(hosts))]
                self._stage.story.tell("fault", f"{name} {host.name}")
                act(name, host)
            return bool(hosts)

        return hit

    def _cut_off(self, name: str, host: Host) -> None:
        for_ms = self._stage.faults.between(name, 1_000, 20_000 if self._coin(name) else 180_000)
        if self._coin(name):
            host.cut_off(for_ms)
        else:
            host.slow_down(self._stage.faults.between(name, 5_000, 25_000), for_ms)

    def _cut_all_off(self, name: str) -> bool:
        for_ms = self._stage.faults.between(name, 5_000, 90_000)
        hosts = self._cloud.running_hosts()
        self._stage.story.tell("fault", f"nothing gets through to {len(hosts)} hosts for {for_ms} ms")
        for host in hosts:
            host.cut_off(for_ms)
        return bool(hosts)

    def _suspend(self, name: str, host: Host) -> None:
        host.suspend(self._stage.faults.between(name, 1_000, 120_000))
