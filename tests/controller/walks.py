"""Random histories: a program of small steps, drawn by hypothesis, played on one world.

Agents are honest and remember; the provider and the order of everything are not kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.entities import Task
from iris_controller.core.restore import restore
from iris_controller.core.states import ATTEMPT_LIVE
from iris_controller.core.values import AttemptId, Place, TaskId
from iris_controller.core.world import World
from iris_platform.base import Failure, SliceCloudState, VmState
from tests.controller.agents import REPORTED, RUNNING, Agent, failed, killed, observed, spec, succeeded
from tests.controller.worlds import Scene, group, info, world

Step = tuple[int, int, int]


@dataclass
class Host:
    """What really runs at one place."""

    agent: Agent
    known: dict[AttemptId, REPORTED] = field(default_factory=dict)

    def obeys(self) -> None:
        """Starts what it was told to start, once each."""
        for attempt in self.agent.started:
            self.known.setdefault(attempt, s.AttemptPreparing())

    @property
    def live(self) -> list[AttemptId]:
        return [a for a, state in self.known.items() if isinstance(state, ATTEMPT_LIVE)]


class Walk:
    """One world, the hosts that exist, and the steps that can be taken."""

    def __init__(self) -> None:
        groups = (group("small", at_most=3, cpu=2, priority=1, idle_s=20), group("pair", at_most=2, hosts=2))
        self.w: Scene = world(*groups, creates_per_minute=4)
        self.hosts: dict[Place, Host] = {}
        self.steps: list[Callable[[int, int], None]] = [
            self.submit,
            self.stop,
            self.time_passes,
            self.comes_up,
            self.says_hello,
            self.an_attempt_goes_on,
            self.an_attempt_goes_on,
            self.stop_orders_are_obeyed,
            self.the_provider_answers,
            self.the_provider_shows_trouble,
            self.hangs_up,
            self.reboots,
            self.a_log_is_stored,
            self.is_listed,
            self.shuts_down_or_resumes,
            self.starts_again,
        ]

    def play(self, program: list[Step]) -> None:
        for number, a, b in program:
            self.steps[number % len(self.steps)](a, b)
            for host in self.hosts.values():
                host.obeys()
            self.check()

    def check(self) -> None:
        """Nothing runs twice, and the rows alone would give this same world."""
        running = [attempt.task for host in self.hosts.values() for attempt in host.live]
        assert len(running) == len(set(running)), self.hosts
        again = restore(self.w.world.settings, self.w.world.epoch, self.w.rows.load(), self.w.now)
        for name, table in tables(self.w.world).items():
            assert tables(again)[name] == table, name

    # -- people ----------------------------------------------------------

    def submit(self, a: int, b: int) -> None:
        if a % 5 == 4:
            # A gang on as many slices as it has tasks, or on half of that.
            gang = spec(2 + b % 2 * 2, failures=b % 3, losses=a % 3, gang=True)
            self.w.submit_spec(replace(gang, slices=2))
        else:
            self.w.submit(tasks=a % 3 + 1, cpu=b % 3, failures=a % 2, losses=b % 3)

    def stop(self, a: int, b: int) -> None:
        if self.w.world.jobs:
            self.w.stop(pick(list(self.w.world.jobs), a))

    def shuts_down_or_resumes(self, a: int, b: int) -> None:
        if a % 3:
            self.w.resume()
        else:
            self.w.shut_down()

    # -- time ------------------------------------------------------------

    def time_passes(self, a: int, b: int) -> None:
        for _ in range(b % 3 + 1):
            self.w.tick((0.25, 1, 11, 31, 61)[a % 5])
        self.w.batch(*(e.AgentBeat(host.agent.session, 1) for host in self.hosts.values()))

    def starts_again(self, a: int, b: int) -> None:
        if a % 2:
            self.w.restart(down_s=b)
        else:
            self.w.reload()

    # -- the provider ----------------------------------------------------

    def comes_up(self, a: int, b: int) -> None:
        """A slice is shown and its hosts say hello for the first time, or again."""
        if name := self.a_slice(a):
            self.w.shows(name)
            for index in range(self.w.world.slices[name].hosts):
                self.dial(Place(name, index))

    def the_provider_answers(self, a: int, b: int) -> None:
        if name := self.a_slice(a):
            failure = pick([None, *Failure], b)
            error = e.CallFailed(failure, "words") if failure else None
            self.w.batch(pick([e.CreateAnswered(name, error), e.DeleteAnswered(name, error)], b // 2))

    def the_provider_shows_trouble(self, a: int, b: int) -> None:
        if not (name := self.a_slice(a)):
            return
        match b % 4:
            case 0:
                self.w.preempts(name)
            case 1:
                self.w.shows(name, VmState.FAILED)
            case 2:
                self.w.shows(name, state=SliceCloudState.CREATING)
            case _:
                self.is_gone(name)

    def is_gone(self, name: str) -> None:
        """What the provider does not know any more does not run any more."""
        for place in self.w.world.places(self.w.world.slices[name]):
            self.hosts.pop(place, None)
        self.w.absent(name)

    def is_listed(self, a: int, b: int) -> None:
        names = [name for i, name in enumerate(self.w.slices) if b >> i & 1]
        self.w.lists(*(info(name, [VmState.RUNNING], SliceCloudState.RUNNING) for name in names))

    def a_slice(self, a: int) -> str:
        return pick(list(self.w.world.slices), a) if self.w.world.slices else ""

    # -- hosts -----------------------------------------------------------

    def dial(self, place: Place) -> None:
        host = self.hosts.get(place)
        if host is None:
            if self.w.is_gone(place.slice_name):
                return
            host = self.hosts[place] = Host(self.w.agent(*place))
        self.tell_all(host, lambda *seen: host.agent.hello(*seen))

    def tell_all(self, host: Host, hello: Callable[..., Any]) -> None:
        """A hello with everything that the host knows; what it is told to end, ends."""
        jobs = self.w.world.jobs
        hello(*(observed(a, state, job=jobs[a.job_id].spec) for a, state in host.known.items()))
        for attempt, verdict in host.agent.verdicts.items():
            if verdict != "KEEP" and attempt in host.live:
                host.known[attempt] = killed(verdict.removeprefix("STOP "))

    def says_hello(self, a: int, b: int) -> None:
        if self.hosts:
            self.dial(pick(list(self.hosts), a))

    def hangs_up(self, a: int, b: int) -> None:
        if self.hosts:
            pick(list(self.hosts.values()), a).agent.hangs_up()

    def reboots(self, a: int, b: int) -> None:
        if self.hosts:
            host = pick(list(self.hosts.values()), a)
            host.known = {attempt: state for attempt, state in host.known.items() if attempt not in host.live}
            self.tell_all(host, host.agent.reboots)

    def an_attempt_goes_on(self, a: int, b: int) -> None:
        """A live attempt reaches another state; its host reports it if it can."""
        host = pick([host for host in self.hosts.values() if host.live] or [None], a)
        if host is not None:
            attempt = pick(host.live, b)
            states: list[REPORTED] = [
                RUNNING,
                succeeded(log_bytes=a % 3),
                failed(log_bytes=b % 2),
                killed("lease_expired"),
                s.AttemptPreparing(),
            ]
            state = pick(states, a + b)
            if not (state == s.AttemptPreparing() and host.known[attempt] == RUNNING):
                host.known[attempt] = state
            host.agent.says(attempt, host.known[attempt])

    def stop_orders_are_obeyed(self, a: int, b: int) -> None:
        for host in self.hosts.values():
            for attempt, reason in host.agent.stopped.items():
                if attempt in host.live:
                    host.known[attempt] = killed(reason)
                    host.agent.says(attempt, host.known[attempt])

    def a_log_is_stored(self, a: int, b: int) -> None:
        ended = [
            attempt for host in self.hosts.values() for attempt in host.known if attempt not in host.live
        ]
        if ended:
            self.w.log_is_stored(pick(ended, a))


def pick(values: list[Any], number: int) -> Any:
    return values[number % len(values)]


def tables(it: World) -> dict[str, object]:
    """Everything that has to survive a restart, and everything that follows from it."""
    return {
        "jobs": list(it.jobs.items()),
        "statuses": it.statuses,
        "tasks": {i: task for i, task in it.tasks.items() if not is_archived(it, task)},
        "slices": it.slices,
        "order": {
            name: [v.name for v in it.slices.values() if v.group == name] for name in it.settings.groups
        },
        "workers": it.workers,
        "standings": it.standings,
        "cluster": it.cluster,
        "events": it.last_event_id,
        "turns": it.last_order,
        "requests": it.requests,
        "counts": it.counts,
        "live": {place: live for place, live in it.live.items() if live},
        "queue": {shape: list(turns) for shape, turns in it.queue.turns.items()},
        "waiting": {job: sorted(it.queue.waiting(job)) for job in it.jobs},
        "logs": {a for due in it.logs_due.values() for a in due if is_latest(it, a)},
        "numbers": it.slice_numbers,
    }


def is_archived(it: World, task: Task) -> bool:
    """Whether a start leaves it out: its job has ended, and so has its log."""
    job_id, attempt = task.id.job_id, task.attempt
    due = attempt is not None and attempt.id in it.logs_due.get(attempt.place, ())
    return it.statuses[job_id].state.is_terminal and not it.jobs[job_id].adopted and not due


def is_latest(it: World, attempt: AttemptId) -> bool:
    latest = it.task(TaskId(attempt.job_id, attempt.task_index)).attempt
    return latest is not None and latest.id == attempt
