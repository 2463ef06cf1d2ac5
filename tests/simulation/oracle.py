"""What really happened, and whether what the controller committed agrees with it.

Outside the product: sees processes and slices where they are, and of the
controller only the rows that it commits and the answers that it gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.attempts import Exit
from iris_controller.codec.rows import TABLES, RowWrite
from iris_controller.core import effects as fx
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
from tests.simulation.engine import Engine
from tests.simulation.fleet import Fleet
from tests.simulation.gangs import Gangs
from tests.simulation.halves import Halves
from tests.simulation.orders import Live, Orders
from tests.simulation.rows import Rows, attempt_name, place_name, task_name
from tests.simulation.sleepers import Sleepers
from tests.simulation.story import Objection, Story

_TABLES = {table.name: table for table in TABLES.values()}
# Rows of these are kept for ever.
_FOR_EVER = ("jobs", "job_status", "tasks")


class Oracle:
    """Objects (raises `Objection`) as soon as something is so that must never be."""

    def __init__(self, engine: Engine, story: Story, settings: Settings) -> None:
        self._engine = engine
        self._story = story
        self._settings = settings
        self._requests: dict[str, str] = {}
        self._starts: dict[AttemptId, Place] = {}
        self._ends: dict[AttemptId, verdicts.End] = {}
        self._stopped: dict[str, None] = {}
        self._epoch = self._loss_epoch = 0
        # In the last batch.
        self._just_assigned: dict[AttemptId, None] = {}
        # Attempts that a store knew which was lost or replaced: their agents may still start them.
        self._before_loss: dict[AttemptId, None] = {}
        # Attempts whose ends are in the store, or were before it was lost: their agents may forget them.
        self._stored_ends: dict[AttemptId, None] = {}
        self.deeds: Counter[str] = Counter()
        self.live: dict[TaskId, Live] = {}
        self.rows = Rows()
        self.fleet = Fleet(settings, self.deeds)
        self.gangs = Gangs(engine, settings, self.deeds)
        self.sleepers = Sleepers(engine)
        self.halves = Halves(
            engine, self.live, lambda: self.rows, self.gangs, self.sleepers, self.fleet.steady_since_ms
        )
        self.orders = Orders(self.live, self._just_assigned, lambda: self.rows, self.gangs)

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs that the store has."""
        return self.rows.jobs

    @property
    def statuses(self) -> Mapping[str, JobStatus]:
        """Their statuses."""
        return self.rows.statuses

    def was_before_loss(self, attempt_id: AttemptId) -> bool:
        """Whether it was made before the last time that a store was lost or replaced."""
        return bool(self._before_loss) and attempt_id.epoch < self._loss_epoch

    # -- hosts ---------------------------------------------------------------

    def _lay_to_sleep(self, live: Live) -> bool:
        """Takes it that a process will not run again, if its machine is suspended."""
        if not self.sleepers.may_be_given_up(live):
            return False
        self.deeds["given up while suspended"] += 1
        self.sleepers.given_up[live.id] = self.live.pop(live.id.task)
        return True

    def on_prepared(self, key: AttemptKey, address: str, place: Place) -> None:
        """A member of a gang has its port."""
        self.gangs.on_prepared(AttemptId(*key), place, address)

    def on_process_started(
        self, key: AttemptKey, place: Place, resources: job_pb2.Resources, addresses: Sequence[str]
    ) -> None:
        """A program starts."""
        attempt_id = AttemptId(*key)
        about = [task_name(attempt_id.task), place.slice_name]
        self._story.tell(place_name(place), f"starts {attempt_name(attempt_id)}")
        if attempt_id in self._starts:
            raise Objection("started_twice", f"{attempt_name(attempt_id)} ran before", about)
        other = self.live.get(attempt_id.task)
        if other is not None and not self._lay_to_sleep(other):
            words = f"{attempt_name(other.id)} lives on {other.place}, {attempt_name(attempt_id)} starts"
            raise Objection("two_live", f"{words} on {place}", [*about, other.place.slice_name])
        self._check_current(attempt_id, place, about)
        job = self.rows.jobs.get(attempt_id.job_id)
        if job is not None and job.spec.is_gang:
            others = [live.id for live in self.live.values() if live.id.job_id == attempt_id.job_id]
            self.gangs.check_start(job, attempt_id, addresses, others)
        self._starts[attempt_id] = place
        self.deeds["program started"] += 1
        self.live[attempt_id.task] = Live(attempt_id, place, resources)
        here = [one.id for one in self.live.values() if one.place == place]
        self.fleet.check_host(place, here, self.rows)

    def _check_current(self, attempt_id: AttemptId, place: Place, about: list[str]) -> None:
        task = self.rows.tasks.get(attempt_id.task)
        attempt = task.attempt if task is not None else None
        if attempt is None or attempt.id != attempt_id or not isinstance(attempt.state, s.ATTEMPT_LIVE):
            if attempt_id in self._before_loss:
                return
            words = f"{attempt_name(attempt_id)} starts, and the store has {attempt}"
            raise Objection("not_current", words, about)
        if attempt.place != place:
            raise Objection("elsewhere", f"{attempt_id} starts on {place}, not {attempt.place}", about)

    def on_process_ended(self, key: AttemptKey, how: Exit, *, by_itself: bool) -> None:
        """A program has ended, by itself or not."""
        attempt_id = AttemptId(*key)
        words = "ended" if by_itself else "was ended"
        self._story.tell(task_name(attempt_id.task), f"{attempt_name(attempt_id)} {words}: {how}")
        self._ends[attempt_id] = verdicts.End(how, by_itself)
        self.deeds["program ended by itself" if by_itself else "program was ended"] += 1
        if self.sleepers.given_up.pop(attempt_id, None) is None:
            del self.live[attempt_id.task]

    # -- the cloud -------------------------------------------------------------

    def on_cloud_slice(self, name: str, group: str, zone: str, present: Sequence[str]) -> None:
        """The cloud begins to make a slice; `present` are all that are there."""
        self.deeds["slice made"] += 1
        row = self.rows.slices.get(name)
        if row is None:
            if self._before_loss:
                return
            raise Objection("unknown_slice", f"{name} is made and the store does not know it", [name])
        if row.adopted and isinstance(row.state, s.SliceDeleting | s.SliceGone):
            return
        if (row.group, row.zone) != (group, zone):
            raise Objection("wrong_slice", f"{name} is made for {group} in {zone}, wanted {row}", [name])
        known = [self.rows.slices[other] for other in present if other in self.rows.slices]
        ours = [r for r in known if r.group == group and not isinstance(r.state, s.SliceGone)]
        of_group = [r for r in ours if not r.adopted]
        most = self._settings.groups[group].max_slices
        if len(of_group) > most:
            names = [r.name for r in of_group]
            raise Objection("over_max", f"{group} has {len(of_group)} slices, at most {most}", names)

    def on_listed(self, provider: str, zone: str, names: Iterable[str]) -> None:
        """The controller gets a complete list of a zone."""
        self.fleet.on_listed(provider, zone, names, self.rows, self._engine.now_ms)

    def on_contact(self, place: Place, at_ms: int) -> None:
        """A word of an agent has reached the controller."""
        self.fleet.on_contact(place, at_ms)

    # -- answers ---------------------------------------------------------------

    def on_accepted(self, request_id: str, job_id: str) -> None:
        """A submission was acknowledged."""
        if job_id not in self.rows.jobs:
            raise Objection("not_stored", f"{job_id} was acknowledged and is not in the store", [job_id])
        self.deeds["job accepted"] += request_id not in self._requests
        known = self._requests.setdefault(request_id, job_id)
        if known != job_id:
            raise Objection("two_jobs", f"{request_id} is {known} and {job_id}", [known, job_id])

    def on_stop_accepted(self, job_id: str) -> None:
        """A stop was acknowledged."""
        self.deeds["job stopped"] += 1
        status = self.rows.statuses.get(job_id)
        if status is None or (status.stop is None and not status.state.is_terminal):
            raise Objection("stop_lost", f"the stop of {job_id} is not in the store", [job_id])

    def on_stop_refused(self, job_id: str, answer: fx.Refusal) -> None:
        """A stop was not taken: the job is not known any more."""
        if not self._before_loss:
            raise Objection("stop_lost", f"the stop of {job_id} is refused: {answer}", [job_id])

    # -- the store ---------------------------------------------------------------

    def on_store_replaced(self, rows: Iterable[Row]) -> None:
        """The store was lost, or an older one came back: what is not in it is not known any more."""
        self.deeds["store replaced"] += 1
        for task in self.rows.tasks.values():
            if task.attempt is not None:
                self._before_loss[task.attempt.id] = None
        # Even where nothing ran: what was asked for may still come.
        self._before_loss[AttemptId("", 0, 0, 0)] = None
        self._loss_epoch = self._epoch + 1
        self.rows = Rows(rows)
        self._stopped = {status.job_id: None for status in self.rows.statuses.values() if status.stop}
        self._requests = {r: job_id for r, job_id in self._requests.items() if job_id in self.rows.jobs}
        self.fleet.on_store_replaced()

    def on_loaded(self, jobs: Iterable[str], epoch: int) -> None:
        """A controller has read the store, and knows these jobs."""
        self._epoch = epoch
        self.fleet.on_loaded(self._engine.now_ms)
        lost = sorted(self.rows.jobs.keys() - jobs)
        if lost:
            raise Objection("forgotten", f"{lost} are in the store and were not read", lost)

    def on_commit(self, writes: Iterable[RowWrite], rows: Sequence[Row | None], decided_ms: int) -> None:
        """A batch is in the store. `rows` are those that `writes` were made from, then."""
        self.deeds["commit"] += 1
        self._just_assigned.clear()
        changed: list[tuple[Row | None, Row]] = []
        past: dict[AttemptId, Attempt] = {}
        for write, meant in zip(writes, rows, strict=True):
            if write.values is None:
                self._check_forgotten(write)
                continue
            row = _TABLES[write.table].decode(write.values)
            if row != meant:
                raise Objection("codec", f"{meant} is read back as {row}")
            if isinstance(row, PastAttempt):
                past[row.attempt.id] = row.attempt
            changed.append((self.rows.put(row), row))
        for was, row in changed:
            match row:
                case Task():
                    self._check_task(was if isinstance(was, Task) else Task(row.id), row, past)
                case JobStatus():
                    self._check_status(was if isinstance(was, JobStatus) else None, row)
                case Worker():
                    self._story.tell(
                        "store", f"worker {place_name(row.place)} {row.state.name} {row.boot_id}"
                    )
                case _:
                    pass
        self._check_slices(changed, decided_ms)
        self.halves.note_memory()
        self._check_gangs(changed, past)
        attempts = [
            *past.values(),
            *(row.attempt for _, row in changed if isinstance(row, Task) and row.attempt),
        ]
        self._stored_ends.update((a.id, None) for a in attempts if isinstance(a.state, s.AttemptEnded))
        self._stopped.update((r.job_id, None) for _, r in changed if isinstance(r, JobStatus) and r.stop)

    def _check_slices(self, changed: Iterable[tuple[Row | None, Row]], decided_ms: int) -> None:
        moved: list[tuple[Slice | None, Slice]] = []
        for was, row in changed:
            if not isinstance(row, Slice):
                continue
            before = was if isinstance(was, Slice) else None
            if before is None or type(before.state) is not type(row.state):
                self._story.tell("store", f"slice {row.name} {verdicts.slice_words(row)}")
                self.deeds["slice adopted"] += before is None and row.adopted
                moved.append((before, row))
        if moved:
            busy = [live.place.slice_name for live in self.live.values() if not self.sleepers.holds(live)]
            self.fleet.check_commit(self.rows, moved, busy, decided_ms)

    def _check_gangs(
        self, changed: Iterable[tuple[Row | None, Row]], past: Mapping[AttemptId, Attempt]
    ) -> None:
        before = {
            row.id: was if isinstance(was, Task) else Task(row.id)
            for was, row in changed
            if isinstance(row, Task) and self.rows.jobs[row.id.job_id].spec.is_gang
        }
        if not before:
            return
        self.gangs.check_commit(self.rows, before, past, self._epoch, self._stopped)
        for job_id in dict.fromkeys(task_id.job_id for task_id in before):
            if self.gangs.broken(self.rows, job_id):
                self.halves.watch(job_id)

    def _check_forgotten(self, write: RowWrite) -> None:
        if write.table in _FOR_EVER:
            raise Objection("forgotten", f"{write.table} lost {write.key}", [write.key[0]])
        if write.table == "slices":
            row = self.rows.slices.pop(write.key[0])
            if not isinstance(row.state, s.SliceGone):
                raise Objection("forgotten", f"{row} is forgotten before it is gone", [row.name])

    def _check_task(self, was: Task, task: Task, past: dict[AttemptId, Attempt]) -> None:
        name = task_name(task.id)
        self._story.tell("store", f"task {name} {verdicts.task_words(task)}")
        self._check_not_running(was, task, name)
        if was.state.is_terminal and (was.state, was.failures, was.losses) != (
            task.state,
            task.failures,
            task.losses,
        ):
            raise Objection("not_final", f"{name} was {was.state.name}, is {task.state.name}", [name])
        current = task.attempt
        if current is not None and (was.attempt is None or was.attempt.id != current.id):
            if was.attempt is not None and not current.id.is_newer_than(was.attempt.id):
                raise Objection("went_back", f"{current.id} after {was.attempt.id}", [name])
            if current.id.epoch == self._epoch:
                self._just_assigned[current.id] = None
                self._check_assigned(current, name)
        if verdicts.was_adopted(was, task, past, self._epoch):
            self.deeds["attempt adopted"] += 1
        else:
            self._check_end(was, task, past)

    def _check_not_running(self, was: Task, task: Task, name: str) -> None:
        """A task that has another run, or none, has no other that lives."""
        live, current = self.live.get(task.id), task.attempt
        if live is None:
            return
        if current is not None and current.id == live.id and isinstance(current.state, s.ATTEMPT_LIVE):
            return
        # What an agent brings along of an earlier start is no run that begins.
        is_placed = (
            current is not None
            and current.id.epoch == self._epoch
            and (was.attempt is None or was.attempt.id != current.id)
        )
        is_known = current is not None and not live.id.is_newer_than(current.id)
        if live.id in self._before_loss and not is_placed and not is_known:
            # Nobody has reported it to the store that there is now.
            return
        if not self._lay_to_sleep(live):
            words = f"{name} is {task.state.name} and {attempt_name(live.id)} lives on {live.place}"
            raise Objection("still_lives", words, [name, live.place.slice_name])

    def _check_assigned(self, attempt: Attempt, name: str) -> None:
        slice_ = self.rows.slices[attempt.place.slice_name]
        if not isinstance(slice_.state, s.SliceReady):
            raise Objection("not_ready", f"{name} is assigned to {slice_}", [name, slice_.name])
        if attempt.id.job_id in self._stopped:
            raise Objection("after_stop", f"{name} is assigned though its job was stopped", [name])

    def _check_end(self, was: Task, task: Task, past: dict[AttemptId, Attempt]) -> None:
        """Whether an attempt's end is recorded as it was, and charged as it should be."""
        self.deeds["attempt retried"] += was.attempt is not None and task.attempts > was.attempts
        before, current = was.attempt, task.attempt
        if before is None or current is None or isinstance(before.state, s.AttemptEnded):
            final = None
        else:
            final = current if current.id == before.id else past[before.id]
        job, status = self.rows.jobs[task.id.job_id], self.rows.statuses[task.id.job_id]
        stop_is_new = status.stop is not None and job.job_id not in self._stopped
        found = ""
        if not job.spec.is_gang:
            found = verdicts.charges_are_wrong(was, task, final, job, status, stop_is_new, self.rows.slices)
        if final is not None and isinstance(final.state, s.AttemptEnded):
            self.deeds[f"attempt ended: {final.state.end.reason.code}"] += 1
            # An agent that was told to forget it cannot say how it ended.
            forgotten = final.id in self._stored_ends and verdicts.says_nothing(final.state)
            found = found or (
                "" if forgotten else verdicts.end_is_wrong(final.state, self._ends.get(final.id))
            )
        elif final is not None and isinstance(final.state, s.AttemptLost):
            self.deeds[f"attempt lost: {final.state.reason.code}"] += 1
        if found:
            raise Objection("wrong_end", f"{task_name(task.id)}: {found}", [task_name(task.id)])

    def _check_status(self, was: JobStatus | None, row: JobStatus) -> None:
        if was is None or was.state is not row.state or was.stop != row.stop:
            self._story.tell("store", f"job {row.job_id} {row.state.name} stop={row.stop}")
        if was is not None and was.state.is_terminal and was.state is not row.state:
            raise Objection("not_final", f"{was} became {row}", [row.job_id])
        if was is not None and was.stop is not None and row.stop is None:
            raise Objection("stop_lost", f"{row.job_id} was to stop", [row.job_id])
        if row.state.is_terminal:
            job = self.rows.jobs[row.job_id]
            for index in range(job.spec.replicas):
                task = self.rows.tasks.get(TaskId(row.job_id, index))
                # A task that was never assigned has no row; it ends only when its job is stopped.
                over = row.stop is not None or job.adopted if task is None else task.state.is_terminal
                if not over:
                    raise Objection(
                        "not_over", f"{row.job_id} is {row.state}, task {index} {task}", [row.job_id]
                    )
