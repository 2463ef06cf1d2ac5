"""Worlds for tests of the controller's core, in the words of its domain.

`w = world(group("local", at_most=2, cpu=4)); job = w.submit(tasks=2); w.boots(w.only)` …
Everything goes through `step`, as in production: a batch of events, then Decide,
then the rows into a store. After every batch the invariants have to hold.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import GroupPolicy, Settings, Task
from iris_controller.core.moves import node_name
from iris_controller.core.problems import problems
from iris_controller.core.restore import restore
from iris_controller.core.states import SliceGone
from iris_controller.core.step import step
from iris_controller.core.values import AttemptId, JobSpec, Now, Place, Reason, Resources, TaskId
from iris_platform.base import Failure, SliceCloudState, SliceInfo, VmInfo, VmState
from iris_platform.names import slice_labels, slice_name
from tests.controller.agents import Agent, spec
from tests.controller.rows_in_memory import RowsInMemory

CLUSTER_ID = "abcdefgh27"
EPOCH = 1_000
START = Now(boot_ms=5_000_000, wall_ms=1_700_000_000_000)


def group(
    name: str = "local",
    *,
    at_least: int = 0,
    at_most: int = 1,
    buffer: int = 0,
    hosts: int = 1,
    cpu: float = 4,
    memory: int = 0,
    priority: int = 100,
    idle_s: float = 60,
    boot_s: float = 30,
    lease_s: float = 600,
    fence_s: float | None = 635,
    zone: str = "local",
) -> GroupPolicy:
    """A scale group of the local provider; times in seconds."""
    return GroupPolicy(
        name=name,
        provider="local",
        zones=tuple(zone.split()),
        min_slices=at_least,
        max_slices=at_most,
        buffer_slices=buffer,
        priority=priority,
        hosts=hosts,
        host_resources=Resources(round(cpu * 1000), memory),
        idle_timeout_ms=round(idle_s * 1000),
        boot_timeout_ms=round(boot_s * 1000),
        task_lease_ms=round(lease_s * 1000),
        fence_after_ms=None if fence_s is None else round(fence_s * 1000),
    )


def cloud(
    name: str = "tpu", *, zone: str = "zone-a zone-b", queued_s: float | None = None, **rest: Any
) -> GroupPolicy:
    """A scale group on a cloud, with two zones to try; times in seconds."""
    project, capacity = rest.pop("project", "project"), rest.pop("capacity", "spot")
    accelerator = rest.pop("accelerator", "")
    policy = group(name, zone=zone, **{"lease_s": 3600, "fence_s": 300, "boot_s": 900, **rest})
    return replace(
        policy,
        provider="tpu",
        project=project,
        capacity=capacity,
        accelerator=accelerator,
        queued_for_ms=None if queued_s is None else round(queued_s * 1000),
    )


def settings(*groups: GroupPolicy, creates_per_minute: int = 60) -> Settings:
    """The cluster's settings, with the defaults of DESIGN 4."""
    return Settings(
        cluster_id=CLUSTER_ID,
        groups={policy.name: policy for policy in groups},
        beat_interval_ms=10_000,
        suspect_after_ms=30_000,
        stop_grace_ms=30_000,
        evaluation_interval_ms=10_000,
        creates_per_minute=creates_per_minute,
    )


def info(
    name: str,
    vms: Sequence[VmState],
    state: SliceCloudState,
    detail: str = "",
    failure: Failure | None = None,
) -> SliceInfo:
    """A slice of ours as its provider shows it."""
    group_name = name.removeprefix(f"iris-{CLUSTER_ID}-").rsplit("-", 2)[0]
    labels = slice_labels("test", CLUSTER_ID, group_name, name)
    hosts = tuple(VmInfo(f"{name}-{i}", "10.0.0.1", "local", labels, vm, 1) for i, vm in enumerate(vms))
    return SliceInfo(name, "local", labels, state, hosts, 1, detail, failure)


def world(*groups: GroupPolicy, creates_per_minute: int = 60) -> "Scene":
    """An empty cluster of these scale groups."""
    return Scene(settings(*(groups or (group(),)), creates_per_minute=creates_per_minute))


