"""What must be so of gangs: together on their slices or not at all, judged once, and never half for long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, Job, Settings, Task
from iris_controller.core.states import TaskState
from iris_controller.core.values import AttemptId, Place, TaskId
from tests.simulation import verdicts
from tests.simulation.engine import Engine
from tests.simulation.rows import Rows, attempt_name
from tests.simulation.story import Objection

# Beyond lease and grace, for messages that are held up and sessions that are made anew.
HALF_GANG_MS = 45_000

Past = Mapping[AttemptId, Attempt]


class Gangs:
    """The rendezvous of each gang, and what the store says of it."""

    def __init__(self, engine: Engine, settings: Settings, deeds: Counter[str]) -> None:
        self._engine = engine
        self._longest_lease_ms = max(group.task_lease_ms for group in settings.groups.values())
        self._deeds = deeds
        self._addresses: dict[AttemptId, tuple[Place, str]] = {}

    # -- hosts ---------------------------------------------------------------

    def on_prepared(self, attempt_id: AttemptId, place: Place, address: str) -> None:
        """A member has its port."""
        self._addresses[attempt_id] = (place, address)

    def check_start(
        self, job: Job, attempt_id: AttemptId, addresses: Sequence[str], live: Sequence[AttemptId]
    ) -> None:
        """A member's program starts; `live` are the others of its job that run."""
        members = [attempt_id._replace(task_index=index) for index in range(job.spec.replicas)]
        there = [self._addresses.get(member) for member in members]
        about = [job.job_id]
        missing = [attempt_name(m) for m, known in zip(members, there, strict=True) if known is None]
        if missing:
            raise Objection("released_early", f"{attempt_name(attempt_id)} starts before {missing}", about)
        known = [one for one in there if one is not None]
        if list(addresses) != [address for _, address in known]:
            raise Objection("wrong_address", f"told {addresses}, the members are at {known}", about)
        if _is_apart(job, [place for place, _ in known]):
            raise Objection("gang_apart", f"its members are at {known}", about)
        others = [attempt_name(other) for other in live if other.round != attempt_id.round]
        if others:
            raise Objection("rounds_overlap", f"{attempt_name(attempt_id)} starts while {others} run", about)
        self._deeds["gang member started"] += 1

    # -- the store -------------------------------------------------------------

    def check_commit(
        self,
        rows: Rows,
        was_tasks: Mapping[TaskId, Task],
        past: Past,
        epoch: int,
        stopped: Mapping[str, None],
    ) -> None:
        """A batch is in the store; `was_tasks` are the changed tasks as they were before."""
        for job_id in dict.fromkeys(task_id.job_id for task_id in was_tasks):
            job = rows.jobs[job_id]
            if not job.spec.is_gang:
                continue
            members = rows.members(job_id)
            self._check_placed(rows, job, members, was_tasks, epoch)
            pairs = [(was_tasks.get(member.id, member), member) for member in members]
            if any(verdicts.was_adopted(was, now, past, epoch) for was, now in pairs):
                continue
            found = self._judgement_is_wrong(rows, job, pairs, past, stopped)
            if found:
                raise Objection("wrong_gang", f"{job_id}: {found}", [job_id])

    def _check_placed(
        self, rows: Rows, job: Job, members: Sequence[Task], was_tasks: Mapping[TaskId, Task], epoch: int
    ) -> None:
        """What is placed is all of it, in one round, a share on each slice, all of one group and zone."""
        placed = [
            m.attempt
            for m in members
            if m.attempt is not None
            and m.attempt.id.epoch == epoch
            and m.id in was_tasks
            and _id_of(was_tasks[m.id]) != m.attempt.id
        ]
        if not placed:
            return
        whole = len(placed) == job.spec.replicas
        slices = [rows.slices[a.place.slice_name] for a in placed]
        if (
            not whole
            or len({a.id.round for a in placed}) > 1
            or _is_apart(job, [a.place for a in placed])
            or len({(slice_.group, slice_.zone) for slice_ in slices}) > 1
        ):
            words = ", ".join(f"{attempt_name(a.id)} on {a.place}" for a in placed)
            raise Objection(
                "gang_in_parts", f"of {job.spec.replicas} members are placed: {words}", [job.job_id]
            )
        self._deeds["gang placed"] += 1
        if job.spec.slices > 1:
            self._deeds["wide gang placed" if placed[0].id.number == 1 else "wide gang placed again"] += 1

    def _judgement_is_wrong(
        self,
        rows: Rows,
        job: Job,
        pairs: Sequence[tuple[Task, Task]],
        past: Past,
        stopped: Mapping[str, None],
    ) -> str:
        judged = any(was.state.is_live and _is_over(was, now) for was, now in pairs)
        if not judged:
            for was, now in pairs:
                adopted = _id_of(was) != _id_of(now)
                if (was.failures, was.losses) != (now.failures, now.losses) and not adopted:
                    return f"task {now.id.task_index} is charged before its gang is judged"
            return ""
        # Of a gang that was found in parts some may have ended for good before.
        open_ = [(was, now) for was, now in pairs if not was.state.is_terminal]
        finals = [verdicts.final_of(was, now, past) for was, now in open_]
        running = [f.id for f in finals if f is not None and isinstance(f.state, s.ATTEMPT_LIVE)]
        if running:
            return f"judged while {[attempt_name(a) for a in running]} run"
        stop = rows.statuses[job.job_id].stop
        stop_is_new = stop is not None and job.job_id not in stopped
        self._deeds[f"gang judged: {open_[0][1].state.name}"] += 1
        return verdicts.gang_is_wrong(job, open_, finals, stopped=stop is not None, stop_is_new=stop_is_new)

    def broken(self, rows: Rows, job_id: str) -> bool:
        """Whether the store says that a member will not go on, or never came."""
        if not rows.jobs[job_id].spec.is_gang:
            return False
        members = rows.members(job_id)
        rounds = {m.attempt.id.round for m in members if m.attempt is not None}
        return len(rounds) > 1 or any(
            m.attempt is None or not isinstance(m.attempt.state, (*s.ATTEMPT_LIVE, s.AttemptSucceeded))
            for m in members
        )

    def longest_half_ms(self, job: Job) -> int:
        """How long what is left of a gang may run on after one member has ended badly."""
        grace_ms = job.spec.stop_grace_ms if job.spec.stop_grace_ms is not None else 5_000
        return round(1.06 * self._longest_lease_ms) + grace_ms + HALF_GANG_MS


def _is_apart(job: Job, places: Sequence[Place]) -> bool:
    """Whether not as many members are on each of so many slices, in order; on accelerators host by host."""
    names, share = [place.slice_name for place in places], len(places) // job.spec.slices
    shares = [set(names[i * share : (i + 1) * share]) for i in range(job.spec.slices)]
    hosts = [place.worker_index for place in places]
    if job.spec.accelerator and hosts != [*range(share)] * job.spec.slices:
        return True
    return len(set(names)) != job.spec.slices or any(len(one) != 1 for one in shares)


def _id_of(task: Task) -> AttemptId | None:
    return None if task.attempt is None else task.attempt.id


def _is_over(was: Task, now: Task) -> bool:
    """Whether a live task was sent back, ended for good, or placed again."""
    return now.state is TaskState.PENDING or now.state.is_terminal or _replaced(was, now)


def _replaced(was: Task, now: Task) -> bool:
    return was.attempt is not None and _id_of(was) != _id_of(now) and now.state is TaskState.ASSIGNED
