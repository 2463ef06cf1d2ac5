"""One seed from beginning to end.

First everything may go wrong, and must be safe. Then nothing goes wrong any
more, and everything must come to rest, with the cloud as the store says. Then
the cluster is stopped, and the cloud must be empty. Or the controller never comes
back, and everything must go by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from iris_controller.core.standings import LONGEST_MS
from iris_controller.core.values import Place
from tests.simulation.calls import LATEST_MS
from tests.simulation.chaos import Chaos
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Single
from tests.simulation.fleet import Slices
from tests.simulation.hosts import Host
from tests.simulation.lines import Lines
from tests.simulation.machine import Machine
from tests.simulation.oracle import Oracle
from tests.simulation.scene import longest_work_ms
from tests.simulation.settled import held_for_operator, left_over, open_ends
from tests.simulation.site import Site
from tests.simulation.stage import Stage, make_stage
from tests.simulation.story import Objection
from tests.simulation.users import Users

# After the last fault, beyond the time that the jobs need and the longest back-off.
REST_WITHIN_MS = LONGEST_MS + 300_000
EMPTY_WITHIN_MS = 300_000
LOOK_MS = 2_000
# DESIGN 7: what a lost controller leaves is gone so long after lease and orphan timeout.
ORPHAN_MARGIN_MS = 60_000


@dataclass(frozen=True)
class Result:
    """What became of a seed. `failure` is its story if somebody objected."""

    seed: int
    digest: str
    failure: str | None
    code: str
    faults: Mapping[str, int]
    occasions: Mapping[str, int]
    deeds: Mapping[str, int]
    simulated_ms: int
    events: int


class Simulation:
    """All parts of one seed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.oracle = Oracle(stage.engine, stage.story, stage.scene.settings)
        self._machine = Machine(stage, self.oracle)
        self._site = Site(stage, self._machine)
        self._lines = Lines(stage, self._site)
        self.cloud = Cloud(stage, self.oracle, self._make_host)
        self._site.cloud = self.cloud
        self.oracle.fleet.cloud = Slices(
            self.cloud.slices.__contains__, self.cloud.is_sound, self.cloud.lands_late.__contains__
        )
        self._users = Users(stage, self._site, self.oracle)
        self._chaos = Chaos(stage, self._site, self._machine, self.cloud, self._users)

    def _make_host(self, place: Place, group: str, zone: str) -> Host:
        host = Host(
            self._stage,
            self.oracle,
            self._lines,
            place,
            zone,
            self._stage.scene.settings.groups[group],
            lambda where: self.cloud.remove_agent(where, group),
        )
        host.boot()
        return host

    def run(self) -> None:
        """Plays the seed.

        Raises:
            Objection: something was so that must never be.
        """
        self._site.start()
        self._users.start()
        self._chaos.start()
        self._stage.engine.run(self._stage.scene.faults_ms)
        self._stage.story.tell("simulation", "the faults end")
        self._chaos.end()
        if self._stage.scene.is_abandoned:
            self._abandon()
            return
        work_ms = sum(longest_work_ms(job.spec) for job in self.oracle.jobs.values())
        self._wait("not_at_rest", REST_WITHIN_MS + work_ms, self._open_ends)
        self._stage.story.tell("simulation", "the cluster is at rest, and is stopped")
        self._users.stop_cluster(None)
        self._wait("not_empty", EMPTY_WITHIN_MS, self._left_over)

    def _wait(self, code: str, limit_ms: int, look: Callable[[], list[str]]) -> None:
        """Lets time pass until nothing is found twice in a row."""
        deadline_ms = self._stage.engine.now_ms + limit_ms
        quiet = 0
        while quiet < 2:
            found = look()
            quiet = 0 if found else quiet + 1
            self._look_after()
            if self._stage.engine.now_ms > deadline_ms:
                words = f"after {limit_ms / 1000:g} s: " + "; ".join(found)
                raise Objection(code, words, [*self._unfinished(), *self.cloud.slices])
            self._stage.engine.run(self._stage.engine.now_ms + LOOK_MS)

    def _abandon(self) -> None:
        """Without a controller every machine goes by itself, and in time."""
        self._site.close()
        self.oracle.halves.is_forsaken = lambda place: all(host.place != place for host in self._hosts())
        engine = self._stage.engine
        orphan_ms = self._stage.scene.timings.orphan_timeout.ToMilliseconds()
        longest_ms = max(group.task_lease_ms for group in self._stage.scene.settings.groups.values())
        # What was asked for may still be on its way, or in a line.
        in_line_ms = max(group.queued_for_ms or 0 for group in self._stage.scene.settings.groups.values())
        deadline_ms = engine.now_ms + LATEST_MS + in_line_ms + longest_ms + orphan_ms + 2 * ORPHAN_MARGIN_MS
        while engine.now_ms < deadline_ms and (engine.now_ms < deadline_ms - longest_ms or self._hosts()):
            for host in self._hosts():
                alone_ms = engine.now_ms - host.last_contact_ms
                if alone_ms > host.policy.task_lease_ms + orphan_ms + ORPHAN_MARGIN_MS:
                    words = f"{host.name} runs {alone_ms / 1000:g} s after its last word of a controller"
                    raise Objection("orphaned", words, [host.name])
            engine.run(engine.now_ms + LOOK_MS)
        self.oracle.deeds["cluster abandoned"] += 1
        if self._hosts():
            raise Objection("orphaned", f"{[host.name for host in self._hosts()]} run on")

    def _hosts(self) -> list[Host]:
        """Machines that can go; a dead agent that nobody starts again cannot."""
        return [host for host in self.cloud.running_hosts() if host.has_agent or host.is_supervised]

    def _look_after(self) -> None:
        """What an operator does about what is shown to need one."""
        controller = self._site.controller
        self._users.resume_cluster()
        if controller is not None and not self._users.waiting:
            for name in held_for_operator(controller.world):
                self._stage.story.tell("operator", f"deletes {name}, which nobody knows")
                self.cloud.delete(name)
            self._users.stop_endless()

    def _unfinished(self) -> list[str]:
        return [status.job_id for status in self.oracle.statuses.values() if not status.state.is_terminal]

    def _open_ends(self) -> list[str]:
        controller = self._site.controller
        if controller is None or self._users.waiting:
            return ["the controller is down, or somebody waits for its answer"]
        return open_ends(controller.world, self.cloud, self.oracle)

    def _left_over(self) -> list[str]:
        controller = self._site.controller
        if controller is None or self._users.waiting:
            return ["the stop was not answered"]
        return left_over(controller.world, self.cloud)