class Scene:
    """A world, its clock, its store, and the agents that have dialled."""

    def __init__(self, its_settings: Settings) -> None:
        self.now = START
        self.world = restore(its_settings, EPOCH, (), START)
        self.rows = RowsInMemory()
        self.effects: list[fx.Effect] = []
        self.answer: fx.Answer | None = None
        self._jobs = 0
        self._sessions: dict[int, Agent] = {}
        self._agents: dict[Place, Agent] = {}

    # -- time and events -------------------------------------------------

    def batch(self, *events: e.Event) -> list[fx.Effect]:
        """Applies events as one batch; returns (and keeps) what they led to."""
        effects: list[fx.Effect] = []
        for event in events:
            outcome = step(self.world, event, self.now)
            effects += outcome.effects
            self.answer = outcome.answer or self.answer
        effects += step(self.world, e.Decide(), self.now).effects
        assert not problems(self.world)
        self.rows.commit(self.world.take_changes())
        for effect in effects:
            session = getattr(effect, "session_id", None)
            if session is not None:
                self._sessions[session].is_told(effect)
        self.effects = effects
        return effects

    def tick(self, after_s: float = 0) -> list[fx.Effect]:
        """Lets so much time pass unseen, then ticks once."""
        self.now = Now(self.now.boot_ms + round(after_s * 1000), self.now.wall_ms + round(after_s * 1000))
        return self.batch(e.Tick())

    def later(self, seconds: int) -> list[fx.Effect]:
        """Lets time pass second by second, with the beats of agents that are not silent.

        Returns the effects of all of it, but the acknowledgements.
        """
        effects: list[fx.Effect] = []
        for _ in range(seconds):
            effects += self.tick(1)
            beating = [a.session for a in self._agents.values() if not a.silent]
            effects += self.batch(*(e.AgentBeat(session, 1) for session in beating))
        return [effect for effect in effects if not isinstance(effect, fx.AckBeat)]

    def wall_clock_jumps(self, seconds: int) -> None:
        """Somebody sets the wall clock; the boot clock goes on."""
        self.now = self.now._replace(wall_ms=self.now.wall_ms + seconds * 1000)

    def restart(self, down_s: float = 5) -> None:
        """The controller is killed, and started again with the rows of its store."""
        self.now = Now(self.now.boot_ms + round(down_s * 1000), self.now.wall_ms + round(down_s * 1000))
        epoch = self.world.epoch + 1
        self.world = restore(self.world.settings, epoch, self.rows.load(), self.now)
        self._agents.clear()
        self.batch()

    def reload(self) -> None:
        """A commit failed: the same start goes on with the rows of its store."""
        self.world = restore(self.world.settings, self.world.epoch, self.rows.load(), self.now)
        self.batch()

    # -- people ----------------------------------------------------------

    def submit(
        self, tasks: int = 1, *, cpu: float = 1, memory: int = 0, failures: int = 0, losses: int = 100
    ) -> str:
        """Submits a job and returns its id."""
        return self.submit_spec(spec(tasks, cpu, memory, failures, losses))

    def submit_spec(self, wanted: JobSpec, request: str = "") -> str:
        self._jobs += 1
        job_id = f"j{self._jobs}"
        self.batch(e.JobSubmitted(request or f"request-{job_id}", job_id, wanted))
        return self.answer.job_id if isinstance(self.answer, fx.JobAnswer) else ""

    def stop(self, job_id: str) -> list[fx.Effect]:
        return self.batch(e.JobStopRequested(job_id))

    def shut_down(self, *zones: str) -> list[fx.Effect]:
        return self.batch(e.ShutdownBegun(Reason("cluster_stop", "the cluster is being stopped"), zones))

    def resume(self) -> list[fx.Effect]:
        return self.batch(e.ShutdownEnded())

    # -- the provider ----------------------------------------------------

    def shows(
        self,
        name: str,
        *vms: VmState,
        state: SliceCloudState = SliceCloudState.RUNNING,
        detail: str = "",
        failure: Failure | None = None,
    ) -> list[fx.Effect]:
        """The provider, asked by name, shows a slice; without `vms` all its hosts run."""
        hosts = vms or (VmState.RUNNING,) * self.world.slices[name].hosts
        return self.batch(e.SliceLooked(name, info(name, hosts, state, detail, failure)))

    def absent(self, name: str) -> list[fx.Effect]:
        """The provider, asked by name, does not know it."""
        return self.batch(e.SliceLooked(name, None))

    def preempts(self, name: str) -> list[fx.Effect]:
        return self.shows(name, state=SliceCloudState.PREEMPTED)

    def create_fails(self, name: str, failure: Failure, words: str = "no") -> list[fx.Effect]:
        return self.batch(e.CreateAnswered(name, e.CallFailed(failure, words)))

    def created(self, name: str) -> list[fx.Effect]:
        """The provider accepted a creation."""
        return self.batch(e.CreateAnswered(name, None))

    def delete_answered(self, name: str) -> list[fx.Effect]:
        """The provider accepted a deletion."""
        return self.batch(e.DeleteAnswered(name, None))

    def lists(self, *seen: SliceInfo, provider: str = "local", zone: str = "local") -> list[fx.Effect]:
        """The provider lists the zone."""
        return self.batch(e.ZoneListed(provider, zone, seen))

    # -- agents ----------------------------------------------------------

    def new_session(self, agent: Agent) -> int:
        session = len(self._sessions) + 1
        self._sessions[session] = agent
        self._agents[agent.place] = agent
        return session

    def agent(self, name: str, index: int = 0) -> Agent:
        """The agent of a place; made when it is first asked for."""
        place = Place(name, index)
        if place not in self._agents:
            group_name = name.removeprefix(f"iris-{CLUSTER_ID}-").rsplit("-", 2)[0]
            policy = self.world.settings.groups.get(group_name)
            offer = policy.host_resources if policy else Resources(4000)
            self._agents[place] = Agent(self, CLUSTER_ID, place, offer)
        return self._agents[place]

    def boots(self, *names: str) -> list[Agent]:
        """Slices come up: the provider shows them and every agent says hello."""
        agents: list[Agent] = []
        for name in names:
            self.shows(name)
            agents += [self.agent(name, index) for index in range(self.world.slices[name].hosts)]
        for agent in agents:
            agent.hello()
        return agents

    # -- looking ---------------------------------------------------------

    def log_is_stored(self, attempt: AttemptId) -> list[fx.Effect]:
        """The whole log of an attempt has arrived."""
        return self.batch(e.LogStored(attempt))

    @property
    def slices(self) -> dict[str, str]:
        """The states of the slices that are not GONE, by name."""
        return {v.name: node_name("slice", type(v.state)) for v in self.world.present_slices()}

    @property
    def only(self) -> str:
        """The name of the only slice that is not GONE."""
        (name,) = self.slices
        return name

    def reason(self, name: str) -> str:
        """Why a slice is in its state."""
        return self.world.slices[name].state.reason.code

    def is_gone(self, name: str) -> bool:
        return isinstance(self.world.slices[name].state, SliceGone)

    def task(self, job_id: str, index: int = 0) -> Task:
        return self.world.task(TaskId(job_id, index))

    def states(self, job_id: str) -> list[str]:
        """The states of a job's tasks, by index."""
        return [self.task(job_id, i).state.name for i in range(self.world.jobs[job_id].spec.replicas)]

    def job(self, job_id: str) -> str:
        return self.world.statuses[job_id].state.name

    def attempt(self, job_id: str, index: int = 0) -> AttemptId:
        """The id of a task's latest attempt."""
        attempt = self.task(job_id, index).attempt
        assert attempt is not None, f"{job_id}/{index} was never assigned"
        return attempt.id

    def seconds(self, seconds: int) -> list[fx.Effect]:
        """Lets time pass second by second in silence."""
        return [effect for _ in range(seconds) for effect in self.tick(1)]

    def told(self, event_kind: str) -> list[str]:
        """What happened of this kind, of all that was recorded: `JOB RETRY` and the like."""
        return [f"{r.what} {r.reason.code}".strip() for r in self.rows.records() if r.kind == event_kind]

    def wait_reason(self, job_id: str) -> str:
        return self.world.waits[self.world.jobs[job_id].spec.shape].code


