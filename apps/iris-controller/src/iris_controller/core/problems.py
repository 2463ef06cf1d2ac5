"""What must never be so: checks that return findings instead of raising.

The same checks serve tests, the simulator and production. They derive
everything from the rows again, so they also catch a stale index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from iris_controller.core import states as s
from iris_controller.core.ends import is_broken
from iris_controller.core.entities import Attempt, Slice
from iris_controller.core.jobs import derive_state
from iris_controller.core.states import ATTEMPT_LIVE, TaskState
from iris_controller.core.values import AttemptId, Place, Resources, Shape, TaskId, add_up
from iris_controller.core.world import World
from iris_platform.base import Failure

_REFUSALS = [f.value for f in (Failure.NO_CAPACITY, Failure.QUOTA, Failure.REFUSED, Failure.PERMISSION)]
_ATTEMPT_OF_LIVE_TASK = {
    TaskState.ASSIGNED: s.AttemptAssigned,
    TaskState.PREPARING: s.AttemptPreparing,
    TaskState.RUNNING: s.AttemptRunning,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken invariant: where, a stable code, and words."""

    where: str
    code: str
    words: str


def problems(world: World) -> list[Problem]:
    """Every invariant of the world that does not hold between two batches."""
    return [
        *_tasks_agree_with_attempts(world),
        *_indexes_are_fresh(world),
        *_gangs_are_whole(world),
        *_queue_is_the_pending(world),
        *_capacity_holds(world),
        *_accelerators_are_apart(world),
        *_slices_within_max(world),
        *_jobs_are_derived(world),
        *_waits_have_reasons(world),
    ]


def _tasks_agree_with_attempts(world: World) -> list[Problem]:
    found: list[Problem] = []
    for task in world.tasks.values():
        live = task.attempt is not None and isinstance(task.attempt.state, ATTEMPT_LIVE)
        wanted = _ATTEMPT_OF_LIVE_TASK.get(task.state)
        if wanted is s.AttemptRunning and not live and world.jobs[task.id.job_id].spec.is_gang:
            # A member that has ended runs on with its gang; `_gangs_are_whole` sees to the end of that.
            continue
        if live != (wanted is not None) or (
            wanted is not None and task.attempt is not None and not isinstance(task.attempt.state, wanted)
        ):
            found.append(Problem(str(task.id), "task_attempt", f"{task.state} with {task.attempt}"))
        if live and task.attempt is not None:
            slice_ = world.slices.get(task.attempt.place.slice_name)
            if slice_ is None or isinstance(slice_.state, s.SliceGone):
                found.append(Problem(str(task.id), "live_on_gone", f"runs on {task.attempt.place}"))
        if task.state is TaskState.SUCCEEDED and not (
            task.attempt is not None and isinstance(task.attempt.state, s.AttemptSucceeded)
        ):
            found.append(Problem(str(task.id), "success_without_attempt", str(task.attempt)))
    return found


def _gangs_are_whole(world: World) -> list[Problem]:
    """Wholly placed on its slices or not at all, but while an older store is being completed."""
    found: list[Problem] = []
    for job in world.jobs.values():
        if not job.spec.is_gang or job.job_id in world.queue.held:
            continue
        members = world.known_tasks(job)
        out = [m.attempt for m in members if m.state.is_live and m.attempt is not None]
        live = [a for a in out if isinstance(a.state, ATTEMPT_LIVE)]
        if out and not live:
            found.append(Problem(job.job_id, "unjudged_gang", f"{len(out)} of {len(members)} have ended"))
        broken = job.job_id in world.broken_gangs
        apart = len(out) < len(members) or _is_apart(world, job.spec.shape, out)
        if live and apart and not broken:
            found.append(Problem(job.job_id, "gang_in_parts", str([a.place for a in out])))
        if broken is not bool(live and is_broken(members)):
            found.append(Problem(job.job_id, "stale_index", "broken_gangs"))
    return found


