"""A watcher of a job hears of every change, and of a reason to wait that changed."""

from iris_controller.api.watch import JobWatch
from iris_controller.core.view import view_of
from tests.controller.worlds import group, world


def test_a_waiting_task_is_shown_again_when_its_reason_changes() -> None:
    w = world(group("local", at_most=1))
    job_id = w.submit(tasks=2)
    watch = JobWatch(w.world.jobs[job_id], most_tasks=10)
    first = watch.news(view_of(w.world))
    assert first is not None and [t.reason for t in first.tasks] == ["demand", "demand"]
    assert watch.news(view_of(w.world)) is None
    w.tick(after_s=1)
    second = watch.news(view_of(w.world))
    assert second is not None and [t.reason for t in second.tasks] == ["starting", "starting"]


def test_no_more_tasks_are_shown_than_asked_for() -> None:
    w = world(group("local", at_most=1))
    watch = JobWatch(w.world.jobs[w.submit(tasks=5)], most_tasks=2)
    first = watch.news(view_of(w.world))
    assert first is not None and [t.task_index for t in first.tasks] == [0, 1]
