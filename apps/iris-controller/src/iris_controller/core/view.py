"""What readers are shown: the committed rows, and what the last decision found.

Updated only after a commit, from the same changes, so nobody sees what a crash
could still take back. Rows are frozen, so a view shares them with the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from iris_controller.core import recovery, standings, unknown
from iris_controller.core.entities import (
    Attempt,
    ClusterState,
    Job,
    JobStatus,
    PastAttempt,
    Record,
    Slice,
    Standing,
    Task,
    Worker,
    untouched,
)
from iris_controller.core.states import ATTEMPT_LIVE, JobState, TaskState
from iris_controller.core.values import (
    NO_REASON,
    AttemptId,
    Place,
    Reason,
    Resources,
    Shape,
    TaskId,
)
from iris_controller.core.world import Changes, World


@dataclass(frozen=True, slots=True)
class Findings:
    """What the last decision found, beside the rows. Times on the boot clock."""

    waits: Mapping[Shape, Reason] = field(default_factory=dict)
    wanted: Mapping[str, int] = field(default_factory=dict)
    availability: Mapping[str, tuple[str, Reason]] = field(default_factory=dict)
    contact: Mapping[Place, int] = field(default_factory=dict)
    # Slices whose turn has not come, and for how long they wait.
    in_line: Mapping[str, Reason] = field(default_factory=dict)
    # Jobs that are held while memory is incomplete and why; what needs an operator's eye.
    held: frozenset[str] = frozenset()
    why_held: Reason = NO_REASON
    notices: tuple[str, ...] = ()


@dataclass
class View:
    """The committed rows; see the module."""

    epoch: int
    jobs: dict[str, Job] = field(default_factory=dict)
    statuses: dict[str, JobStatus] = field(default_factory=dict)
    # How many jobs are in each state.
    job_counts: dict[JobState, int] = field(default_factory=lambda: dict.fromkeys(JobState, 0))
    tasks: dict[TaskId, Task] = field(default_factory=dict)
    # Jobs that had ended before the start, whose tasks are not here; see `recall`.
    archived: dict[str, None] = field(default_factory=dict)
    slices: dict[str, Slice] = field(default_factory=dict)
    workers: dict[Place, Worker] = field(default_factory=dict)
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    cluster: ClusterState = field(default_factory=ClusterState)
    # By job, the tasks that ever had an attempt, in the order of their first.
    started: dict[str, list[TaskId]] = field(default_factory=dict)
    live: dict[Place, dict[AttemptId, Resources]] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)

    def apply(self, changes: Changes) -> None:
        """Takes over the rows of a committed batch."""
        for (kind, key), row in changes.items():
            match row:
                case Job():
                    self.jobs[row.job_id] = row
                case JobStatus():
                    self._put_status(row)
                case Task():
                    self._put_task(row)
                case Slice():
                    self.slices[row.name] = row
                case Worker():
                    self.workers[row.place] = row
                case Standing():
                    self.standings[row.group, row.zone] = row
                case ClusterState():
                    self.cluster = row
                case Record() | PastAttempt():
                    # History: who asks for it reads the store.
                    pass
                case None if kind == "slice":
                    self.slices.pop(str(key), None)
                case None if kind == "worker" and isinstance(key, Place):
                    self.workers.pop(key, None)
                case None:
                    pass

    def _put_status(self, status: JobStatus) -> None:
        was = self.statuses.get(status.job_id)
        if was is not None:
            self.job_counts[was.state] -= 1
        self.job_counts[status.state] += 1
        self.statuses[status.job_id] = status

    def recall(self, job_id: str, tasks: Iterable[Task]) -> None:
        """Takes in the tasks of an archived job; what is here already is newer."""
        if job_id in self.archived:
            del self.archived[job_id]
            for task in tasks:
                if task.id not in self.tasks:
                    self._put_task(task)

    def _put_task(self, task: Task) -> None:
        was = self.tasks.get(task.id)
        self.tasks[task.id] = task
        if task.attempt is not None and (was is None or was.attempt is None):
            self.started.setdefault(task.id.job_id, []).append(task.id)
        if was is not None and was.attempt is not None:
            self.live.get(was.attempt.place, {}).pop(was.attempt.id, None)
        if task.attempt is not None and isinstance(task.attempt.state, ATTEMPT_LIVE):
            given = self.jobs[task.id.job_id].spec.resources
            self.live.setdefault(task.attempt.place, {})[task.attempt.id] = given

    def task(self, task_id: TaskId) -> Task:
        """A task, also one without a row."""
        return self.tasks.get(task_id) or untouched(task_id, self.statuses.get(task_id.job_id))

    def attempt(self, attempt_id: AttemptId) -> Attempt | None:
        """An attempt, if it is its task's latest."""
        task = self.tasks.get(attempt_id.task)
        found = task.attempt if task is not None else None
        return found if found is not None and found.id == attempt_id else None

    def task_indices(self, job: Job) -> Sequence[int]:
        """The indices of a job's tasks; of an adopted job only those that agents reported."""
        indices = range(job.spec.replicas)
        return [i for i in indices if TaskId(job.job_id, i) in self.tasks] if job.adopted else indices

    def why_waits(self, job: Job, status: JobStatus) -> Reason:
        """Why a job's tasks wait, or its end; nothing if neither does."""
        if status.state.is_terminal:
            return NO_REASON
        if status.counts and all(state.is_terminal for state in status.counts):
            # It was adopted, and other tasks of it may still be reported.
            return self.findings.why_held
        if not status.counts.get(TaskState.PENDING):
            return NO_REASON
        if self.cluster.stopping is not None:
            return Reason("cluster_stop", "the cluster was stopped; the job goes on at the next start")
        if job.job_id in self.findings.held:
            return self.findings.why_held
        return self.findings.waits.get(job.spec.shape, NO_REASON)


def view_of(world: World) -> View:
    """The view of a world without uncommitted changes."""
    view = View(world.epoch, archived=dict(world.archived))
    rows: Changes = {("job", job_id): job for job_id, job in world.jobs.items()}
    rows.update({("status", job_id): status for job_id, status in world.statuses.items()})
    rows.update({("task", task_id): task for task_id, task in world.tasks.items()})
    rows.update({("slice", name): slice_ for name, slice_ in world.slices.items()})
    rows.update({("worker", place): worker for place, worker in world.workers.items()})
    rows.update({("standing", where): standing for where, standing in world.standings.items()})
    rows["cluster", 0] = world.cluster
    view.apply(rows)
    view.findings = findings(world)
    return view


def findings(world: World) -> Findings:
    """What the last decision found; later ones do not show before they are committed.

    The world replaces `waits` whole; contacts are no decision and are shared.
    """
    why_held = recovery.why_held(world)
    notices = unknown.words(world, world.clocks.ticked or 0)
    notices += standings.words(world, world.clocks.ticked or 0)
    if why_held is not None:
        notices.append(why_held.message)
    return Findings(
        world.waits,
        dict(world.wanted),
        dict(world.availability),
        world.clocks.contact,
        world.asked.in_line,
        frozenset(world.queue.held),
        why_held or NO_REASON,
        tuple(notices),
    )
