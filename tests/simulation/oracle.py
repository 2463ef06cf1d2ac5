"""What really happened, and whether what the controller committed agrees with it.

Outside the product: sees processes and slices where they are, and of the
controller only the rows that it commits and the answers that it gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.attempts import Exit
from iris_controller.codec.rows import TABLES, RowWrite
from iris_controller.core import states as s
from iris_controller.core.entities import (
    Attempt,
    Job,
    JobStatus,
    PastAttempt,
    Row,
    Settings,
    Slice,
    Task,
    Worker,
)
from iris_controller.core.values import AttemptId, Place, TaskId
from iris_proto.v1 import job_pb2
from tests.simulation import verdicts
from tests.simulation.story import Objection, Story

_TABLES = {table.name: table for table in TABLES.values()}
# Rows of these are kept for ever.
_FOR_EVER = ("jobs", "job_status", "tasks")
# Why a slice is deleted of which the cloud has nothing good to say.
_ITS_OWN_FAULT = ("host_dead", "vanished", "preempted")


@dataclass(frozen=True)
class Live:
    """A process that runs."""

    id: AttemptId
    place: Place
    resources: job_pb2.Resources


@dataclass(frozen=True)
class Slices:
    """What the oracle may ask the cloud."""

    is_there: Callable[[str], bool]
    is_sound: Callable[[str], bool]
    lands_late: Callable[[str], bool]


class Oracle:
    """Objects (raises `Objection`) as soon as something is so that must never be."""

    def __init__(self, story: Story, settings: Settings) -> None:
        self._story = story
        self._settings = settings
        self._requests: dict[str, str] = {}
        self._starts: dict[AttemptId, Place] = {}
        self._ends: dict[AttemptId, verdicts.End] = {}
        self._stopped: dict[str, None] = {}
        # When slices were asked for, by scale group, since the controller's start.
        self._requested: dict[str, list[int]] = {}
        self.deeds: Counter[str] = Counter()
        self.live: dict[TaskId, Live] = {}
        self.jobs: dict[str, Job] = {}
        self.statuses: dict[str, JobStatus] = {}
        self.tasks: dict[TaskId, Task] = {}
        self.slices: dict[str, Slice] = {}
        self.cloud: Slices | None = None

    # -- hosts ---------------------------------------------------------------

    def on_process_started(self, key: AttemptKey, place: Place, resources: job_pb2.Resources) -> None:
        """A program starts."""
        attempt_id = AttemptId(*key)
        about = [_name(attempt_id.task), place.slice_name]
        self._story.tell(f"{place.slice_name}/{place.worker_index}", f"starts {_words(attempt_id)}")
        if attempt_id in self._starts:
            raise Objection("started_twice", f"{_words(attempt_id)} ran before", about)
        other = self.live.get(attempt_id.task)
        if other is not None:
            words = f"{_words(other.id)} lives on {other.place}, {_words(attempt_id)} starts on {place}"
            raise Objection("two_live", words, [*about, other.place.slice_name])
        self._check_current(attempt_id, place, about)
        self._starts[attempt_id] = place
        self.deeds["program started"] += 1
        self.live[attempt_id.task] = Live(attempt_id, place, resources)
        self._check_capacity(place)

    def _check_current(self, attempt_id: AttemptId, place: Place, about: list[str]) -> None:
        task = self.tasks.get(attempt_id.task)
        attempt = task.attempt if task is not None else None
        if attempt is None or attempt.id != attempt_id or not isinstance(attempt.state, s.ATTEMPT_LIVE):
            words = f"{_words(attempt_id)} starts, and the store has {attempt}"
            raise Objection("not_current", words, about)
        if attempt.place != place:
            raise Objection("elsewhere", f"{attempt_id} starts on {place}, not {attempt.place}", about)

    def _check_capacity(self, place: Place) -> None:
        offer = self._settings.groups[self.slices[place.slice_name].group].host_resources
        here = [live.resources for live in self.live.values() if live.place == place]
        memory = sum(r.memory_bytes for r in here)
        too_much = offer.memory_bytes and memory > offer.memory_bytes
        if too_much or sum(_cpu(r) for r in here) > offer.cpu_millis:
            raise Objection("oversubscribed", f"{len(here)} programs on {place}", [place.slice_name])

    def on_process_ended(self, key: AttemptKey, how: Exit, *, by_itself: bool) -> None:
        """A program has ended, by itself or not."""
        attempt_id = AttemptId(*key)
        words = "ended" if by_itself else "was ended"
        self._story.tell(_name(attempt_id.task), f"{_words(attempt_id)} {words}: {how}")
        self._ends[attempt_id] = verdicts.End(how, by_itself)
        self.deeds["program ended by itself" if by_itself else "program was ended"] += 1
        del self.live[attempt_id.task]

    # -- the cloud -------------------------------------------------------------

    def on_cloud_slice(self, name: str, group: str, zone: str, present: Sequence[str]) -> None:
        """The cloud begins to make a slice; `present` are all that are there."""
        self.deeds["slice made"] += 1
        row = self.slices.get(name)
        if row is None:
            raise Objection("unknown_slice", f"{name} is made and the store does not know it", [name])
        if (row.group, row.zone) != (group, zone):
            raise Objection("wrong_slice", f"{name} is made for {group} in {zone}, wanted {row}", [name])
        known = [self.slices[other] for other in present if other in self.slices]
        of_group = [r for r in known if r.group == group and not isinstance(r.state, s.SliceGone)]
        most = self._settings.groups[group].max_slices
        if len(of_group) > most:
            names = [r.name for r in of_group]
            raise Objection("over_max", f"{group} has {len(of_group)} slices, at most {most}", names)

    # -- answers ---------------------------------------------------------------

    def on_accepted(self, request_id: str, job_id: str) -> None:
        """A submission was acknowledged."""
        if job_id not in self.jobs:
            raise Objection("not_stored", f"{job_id} was acknowledged and is not in the store", [job_id])
        self.deeds["job accepted"] += request_id not in self._requests
        known = self._requests.setdefault(request_id, job_id)
        if known != job_id:
            raise Objection("two_jobs", f"{request_id} is {known} and {job_id}", [known, job_id])

    def on_stop_accepted(self, job_id: str) -> None:
        """A stop was acknowledged."""
        self.deeds["job stopped"] += 1
        status = self.statuses[job_id]
        if status.stop is None and not status.state.is_terminal:
            raise Objection("stop_lost", f"the stop of {job_id} is not in the store", [job_id])

    # -- the store ---------------------------------------------------------------

    def on_loaded(self, jobs: Iterable[str]) -> None:
        """A controller has read the store, and knows these jobs."""
        self._requested.clear()
        lost = sorted(self.jobs.keys() - jobs)
        if lost:
            raise Objection("forgotten", f"{lost} are in the store and were not read", lost)

    def on_commit(self, writes: Iterable[RowWrite], rows: Sequence[Row | None], decided_ms: int) -> None:
        """A batch is in the store. `rows` are those that `writes` were made from, then."""
        self.deeds["commit"] += 1
        changed: list[tuple[Row | None, Row]] = []
        past: dict[AttemptId, Attempt] = {}
        for write, meant in zip(writes, rows, strict=True):
            if write.values is None:
                self._check_forgotten(write)
                continue
            row = _TABLES[write.table].decode(write.values)
            if isinstance(meant, JobStatus):
                # Counts follow from the tasks and are not stored.
                meant = replace(meant, counts={})
            if row != meant:
                raise Objection("codec", f"{meant} is read back as {row}")
            if isinstance(row, PastAttempt):
                past[row.attempt.id] = row.attempt
            changed.append((self._put(row), row))
        for was, row in changed:
            match row:
                case Task():
                    self._check_task(was if isinstance(was, Task) else Task(row.id), row, past)
                case Slice():
                    self._check_slice(was if isinstance(was, Slice) else None, row, decided_ms)
                case JobStatus():
                    self._check_status(was if isinstance(was, JobStatus) else None, row)
                case Worker():
                    where = f"{row.place.slice_name}/{row.place.worker_index}"
                    self._story.tell("store", f"worker {where} {row.state.name} {row.boot_id}")
                case _:
                    pass
        self._stopped.update((r.job_id, None) for _, r in changed if isinstance(r, JobStatus) and r.stop)

    def _put(self, row: Row) -> Row | None:
        was: Row | None = None
        match row:
            case Job():
                was, self.jobs[row.job_id] = self.jobs.get(row.job_id), row
            case JobStatus():
                was, self.statuses[row.job_id] = self.statuses.get(row.job_id), row
            case Task():
                was, self.tasks[row.id] = self.tasks.get(row.id), row
            case Slice():
                was, self.slices[row.name] = self.slices.get(row.name), row
            case _:
                pass
        return was

    def _check_forgotten(self, write: RowWrite) -> None:
        if write.table in _FOR_EVER:
            raise Objection("forgotten", f"{write.table} lost {write.key}", [write.key[0]])
        if write.table == "slices":
            row = self.slices.pop(write.key[0])
            if not isinstance(row.state, s.SliceGone):
                raise Objection("forgotten", f"{row} is forgotten before it is gone", [row.name])

    def _check_task(self, was: Task, task: Task, past: dict[AttemptId, Attempt]) -> None:
        name = _name(task.id)
        self._story.tell("store", f"task {name} {verdicts.task_words(task)}")
        live = self.live.get(task.id)
        current = task.attempt
        if live is not None and (
            current is None or current.id != live.id or not isinstance(current.state, s.ATTEMPT_LIVE)
        ):
            words = f"{name} is {task.state.name} and {_words(live.id)} lives on {live.place}"
            raise Objection("still_lives", words, [name, live.place.slice_name])
        if was.state.is_terminal and (was.state, was.failures, was.losses) != (
            task.state,
            task.failures,
            task.losses,
        ):
            raise Objection("not_final", f"{name} was {was.state.name}, is {task.state.name}", [name])
        if current is not None and (was.attempt is None or was.attempt.id != current.id):
            if was.attempt is not None and not current.id.is_newer_than(was.attempt.id):
                raise Objection("went_back", f"{current.id} after {was.attempt.id}", [name])
            slice_ = self.slices[current.place.slice_name]
            if not isinstance(slice_.state, s.SliceReady):
                raise Objection("not_ready", f"{name} is assigned to {slice_}", [name, slice_.name])
            if task.id.job_id in self._stopped:
                raise Objection("after_stop", f"{name} is assigned though its job was stopped", [name])
        self._check_end(was, task, past)

    def _check_end(self, was: Task, task: Task, past: dict[AttemptId, Attempt]) -> None:
        """Whether an attempt's end is recorded as it was, and charged as it should be."""
        self.deeds["attempt retried"] += was.attempt is not None and task.attempts > was.attempts
        before, current = was.attempt, task.attempt
        if before is None or current is None or isinstance(before.state, s.AttemptEnded):
            final = None
        else:
            final = current if current.id == before.id else past[before.id]
        job, status = self.jobs[task.id.job_id], self.statuses[task.id.job_id]
        stop_is_new = status.stop is not None and job.job_id not in self._stopped
        found = verdicts.charges_are_wrong(was, task, final, job, status, stop_is_new, self.slices)
        if final is not None and isinstance(final.state, s.AttemptEnded):
            self.deeds[f"attempt ended: {final.state.end.reason.code}"] += 1
            found = found or verdicts.end_is_wrong(final.state, self._ends.get(final.id))
        elif final is not None and isinstance(final.state, s.AttemptLost):
            self.deeds[f"attempt lost: {final.state.reason.code}"] += 1
        if found:
            raise Objection("wrong_end", f"{_name(task.id)}: {found}", [_name(task.id)])

    def _check_slice(self, was: Slice | None, row: Slice, decided_ms: int) -> None:
        if was is not None and type(was.state) is type(row.state):
            return
        self._story.tell("store", f"slice {row.name} {verdicts.slice_words(row)}")
        if was is None:
            self._check_pace(row, decided_ms)
        here = [live for live in self.live.values() if live.place.slice_name == row.name]
        match row.state:
            case s.SliceGone():
                assert self.cloud is not None
                if self.cloud.is_there(row.name) and not self.cloud.lands_late(row.name):
                    raise Objection("gone_but_there", f"{row.name} is GONE and the cloud has it", [row.name])
                if here:
                    raise Objection("gone_but_there", f"{row.name} is GONE and {here} run", [row.name])
            case s.SliceDeleting(why) if why.code in _ITS_OWN_FAULT:
                assert self.cloud is not None
                if self.cloud.is_sound(row.name) and not self.cloud.lands_late(row.name):
                    raise Objection("nothing_wrong", f"{row.name} is deleted: {why.message}", [row.name])
            case s.SliceDraining(why) if why.code == "idle" and here:
                raise Objection("not_idle", f"{row.name} is given back as idle; {here} run", [row.name])
            case _:
                pass

    def _check_pace(self, row: Slice, decided_ms: int) -> None:
        times = self._requested.setdefault(row.group, [])
        times.append(decided_ms)
        times[:] = [at_ms for at_ms in times if at_ms > decided_ms - 60_000]
        if len(times) > self._settings.creates_per_minute:
            raise Objection("too_fast", f"{len(times)} slices of {row.group} within a minute", [row.name])

    def _check_status(self, was: JobStatus | None, row: JobStatus) -> None:
        if was is None or was.state is not row.state or was.stop != row.stop:
            self._story.tell("store", f"job {row.job_id} {row.state.name} stop={row.stop}")
        if was is not None and was.state.is_terminal and was.state is not row.state:
            raise Objection("not_final", f"{was} became {row}", [row.job_id])
        if was is not None and was.stop is not None and row.stop is None:
            raise Objection("stop_lost", f"{row.job_id} was to stop", [row.job_id])
        if row.state.is_terminal:
            for index in range(self.jobs[row.job_id].spec.replicas):
                task = self.tasks.get(TaskId(row.job_id, index))
                # A task that was never assigned has no row; it ends only when its job is stopped.
                over = row.stop is not None if task is None else task.state.is_terminal
                if not over:
                    raise Objection(
                        "not_over", f"{row.job_id} is {row.state}, task {index} {task}", [row.job_id]
                    )


def _cpu(resources: job_pb2.Resources) -> int:
    return resources.cpu_millis


def _name(task_id: TaskId) -> str:
    return f"{task_id.job_id}/{task_id.task_index}"


def _words(attempt_id: AttemptId) -> str:
    return f"{_name(attempt_id.task)} attempt {attempt_id.number} of epoch {attempt_id.epoch}"
