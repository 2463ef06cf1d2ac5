"""A controller in this process on a test cloud, where all time is the test's: an hour passes in moments.

Real are the rules, the loop, the store on its disk, the effects on their threads, Google's
client library and what it sends. Played are the agents (`cloud_hosts`).

    async with on_cloud(tmp_path, tpu(EAST, at_most=2)) as it:
        jobs = await it.submit(2)
        await it.until(lambda: it.run(jobs))
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from iris_config import parse_config
from iris_controller.codec.settings import settings
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.moves import node_name
from iris_controller.core.states import SliceGone
from iris_controller.core.values import Now, Place, TaskId
from iris_controller.shell.controller import Controller
from iris_controller.shell.memory import Memory, open_store
from iris_controller.shell.perform import Performer
from iris_controller.shell.platforms import by_provider, highest_epoch
from iris_platform import ClusterPaths, PlatformSettings
from iris_platform.base import ClusterIdentity
from iris_platform.gcp import TpuPlatform
from iris_platform.gcp.deadlines import Deadlines
from iris_platform.names import parse_slice_name
from tests.controller.agents import spec
from tests.controller.cloud_hosts import Host
from tests.harness.cloud import CloudServer, Settings
from tests.platform.gcp.clouds import joining

EAST, WEST = "us-central1-a", "europe-west4-b"
PROJECT, OTHER_PROJECT = "test-project", "other-project"
CLOUD = Settings(projects={PROJECT: 123456789012, OTHER_PROJECT: 210987654321})
IDENTITY = ClusterIdentity("test", "abcdefgh27")
# One host each, so that two groups can be told apart by what a job asks for.
TYPE, OTHER_TYPE = "v5litepod-8", "v5litepod-4"
# No longer than the controller's own clock may stand still without being called a stall.
STEP_MS = 2_000
BEAT_MS = 10_000
# These are on the wall: what fails is not tried for long. Nobody counts on how fast this machine is.
DEADLINES = Deadlines(
    try_s=15.0, read_s=0.05, list_s=15.0, write_s=15.0, first_pause_s=0.01, longest_pause_s=0.02
)
# What answers lead to, again and again, before time goes on.
MOST_ROUNDS = 20
WITHIN_S = 120


def tpu(
    zones: str,
    name: str = "tpu",
    *,
    at_most: int = 1,
    at_least: int = 0,
    priority: int = 100,
    kind: str = TYPE,
    project: str = PROJECT,
    provider: str = "",
    more: str = "",
) -> str:
    """A scale group in YAML; `zones` between commas, `provider` and `more` are fields of its own."""
    where = f"project_id: {project}{provider}"
    return (
        f"  {name}:\n    provider: {{ tpu: {{ {where} }} }}\n    accelerator_type: {kind}\n"
        f"    zones: [{zones}]\n    min_slices: {at_least}\n    max_slices: {at_most}\n"
        f"    priority: {priority}\n    idle_timeout: 24h\n{more}"
    )


class OnCloud:
    """One cluster; `hosts` are the agents that live, by the keys of their machines.

    Slices in `without_agents` have machines on which none ever starts; agents of those in
    `cut_off` go on and do not find the controller that starts next, until `reach_it`.
    """

    def __init__(self, home: Path, server: CloudServer, groups: str, creates_per_minute: int) -> None:
        self.server, self.cloud = server, server.client
        text = f"name: {IDENTITY.cluster}\nautoscaler: {{ max_creates_per_minute: {creates_per_minute} }}\n"
        text += f"endpoints: {{ tpu: '{server.url}' }}\nscale_groups:\n{groups}"
        self.config = parse_config(text)
        self.settings = settings(self.config.proto, IDENTITY.cluster_id)
        self.paths = ClusterPaths(home / "state", home / "pki", home / "local")
        self.now = Now(5_000_000, self.cloud.now())
        self.hosts: dict[str, Host] = {}
        self.without_agents: set[str] = set()
        self.cut_off: set[str] = set()
        self.deadlines = DEADLINES
        self.platforms: dict[str, TpuPlatform] = {}
        self._sessions: dict[int, Host] = {}
        self._numbers = itertools.count(1)
        self._said: list[e.Event] = []
        self._calls = 0

    # -- the controller ------------------------------------------------------

    async def start(self) -> None:
        """As its executable does, on what is on the disk."""
        for directory in (self.paths.state_dir, self.paths.pki_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self.platforms = self._open_platforms()
        store = open_store(
            self.paths.store_file, self.paths.pki_dir, IDENTITY.cluster_id, secrets.token_bytes
        )
        memory = Memory(store, self.paths.pki_dir)
        epoch = memory.begin(self.now.wall_ms, highest_epoch(self.platforms.values()))
        self.controller = Controller(self.settings, epoch, memory, lambda: self.now, self._deliver)
        provider_of = {name: group.provider for name, group in self.settings.groups.items()}
        self._performer = Performer(
            {name: self.platforms[name].vm_manager(g) for name, g in self.config.scale_groups.items()},
            self.platforms,
            by_provider(provider_of, self.platforms),
            self.controller.post,
        )
        self._loop = asyncio.create_task(self.controller.run())
        for host in self.hosts.values():
            if host.place.slice_name not in self.cut_off:
                self._dials(host)

    def reach_it(self) -> None:
        """Agents that were cut off find the controller again."""
        for host in self.hosts.values():
            if host.place.slice_name in self.cut_off:
                self._dials(host)
        self.cut_off.clear()

    def _open_platforms(self) -> dict[str, TpuPlatform]:
        """One for each project, as in production; only their deadlines are other ones."""
        made: dict[str, TpuPlatform] = {}
        groups = self.config.scale_groups.items()
        of = {name: group.provider.tpu.project_id for name, group in groups}
        for project in dict.fromkeys(of.values()):
            sharing = [group for name, group in groups if of[name] == project]
            zones = dict.fromkeys(zone for group in sharing for zone in group.zones)
            made[project] = TpuPlatform(
                PlatformSettings(
                    provider=sharing[0].provider,
                    zones=tuple(zones),
                    identity=IDENTITY,
                    paths=self.paths,
                    endpoints=self.config.proto.endpoints,
                    joining=joining(),
                    now_ms=lambda: self.now.wall_ms,
                ),
                self.deadlines,
            )
        return {name: made[project] for name, project in of.items()}

    async def kill(self) -> None:
        """It is gone; its agents do not notice at once, nor does the cloud."""
        self._sessions.clear()
        self._said.clear()
        self._performer.close()
        tasks = [self._loop, *_performing()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.controller.close()

    def lose_state(self) -> None:
        """Its state directory is no more; its keys, elsewhere, are."""
        shutil.rmtree(self.paths.state_dir)

    def _deliver(self, effect: fx.Effect) -> None:
        match effect:
            case fx.CreateSlice() | fx.DeleteSlice() | fx.LookAtSlice() | fx.ListZone():
                self._calls += 1
                self._performer.perform(effect)
            case fx.StepDown(reason):
                raise AssertionError(reason)
            case _ if (host := self._sessions.get(effect.session_id)) is not None:
                host.highest_epoch = max(host.highest_epoch, self.controller.epoch)
                host.highest_commit = max(host.highest_commit, self.controller.commit_number)
                self._said += host.hears(effect, self.controller.world.jobs)

    # -- time ----------------------------------------------------------------

    async def passes(self, seconds: float) -> None:
        """Lets time pass for cloud, agents and controller together."""
        for _ in range(round(seconds * 1000 / STEP_MS)):
            await self._step()

    async def until(self, met: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Lets time pass until it is so; fails with all that happened after so long."""
        await self.settles()
        for _ in range(round(within_s * 1000 / STEP_MS)):
            if met():
                return
            await self._step()
        assert met(), f"not within {within_s:g} s:\n{await self.story()}"

    async def _step(self) -> None:
        self.cloud.advance(STEP_MS)
        self.now = Now(self.now.boot_ms + STEP_MS, self.now.wall_ms + STEP_MS)
        self._see_machines()
        if self.now.boot_ms % BEAT_MS < STEP_MS:
            self._said += [e.AgentBeat(host.session, 1) for host in self.hosts.values()]
        said, self._said = self._said, []
        for event in [*said, e.Tick()]:
            self.controller.post(event)
        await self.settles()
        twice = {task: n for task, n in self.running().items() if n > 1}
        assert not twice, f"tasks that run twice: {twice}\n{await self.story()}"

    async def settles(self) -> None:
        """Waits until nothing is under way at this moment: no event, and no call."""
        for _ in range(MOST_ROUNDS):
            before = self._calls
            await asyncio.gather(*_performing())
            # Nobody's job; its answer comes after all that was posted before.
            asked = asyncio.create_task(self.controller.ask(e.JobStopRequested("nobody")))
            await asyncio.wait([asked, self._loop], return_when=asyncio.FIRST_COMPLETED)
            if self._loop.done():
                asked.cancel()
                self._loop.result()
            # A call may have come and gone meanwhile, and what it led to is still to be handled.
            if self._calls == before and not _performing():
                return

    def _see_machines(self) -> None:
        """An agent on each machine that got power; those whose machine lost it are silent from now on."""
        powered = {vm.key: vm for vm in self.cloud.vms() if vm.on}
        self.hosts = {key: host for key, host in self.hosts.items() if key in powered}
        for key in powered.keys() - self.hosts.keys():
            vm = powered[key]
            name = vm.owner.rpartition("/")[2]
            parts = parse_slice_name(name)
            is_ours = parts is not None and parts.cluster_id == IDENTITY.cluster_id
            if parts is None or not is_ours or name in self.without_agents:
                continue
            offer = self.settings.groups[parts.group].host_resources
            self.hosts[key] = Host(key, Place(name, vm.index), vm.zone, offer)
            self._dials(self.hosts[key])

    def _dials(self, host: Host) -> None:
        host.session = next(self._numbers)
        self._sessions[host.session] = host
        self._said.append(host.hello(IDENTITY.cluster_id, self.controller.commit_number))

    # -- people --------------------------------------------------------------

    async def submit(self, jobs: int = 1, kind: str = TYPE) -> list[str]:
        """Jobs of one task each, which takes a machine of this type, and runs until `finish`."""
        ids = [f"j{next(self._numbers)}" for _ in range(jobs)]
        for job_id in ids:
            wanted = e.JobSubmitted(f"request-{job_id}", job_id, replace(spec(), accelerator=kind))
            answer = await self.controller.ask(wanted)
            assert isinstance(answer, fx.JobAnswer), answer
        return ids

    async def finish(self, jobs: Iterable[str]) -> None:
        """Their programs end well, wherever they run."""
        ending = list(jobs)
        for host in self.hosts.values():
            for job_id in ending:
                self._said += host.ends(job_id)
        await self.until(lambda: set(self.states(ending)) == {"SUCCEEDED"})

    # -- looking -------------------------------------------------------------

    def states(self, jobs: Iterable[str]) -> list[str]:
        """The states of their tasks."""
        return [self.controller.view.task(TaskId(job_id, 0)).state.name for job_id in jobs]

    def run(self, jobs: Iterable[str]) -> bool:
        """Whether all of them run."""
        return set(self.states(jobs)) == {"RUNNING"}

    def running(self) -> Counter[TaskId]:
        """How often each task runs at this moment, on machines that have power."""
        return Counter(attempt.task for host in self.hosts.values() for attempt in host.runs)

    def stopped(self) -> dict[str, str]:
        """What living agents were ever told to stop, and why."""
        return {one.task.name: why for h in self.hosts.values() for one, why in h.stopped.items()}

    def slices(self, group: str = "") -> dict[str, str]:
        """The states of the slices that are not GONE, by name."""
        rows = self.controller.view.slices.values()
        return {
            row.name: node_name("slice", type(row.state))
            for row in rows
            if not isinstance(row.state, SliceGone) and group in ("", row.group)
        }

    def nodes(self, zone: str = "") -> dict[str, str]:
        """The states of the cloud's nodes by their short names, in a zone or in all."""
        found = self.cloud.nodes().items()
        return {name.rpartition("/")[2]: state for name, state in found if not zone or f"/{zone}/" in name}

    def availability(self, group: str) -> str:
        """Of a scale group, at the last decision."""
        return self.controller.world.availability[group][0]

    def made(self) -> list[str]:
        """The names of all nodes that were ever made."""
        return [call.name for call in self.cloud.calls("CreateNode") if call.done]

    async def story(self) -> str:
        """What is, for whoever has to find out why."""
        calls = Counter((call.method, call.zone, call.status) for call in self.cloud.calls())
        return f"{self.slices()}\n{self.nodes()}\n{calls}\n{self.controller.view.findings}"


def most_in_a_minute(times_ms: Iterable[int]) -> int:
    """The most of these moments that are in any minute."""
    times = sorted(times_ms)
    return max(sum(1 for one in times if at <= one < at + 60_000) for at in times)


def _performing() -> list[asyncio.Task[None]]:
    """Calls under way, as `Performer` calls them."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("perform ")]


@asynccontextmanager
async def on_cloud(
    home: Path, *groups: str, creates_per_minute: int = 60, deadlines: Deadlines = DEADLINES
) -> AsyncIterator[OnCloud]:
    """A controller that has just started, with an empty cloud of two projects."""
    with CloudServer(CLOUD, stopped=True) as server:
        it = OnCloud(home, server, "".join(groups), creates_per_minute)
        it.deadlines = deadlines
        await it.start()
        try:
            yield it
        finally:
            server.client.clear_faults()
            await it.kill()
