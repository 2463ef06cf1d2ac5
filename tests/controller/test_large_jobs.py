"""What a job costs does not grow with its tasks that nothing has happened to."""

from iris_controller.core.states import JobState, TaskState
from iris_controller.core.values import TaskId
from iris_controller.core.view import view_of
from tests.controller.worlds import group, world

MANY = 100_000


def test_submitting_and_stopping_writes_no_row_for_each_task() -> None:
    w = world(group("local", at_most=1, cpu=2))
    job_id = w.submit(tasks=MANY)
    w.boots(w.only)
    w.stop(job_id)
    status = w.world.statuses[job_id]
    assert status.counts == {TaskState.ASSIGNED: 2, TaskState.KILLED: MANY - 2}
    assert len(w.world.tasks) == 2
    assert view_of(w.world).task(TaskId(job_id, MANY - 1)).reason.code == "stopped"


def test_a_stopped_job_is_restored_with_its_counts() -> None:
    w = world(group("local", at_most=1, cpu=2))
    job_id = w.submit(tasks=5)
    w.boots(w.only)
    w.stop(job_id)
    w.restart()
    assert w.world.statuses[job_id].counts == {TaskState.ASSIGNED: 2, TaskState.KILLED: 3}
    assert w.world.statuses[job_id].state is JobState.RUNNING
    assert not w.world.queue