def name_of(number: int, group_name: str = "local", epoch: int = EPOCH) -> str:
    """The name of a group's n-th slice."""
    return slice_name(CLUSTER_ID, group_name, epoch, number)


def creates(effects: Sequence[fx.Effect]) -> list[str]:
    """The slices that the provider is asked to make."""
    return [effect.slice_name for effect in effects if isinstance(effect, fx.CreateSlice)]


def deletes(effects: Sequence[fx.Effect]) -> list[str]:
    """The slices that the provider is asked to delete."""
    return [effect.slice_name for effect in effects if isinstance(effect, fx.DeleteSlice)]


def zones(effects: Sequence[fx.Effect]) -> list[str]:
    """Where the provider is asked to make slices."""
    return [effect.zone for effect in effects if isinstance(effect, fx.CreateSlice)]


def lists(effects: Sequence[fx.Effect]) -> list[str]:
    """The zones of which the provider is asked for a list."""
    return [effect.zone for effect in effects if isinstance(effect, fx.ListZone)]


def looks(effects: Sequence[fx.Effect]) -> list[str]:
    """The slices that the provider is asked for by name."""
    return [effect.slice_name for effect in effects if isinstance(effect, fx.LookAtSlice)]


def with_request(wanted: JobSpec, cpu: float, memory: int = 0) -> JobSpec:
    """The same job with other resources for each task."""
    return replace(wanted, resources=Resources(round(cpu * 1000), memory))
