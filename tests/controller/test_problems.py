"""The checker bites: for each invariant a world that breaks it, and the finding that it must lead to.

The only place where tables are changed behind the world's back.
"""

from dataclasses import replace

import pytest

from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, Task
from iris_controller.core.problems import problems
from iris_controller.core.states import JobState, TaskState
from iris_controller.core.values import Place, Reason, Resources, TaskId
from tests.controller.agents import RUNNING, spec, succeeded
from tests.controller.worlds import Scene, group, world

WHY = Reason("test")


def found(w: Scene) -> set[str]:
    return {problem.code for problem in problems(w.world)}


@pytest.fixture
def w() -> Scene:
    """A world in order: one task runs, one waits, another job has ended."""
    w = world(group(cpu=2))
    done = w.submit()
    (agent,) = w.boots(w.only)
    agent.says(w.attempt(done), succeeded())
    job = w.submit(tasks=2, cpu=2)
    agent.says(w.attempt(job), RUNNING)
    assert (w.states(job), found(w)) == (["RUNNING", "PENDING"], set())
    return w


def running(w: Scene) -> tuple[Task, Attempt]:
    task = w.world.tasks[TaskId("j2", 0)]
    assert task.attempt is not None
    return task, task.attempt


@pytest.mark.parametrize(
    "state",
    [s.AttemptAssigned(), s.AttemptPreparing(), s.AttemptWorkerLost(1, WHY), succeeded()],
    ids=lambda state: type(state).__name__,
)
def test_a_task_that_disagrees_with_its_attempt(w: Scene, state: s.AttemptState) -> None:
    task, attempt = running(w)
    w.world.tasks[task.id] = replace(task, attempt=replace(attempt, state=state))
    assert "task_attempt" in found(w)


def test_a_task_that_waits_although_its_attempt_lives(w: Scene) -> None:
    task, _ = running(w)
    w.world.tasks[task.id] = replace(task, state=TaskState.PENDING)
    assert "task_attempt" in found(w)


def test_a_task_that_lives_without_an_attempt(w: Scene) -> None:
    task, _ = running(w)
    w.world.tasks[task.id] = replace(task, attempt=None)
    assert "task_attempt" in found(w)


def test_an_attempt_that_lives_where_nothing_is(w: Scene) -> None:
    slice_ = w.world.slices[w.only]
    w.world.slices[w.only] = replace(slice_, state=s.SliceGone(WHY, s.GoneCause.FAILED))
    assert "live_on_gone" in found(w)


def test_an_attempt_that_lives_on_a_slice_that_nobody_knows(w: Scene) -> None:
    task, attempt = running(w)
    elsewhere = replace(attempt, place=Place("elsewhere", 0))
    w.world.tasks[task.id] = replace(task, attempt=elsewhere)
    assert found(w) >= {"live_on_gone", "stale_index"}


def test_a_success_that_nobody_reported(w: Scene) -> None:
    done = w.world.tasks[TaskId("j1", 0)]
    w.world.tasks[done.id] = replace(done, attempt=None)
    assert found(w) == {"success_without_attempt"}


def test_an_index_that_forgot_an_attempt(w: Scene) -> None:
    _, attempt = running(w)
    del w.world.live[attempt.place][attempt.id]
    assert found(w) == {"stale_index"}


def test_an_index_that_kept_one(w: Scene) -> None:
    _, attempt = running(w)
    ended = attempt.id._replace(number=99)
    w.world.live[attempt.place][ended] = Resources(0)
    assert found(w) == {"stale_index"}


def test_a_task_that_waits_and_is_not_queued(w: Scene) -> None:
    job = w.world.jobs["j2"]
    (turn,) = w.world.queue.turns[job.spec.shape]
    w.world.queue.remove(job.spec.shape, turn, TaskId("j2", 1))
    assert found(w) == {"queue"}


def test_a_task_that_is_queued_and_does_not_wait(w: Scene) -> None:
    job = w.world.jobs["j2"]
    (turn,) = w.world.queue.turns[job.spec.shape]
    w.world.queue.add(job.spec.shape, turn, (0,))
    assert found(w) == {"queue"}


@pytest.mark.parametrize("capacity", [Resources(1000), Resources(0)])
def test_a_worker_that_holds_too_much(w: Scene, capacity: Resources) -> None:
    _, attempt = running(w)
    worker = w.world.workers[attempt.place]
    w.world.workers[attempt.place] = replace(worker, capacity=capacity)
    assert found(w) == {"oversubscribed"}


def test_a_worker_that_holds_too_much_memory() -> None:
    w = world(group(cpu=2, memory=8))
    w.submit(memory=8)
    (agent,) = w.boots(w.only)
    worker = w.world.workers[agent.place]
    w.world.workers[agent.place] = replace(worker, capacity=Resources(2000, 7))
    assert found(w) == {"oversubscribed"}
    w.world.workers[agent.place] = replace(worker, capacity=Resources(2000, 0))
    assert found(w) == set()


def test_a_group_with_more_slices_than_it_may_have(w: Scene) -> None:
    row = w.world.slices[w.only]
    w.world.index_slice(replace(row, name="another"))
    assert found(w) == {"over_max"}
    w.world.index_slice(replace(row, name="another", state=s.SliceGone(WHY, s.GoneCause.DELETED)))
    assert found(w) == set()


def test_a_gang_that_is_not_where_it_should_be() -> None:
    w = world(group(cpu=1, hosts=2, at_most=4), group("other", cpu=1, hosts=2, at_least=1))
    w.submit_spec(replace(spec(4, gang=True), slices=2))
    w.boots(*w.slices)
    first, second = (w.world.tasks[TaskId("j1", i)] for i in (0, 1))
    (elsewhere,) = [name for name in w.slices if "other" in name]
    for name in (w.world.tasks[TaskId("j1", 2)].attempt.place.slice_name, elsewhere):  # type: ignore[union-attr]
        # A share in two parts; then the slice of another group.
        assert second.attempt is not None
        w.world.tasks[second.id] = replace(second, attempt=replace(second.attempt, place=Place(name, 1)))
        assert "gang_in_parts" in found(w)
    assert first.attempt is not None
    w.world.tasks[first.id] = replace(first, attempt=replace(first.attempt, place=Place(elsewhere, 0)))
    assert "gang_in_parts" in found(w)
    # All of it on one slice is no better.
    for index in range(4):
        task = w.world.tasks[TaskId("j1", index)]
        assert task.attempt is not None
        there = replace(task.attempt, place=Place(elsewhere, index % 2))
        w.world.tasks[task.id] = replace(task, attempt=there)
    assert "gang_in_parts" in found(w)


def test_counts_below_nothing(w: Scene) -> None:
    w.world.counts["j2"][TaskState.FAILED] = -1
    assert "counts" in found(w)


def test_a_job_that_does_not_follow_from_its_tasks(w: Scene) -> None:
    w.world.statuses["j2"] = replace(w.world.statuses["j2"], state=JobState.PENDING)
    assert found(w) == {"job_state"}


def test_a_wait_without_a_reason(w: Scene) -> None:
    w.world.waits = {}
    assert found(w) == {"no_reason"}


def test_a_finding_says_where_and_in_words(w: Scene) -> None:
    w.world.waits = {}
    (problem,) = problems(w.world)
    assert "2000" in problem.where
    assert problem.words == "tasks of this shape wait and nothing says why"