def _is_apart(world: World, shape: Shape, members: Iterable[Attempt]) -> bool:
    """Whether a gang's shares are not each on a slice of its own, all of one lot."""
    shares: dict[int, set[str]] = {}
    for member in members:
        shares.setdefault(member.id.task_index // shape.share, set()).add(member.place.slice_name)
    names = set().union(*shares.values())
    lots = {(v.group, v.zone) for v in map(world.slices.get, names) if v is not None}
    return any(len(share) > 1 for share in shares.values()) or len(names) < len(shares) or len(lots) > 1


def _indexes_are_fresh(world: World) -> list[Problem]:
    rows: dict[Place, dict[AttemptId, Resources]] = {}
    for task in world.tasks.values():
        if task.attempt is not None and isinstance(task.attempt.state, ATTEMPT_LIVE):
            given = world.jobs[task.id.job_id].spec.resources
            rows.setdefault(task.attempt.place, {})[task.attempt.id] = given
    kept = {place: live for place, live in world.live.items() if live}
    if rows != kept:
        return [Problem("live", "stale_index", f"rows say {rows}, the index {kept}")]
    counted = Counter(attempt.job_id for live in rows.values() for attempt in live)
    if counted != +Counter(world.live_of):
        return [Problem("live_of", "stale_index", f"rows say {counted}, the index {world.live_of}")]
    return []


def _queue_is_the_pending(world: World) -> list[Problem]:
    found: list[Problem] = []
    for job in world.jobs.values():
        status = world.statuses[job.job_id]
        if status.state.is_terminal:
            continue
        fresh_wait = not job.adopted and status.stop is None
        tasks = [world.tasks.get(TaskId(job.job_id, i)) for i in range(job.spec.replicas)]
        pending = [
            i
            for i, t in enumerate(tasks)
            if (t is None and fresh_wait) or (t is not None and t.state is TaskState.PENDING)
        ]
        queued = sorted(world.queue.waiting(job.job_id))
        if queued != pending:
            found.append(Problem(job.job_id, "queue", f"pending {pending}, queued {queued}"))
    return found


def _capacity_holds(world: World) -> list[Problem]:
    found: list[Problem] = []
    for place, live in world.live.items():
        # What is adopted stands beside what an older store believes to run there; to that nothing is added.
        ours = add_up(given for attempt, given in live.items() if attempt.epoch == world.epoch)
        used, capacity = add_up(live.values()), world.workers[place].capacity
        if (ours.cpu_millis and used.cpu_millis > capacity.cpu_millis) or (
            ours.memory_bytes and capacity.memory_bytes and used.memory_bytes > capacity.memory_bytes
        ):
            found.append(Problem(str(place), "oversubscribed", f"{used} of {capacity}"))
    return found


def _accelerators_are_apart(world: World) -> list[Problem]:
    """A host with an accelerator has one task that asked for it; others have none that did."""
    found: list[Problem] = []
    for place, live in world.live.items():
        slice_ = world.slices.get(place.slice_name)
        group = world.group(slice_) if slice_ is not None else None
        # What an older store believes is not ours to judge.
        ours = [attempt for attempt in live if attempt.epoch == world.epoch]
        if group is None or not ours:
            continue
        asked = {world.jobs[attempt.job_id].spec.accelerator for attempt in ours}
        if asked != {group.accelerator} or (group.accelerator and len(live) > 1):
            found.append(Problem(str(place), "accelerator", f"{group.accelerator!r} has {list(live)}"))
    return found


def _slices_within_max(world: World) -> list[Problem]:
    found: list[Problem] = []
    for group in world.settings.groups.values():
        ours = [v for v in world.present_slices() if v.group == group.name and not v.adopted]
        count = sum(1 for v in ours if not _was_refused(v))
        if count > group.max_slices:
            found.append(Problem(group.name, "over_max", f"{count} slices, at most {group.max_slices}"))
    return found


def _was_refused(slice_: Slice) -> bool:
    """Whether a provider would not make it; what of it is there after all is deleted."""
    return isinstance(slice_.state, s.SliceDeleting) and slice_.state.reason.code in _REFUSALS


def _jobs_are_derived(world: World) -> list[Problem]:
    found: list[Problem] = []
    for job_id, status in world.statuses.items():
        counts = {state: n for state, n in world.counts[job_id].items() if n}
        if any(n < 0 for n in counts.values()):
            found.append(Problem(job_id, "counts", str(counts)))
        held = world.jobs[job_id].adopted and job_id in world.queue.held
        if not status.state.is_terminal and counts and not held and derive_state(counts) is not status.state:
            found.append(Problem(job_id, "job_state", f"{status.state} with {counts}"))
    return found


def _waits_have_reasons(world: World) -> list[Problem]:
    if world.stopping:
        return []
    return [
        Problem(str(shape), "no_reason", "tasks of this shape wait and nothing says why")
        for shape in world.queue.turns
        if shape not in world.waits
    ]