def play(seed: int, say: Callable[[str], None] | None = None, single: Single | None = None) -> Result:
    """Plays a seed, with all its faults or a single one; an objection is in the result."""
    stage = make_stage(seed, say, single)
    failure, code = None, ""
    simulation = Simulation(stage)
    try:
        simulation.run()
    except Objection as objection:
        failure, code = _tell(stage, objection, single), objection.code
    return Result(
        seed=seed,
        digest=stage.story.digest,
        failure=failure,
        code=code,
        faults=stage.faults.counts,
        occasions=stage.faults.occasions,
        deeds=simulation.oracle.deeds,
        simulated_ms=stage.engine.now_ms,
        events=stage.engine.handled,
    )


def play_single(seed: int, single: Single) -> Result:
    """Plays a seed with one fault alone."""
    return play(seed, single=single)


def single_faults(seed: int, each: int) -> list[Single]:
    """Every kind of fault that a seed has occasions for, on so many of them, evenly spread."""
    occasions = play(seed, single=Single("", 0)).occasions
    return [
        Single(name, 1 + number * count // min(each, count))
        for name, count in occasions.items()
        for number in range(min(each, count))
    ]


def _tell(stage: Stage, objection: Objection, single: Single | None) -> str:
    seconds = stage.engine.now_ms / 1000
    lines = [f"seed {stage.scene.seed} objects after {seconds:.3f} simulated seconds: {objection}"]
    if objection.about:
        lines += [
            f"what happened to {', '.join(objection.about)}:",
            *stage.story.about(objection.about)[-60:],
        ]
    lines += ["what happened last:", *stage.story.last()]
    alone = "" if single is None else f" --fault {single.name}:{single.occasion}"
    lines.append(f"replay: python -m tests.simulation --seed {stage.scene.seed}{alone} --verbose")
    return "\n".join(lines)
