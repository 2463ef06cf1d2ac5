"""What agents shall be told at the end of the batch: what to stop, what to release.

Knows nothing of why. Whoever has no session now is told at its next hello,
where the same questions are answered again.
"""

from __future__ import annotations

from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, Job
from iris_controller.core.values import AttemptId, TaskId
from iris_controller.core.world import World


def live_attempts(world: World, job_id: str) -> list[AttemptId]:
    """A job's attempts that have not ended."""
    if not world.live_of.get(job_id):
        return []
    return [a for attempts in world.live.values() for a in attempts if a.job_id == job_id]


def order_stop(world: World, attempt_id: AttemptId, reason: str) -> None:
    """Has an attempt's agent end it."""
    attempt = world.task(attempt_id.task).attempt
    session = world.session(attempt.place) if attempt is not None else None
    if session is not None:
        session.stop[attempt_id] = reason


def release_gang(world: World, job: Job) -> None:
    """Lets a gang's members start their programs, once every one has its address.

    Harmless for those that have started already.
    """
    if job.job_id in world.broken_gangs:
        return
    attempts: list[Attempt] = []
    # From the last: they report in order, so most calls end with the first look.
    for index in reversed(range(job.spec.replicas)):
        member = world.tasks.get(TaskId(job.job_id, index))
        attempt = member.attempt if member is not None and member.state.is_live else None
        if attempt is None or not attempt.address or attempt.id.round != (attempts or [attempt])[0].id.round:
            return
        attempts.append(attempt)
    addresses = tuple(attempt.address for attempt in reversed(attempts))
    for attempt in attempts:
        session = world.session(attempt.place)
        if session is not None and isinstance(attempt.state, s.AttemptPreparing):
            session.release[attempt.id] = addresses
