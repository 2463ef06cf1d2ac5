"""The world as the controller believes it: tables, what follows from them, and clocks.

Mutated in place, but only inside `step`. Rows are frozen and replaced whole;
every replacement is noted in `changes`, which is what the store commits and
what readers are shown afterwards (None for a row that went). Indexes follow from the rows and are kept by
the `put_…` methods alone, so no rule can forget one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from iris_controller.core.entities import (
    Attempt,
    ClusterState,
    GroupPolicy,
    Job,
    JobStatus,
    PastAttempt,
    Record,
    Row,
    Settings,
    Slice,
    Standing,
    Task,
    Worker,
    untouched,
)
from iris_controller.core.fleeting import Asked, Clocks, Session, Unknown
from iris_controller.core.moves import check_move
from iris_controller.core.queue import PendingQueue
from iris_controller.core.states import (
    ATTEMPT_LIVE,
    SLICE_COMING,
    JobState,
    SliceGone,
    TaskState,
)
from iris_controller.core.values import (
    AttemptId,
    Now,
    Place,
    Reason,
    Resources,
    Shape,
    TaskId,
    add_up,
)

Key: TypeAlias = tuple[str, object]
Changes: TypeAlias = dict[Key, Row | None]

# Events that are kept for people; older ones are pruned from the store.
RECORDS_KEPT = 10_000
_NO_TASKS = dict.fromkeys(TaskState, 0)


class World:
    """Everything the controller believes; see the module."""

    def __init__(self, settings: Settings, epoch: int) -> None:
        self.settings = settings
        # Every configured zone with its provider.
        self.zones = {(g.provider, zone): None for g in settings.groups.values() for zone in g.zones}
        self.epoch = epoch
        self.jobs: dict[str, Job] = {}
        self.statuses: dict[str, JobStatus] = {}
        self.tasks: dict[TaskId, Task] = {}
        # Jobs that had ended before this start; of their tasks only those are in the
        # table that something may still happen to. All are in the store.
        self.archived: dict[str, None] = {}
        self.slices: dict[str, Slice] = {}
        self._present: dict[str, Slice] = {}
        self._gone: dict[str, None] = {}
        self.workers: dict[Place, Worker] = {}
        self.standings: dict[tuple[str, str], Standing] = {}
        self.cluster = ClusterState()
        self.last_event_id = 0
        self.last_order = 0

        self.requests: dict[str, str] = {}
        self.queue = PendingQueue()
        self.counts: dict[str, dict[TaskState, int]] = {}
        self.live: dict[Place, dict[AttemptId, Resources]] = {}
        # By job, how many of its attempts are live; and the gangs that are being stopped.
        self.live_of: dict[str, int] = {}
        self.broken_gangs: dict[str, None] = {}
        self.logs_due: dict[Place, dict[AttemptId, None]] = {}
        # What its agent was told to end at its last hello, and no row counts as live: it has its room until then.
        self.ending: dict[Place, dict[AttemptId, Resources]] = {}

        self.sessions: dict[int, Session] = {}
        self.session_at: dict[Place, int] = {}
        self.clocks = Clocks()
        self.asked = Asked()
        self.slice_numbers: dict[str, int] = {}
        # Since this start: complete lists with how many slices of ours they showed, zones shown for
        # long enough, unknown slices, places that said hello, and the last job that was there before.
        self.listed: dict[tuple[str, str], int] = {}
        self.shown: dict[tuple[str, str], None] = {}
        self.unknown: dict[str, Unknown] = {}
        self.reported: dict[Place, None] = {}
        self.restored_order = 0

        self.changes: Changes = {}
        self.touched_jobs: dict[str, None] = {}
        self.must_decide = False
        self.waits: dict[Shape, Reason] = {}
        self.wanted: dict[str, int] = {}
        self.availability: dict[str, tuple[str, Reason]] = {}

    # -- reading ---------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether `cluster stop` has begun."""
        return self.cluster.stopping is not None

    def group(self, slice_: Slice) -> GroupPolicy | None:
        """The policy of a slice's group; None if the configuration dropped it."""
        return self.settings.groups.get(slice_.group)

    def standing(self, group: str, zone: str) -> Standing:
        """What a group's recent creations in a zone taught us."""
        return self.standings.get((group, zone)) or Standing(group, zone)

    def task(self, task_id: TaskId) -> Task:
        """A task, also one without a row."""
        return self.tasks.get(task_id) or untouched(task_id, self.statuses.get(task_id.job_id))

    def is_over(self, task_id: TaskId) -> bool:
        """Whether a task has ended for good."""
        return task_id.job_id in self.archived or self.task(task_id).state.is_terminal

    def known_tasks(self, job: Job) -> list[Task]:
        """A job's tasks by index; of an adopted job only those that agents reported."""
        ids = (TaskId(job.job_id, index) for index in range(job.spec.replicas))
        return [self.task(one) for one in ids if not job.adopted or one in self.tasks]

    def lease_ms(self, slice_: Slice) -> int:
        """How long tasks on a slice may outlive contact with us."""
        group = self.group(slice_)
        return group.task_lease_ms if group is not None else self.settings.suspect_after_ms

    def places(self, slice_: Slice) -> Iterator[Place]:
        """The places of a slice, by index."""
        return (Place(slice_.name, index) for index in range(slice_.hosts))

    def live_on(self, slice_: Slice) -> Iterator[AttemptId]:
        """The attempts on a slice that have not ended."""
        for place in self.places(slice_):
            yield from self.live.get(place, ())

    def used(self, place: Place) -> Resources:
        """What the attempts on a worker have been given that are live or still to end."""
        return add_up([*self.live.get(place, {}).values(), *self.ending.get(place, {}).values()])

    def is_taken(self, place: Place) -> bool:
        """Whether anything runs on a worker, or may be about to."""
        return bool(self.live.get(place) or self.ending.get(place))

    def has_tasks(self, slice_: Slice) -> bool:
        """Whether anything runs on a slice, or may be about to."""
        return any(self.is_taken(place) for place in self.places(slice_))

    def is_busy(self, slice_: Slice) -> bool:
        """Whether a task or a log that is still coming in needs this slice."""
        return self.has_tasks(slice_) or any(self.logs_due.get(p) for p in self.places(slice_))

    def registered(self, slice_: Slice) -> int:
        """How many hosts of a slice have said hello."""
        return slice_.hosts - len(self.missing(slice_))

    def missing(self, slice_: Slice) -> list[int]:
        """The hosts of a slice that have not said hello, by index."""
        workers = ((place, self.workers.get(place)) for place in self.places(slice_))
        return [place.worker_index for place, worker in workers if worker is None or not worker.boot_id]

    def session(self, place: Place) -> Session | None:
        """The open session of a worker."""
        session_id = self.session_at.get(place)
        return None if session_id is None else self.sessions[session_id]

    def end_session(self, session: Session) -> None:
        """Forgets a session; whoever ended it tells the agent."""
        del self.sessions[session.session_id]
        if self.session_at.get(session.place) == session.session_id:
            del self.session_at[session.place]

    def present_slices(self) -> Iterable[Slice]:
        """Slices that are not GONE, oldest first."""
        return list(self._present.values())

    @property
    def tombstones(self) -> Iterable[Slice]:
        """Slices that are GONE, in the order of their ends."""
        return (self.slices[name] for name in self._gone)

    # -- writing ---------------------------------------------------------

    def take_changes(self) -> Changes:
        """The rows that changed since the last call."""
        changes, self.changes = self.changes, {}
        return changes

    def put_job(self, job: Job, known: Iterable[int]) -> None:
        """Adds a job whose tasks at `known` indices wait for a worker."""
        self.index_job(job)
        self.changes["job", job.job_id] = job
        self.put_status(JobStatus(job.job_id, JobState.PENDING, {}))
        self.add_tasks(job, known)

    def add_tasks(self, job: Job, indices: Iterable[int]) -> None:
        """Counts and queues tasks that have no row yet."""
        new = list(indices)
        self.counts[job.job_id][TaskState.PENDING] += len(new)
        if new:
            self.queue.add(job.spec.shape, job.turn, new)
        self.touched_jobs[job.job_id] = None
        self.must_decide = True

    def kill_waiting(self, job: Job) -> list[Task]:
        """Takes a stopped job out of the queue; returns its waiting tasks that have rows.

        The others are killed by their job's `stop` alone, so that stopping a
        job costs no row for each of its tasks.
        """
        indices = self.queue.remove_job(job.spec.shape, job.turn)
        known = [self.tasks.get(TaskId(job.job_id, index)) for index in indices]
        touched = [task for task in known if task is not None]
        fresh = len(indices) - len(touched)
        self.counts[job.job_id][TaskState.PENDING] -= fresh
        self.counts[job.job_id][TaskState.KILLED] += fresh
        if touched:
            self.queue.add(job.spec.shape, job.turn, [task.id.task_index for task in touched])
        self.touched_jobs[job.job_id] = None
        self.must_decide = True
        return touched

    def index_job(self, job: Job) -> None:
        """Makes a job findable; its tasks are counted separately."""
        self.jobs[job.job_id] = job
        # An adopted job may carry the request of one that was submitted anew.
        self.requests.setdefault(job.request_id, job.job_id)
        self.last_order = max(self.last_order, job.order)
        self.counts[job.job_id] = _NO_TASKS.copy()
        self.touched_jobs[job.job_id] = None

    def put_status(self, status: JobStatus) -> None:
        """Replaces what is known of a job."""
        was = self.statuses.get(status.job_id)
        if was is not None and was.state is not status.state:
            check_move("job", was.state, status.state, status.job_id)
        self.statuses[status.job_id] = status
        self.changes["status", status.job_id] = status

    def put_task(self, task: Task) -> None:
        """Replaces a task, with its attempt; keeps queue, counts and live attempts."""
        was = self.task(task.id)
        if was.state is not task.state:
            check_move("task", was.state, task.state, task.id)
            self._requeue(was, task)
        self._retire(was.attempt, task.attempt)
        self.index_task(was, task)
        self.changes["task", task.id] = task

    def _requeue(self, was: Task, task: Task) -> None:
        job = self.jobs[task.id.job_id]
        counts = self.counts[job.job_id]
        counts[was.state] -= 1
        counts[task.state] += 1
        if was.state is TaskState.PENDING:
            self.queue.remove(job.spec.shape, job.turn, task.id)
        elif task.state is TaskState.PENDING:
            self.queue.add(job.spec.shape, job.turn, (task.id.task_index,))
        self.touched_jobs[job.job_id] = None
        self.must_decide = True

    def _retire(self, was: Attempt | None, attempt: Attempt | None) -> None:
        if was is None or attempt is None:
            return
        if was.id != attempt.id:
            self.changes["past", was.id] = PastAttempt(was)
        elif type(was.state) is not type(attempt.state):
            check_move("attempt", type(was.state), type(attempt.state), attempt.id)

    def index_task(self, was: Task, task: Task) -> None:
        """Keeps the live attempts of each place."""
        self.tasks[task.id] = task
        old, new = was.attempt, task.attempt
        job_id = task.id.job_id
        if old is not None and isinstance(old.state, ATTEMPT_LIVE):
            self.live[old.place].pop(old.id, None)
            self.live_of[job_id] -= 1
        if new is not None and isinstance(new.state, ATTEMPT_LIVE):
            self.live.setdefault(new.place, {})[new.id] = self.jobs[job_id].spec.resources
            self.live_of[job_id] = self.live_of.get(job_id, 0) + 1

    def put_slice(self, slice_: Slice, now: Now) -> None:
        """Replaces a slice; a change of its state restarts its clock, but not on its way to READY."""
        was = self.slices.get(slice_.name)
        if was is not None and type(was.state) is not type(slice_.state):
            check_move("slice", type(was.state), type(slice_.state), slice_.name)
        self.unknown.pop(slice_.name, None)
        if was is None or type(was.state) is not type(slice_.state):
            slice_ = replace(slice_, changed_ms=now.wall_ms)
            if was is None or not isinstance(slice_.state, SLICE_COMING):
                self.clocks.slice_since[slice_.name] = now.boot_ms
        self.index_slice(slice_)
        self.changes["slice", slice_.name] = slice_
        self.must_decide = True

    def index_slice(self, slice_: Slice) -> None:
        """Makes a slice findable: a day's tombstones are many, and those that are there few."""
        self.slices[slice_.name] = slice_
        if isinstance(slice_.state, SliceGone):
            self._present.pop(slice_.name, None)
            self._gone[slice_.name] = None
        else:
            self._present[slice_.name] = slice_

    def forget_slice(self, name: str) -> None:
        """Drops a GONE slice and its workers, once it is no tombstone any more."""
        for place in self.places(self.slices[name]):
            if self.workers.pop(place, None) is not None:
                self.changes["worker", place] = None
        del self.slices[name]
        self._gone.pop(name, None)
        self.changes["slice", name] = None

    def put_worker(self, worker: Worker) -> None:
        """Replaces a worker."""
        was = self.workers.get(worker.place)
        if was is not None and was.state is not worker.state:
            check_move("worker", was.state, worker.state, worker.place)
        self.workers[worker.place] = worker
        self.changes["worker", worker.place] = worker
        self.must_decide = True

    def put_standing(self, standing: Standing, now: Now) -> None:
        """Replaces a standing; its back-off runs on the boot clock from here."""
        where = (standing.group, standing.zone)
        wait_ms = max(0, standing.not_before_ms - now.wall_ms)
        self.clocks.backoff_until[where] = now.boot_ms + wait_ms
        self.standings[where] = standing
        self.changes["standing", where] = standing
        self.must_decide = True

    def put_cluster(self, cluster: ClusterState) -> None:
        """Replaces the facts about the cluster as a whole."""
        self.cluster = cluster
        self.changes["cluster", 0] = cluster
        self.must_decide = True

    def record(self, now: Now, kind: str, subject: str, what: str, reason: Reason) -> None:
        """Notes something for people."""
        self.last_event_id += 1
        event = Record(self.last_event_id, now.wall_ms, kind, subject, what, reason)
        self.changes["event", event.event_id] = event
        if event.event_id > RECORDS_KEPT:
            self.changes["event", event.event_id - RECORDS_KEPT] = None
