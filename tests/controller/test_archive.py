"""Jobs that ended before a start: their tasks are not loaded, and readers see no difference."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.restore import restore
from iris_controller.core.states import TaskState
from iris_controller.core.values import AttemptId, TaskId
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1 import job_pb2
from tests.controller.agents import failed, observed, spec, succeeded
from tests.controller.running import PATIENCE_S, run, running
from tests.controller.serving import AUTH, Serving, serving
from tests.controller.stores import go_back, opened
from tests.controller.test_follow import Heard, read
from tests.controller.worlds import EPOCH, START

FINISHED = job_pb2.TASK_STATE_SUCCEEDED


async def a_job_that_ended(home: Path, *, log_bytes: int = 0) -> tuple[str, AttemptId]:
    """A start that ran a job of one task in two attempts; the job and its last attempt."""
    async with running(home) as it:
        job = await it.submit(spec(failures=1))
        session = await it.boots()
        await it.says(session, it.attempt(job), failed())
        await it.says(session, it.attempt(job), succeeded(log_bytes))
        assert it.state(job) == "SUCCEEDED"
        return job, it.attempt(job)


async def tasks(it: Serving, job: str) -> list[tuple[int, int]]:
    answer = await it.api.ListTasks(pb.ListTasksRequest(job_id=job), metadata=AUTH)
    return [(task.state, task.attempts) for task in answer.tasks]


def test_its_tasks_are_not_there_but_counted(tmp_path: Path) -> None:
    async def test() -> None:
        job, _ = await a_job_that_ended(tmp_path)
        async with serving(tmp_path) as it:
            assert (it.controller.world.tasks, it.controller.view.tasks) == ({}, {})
            shown = (await it.api.GetJob(pb.GetJobRequest(job_id=job), metadata=AUTH)).job
            assert [(count.state, count.count) for count in shown.task_counts] == [(FINISHED, 1)]
            assert it.controller.view.tasks == {}

    run(test)


def test_whoever_asks_for_its_tasks_is_shown_them(tmp_path: Path) -> None:
    async def test() -> None:
        job, _ = await a_job_that_ended(tmp_path)
        async with serving(tmp_path) as it:
            watched = [r async for r in it.api.WatchJob(pb.WatchJobRequest(job_id=job), metadata=AUTH)]
            assert [[task.attempts for task in response.tasks] for response in watched] == [[2]]
            assert await tasks(it, job) == [(FINISHED, 2)]

    run(test)


def test_its_logs_can_be_read_attempt_by_attempt(tmp_path: Path) -> None:
    async def test() -> None:
        job, _ = await a_job_that_ended(tmp_path)
        async with serving(tmp_path) as it:
            for follow in (False, True):
                heard = await read(it, job, follow=follow)
                assert heard == Heard({}, [(1, 0, False), (2, 0, False)], "JOB_STATE_SUCCEEDED")

    run(test)


def test_it_can_be_read_while_a_commit_is_under_way(tmp_path: Path) -> None:
    async def test() -> None:
        job, _ = await a_job_that_ended(tmp_path)
        async with serving(tmp_path) as it:
            it.store.may_commit.clear()
            submitted = asyncio.create_task(it.controller.ask(e.JobSubmitted("r9", "j9", spec())))
            assert await asyncio.to_thread(it.store.is_committing.wait, PATIENCE_S)
            assert await tasks(it, job) == [(FINISHED, 2)]
            it.store.may_commit.set()
            await submitted

    run(test)


def test_an_agent_that_still_reports_it_does_not_bring_it_back(tmp_path: Path) -> None:
    async def test() -> None:
        job, attempt = await a_job_that_ended(tmp_path)
        async with running(tmp_path) as it:
            (place,) = it.controller.view.workers
            for session, seen in enumerate((attempt, attempt._replace(number=attempt.number + 1)), 7):
                it.delivered.clear()
                await it.happens(it.hello(place, session, observed(seen)))
                (welcome,) = it.wanted(fx.SendWelcome)
                assert [(v.keep, v.reason) for v in welcome.verdicts] == [(False, "finished")]
            assert it.state(job) == "SUCCEEDED"
            view = await it.controller.view_with(job)
            assert view.task(TaskId(job, 0)).attempts == 2

    run(test)


def test_a_task_whose_log_is_still_coming_is_loaded(tmp_path: Path) -> None:
    async def test() -> None:
        job, attempt = await a_job_that_ended(tmp_path, log_bytes=5)
        async with serving(tmp_path) as it:
            world = it.controller.world
            assert list(world.tasks) == [attempt.task]
            assert world.logs_due == {world.tasks[attempt.task].attempt.place: {attempt: None}}  # type: ignore[union-attr]
            await it.ship(attempt, b"bytes", last=True)
            found = (await it.controller.view_with(job)).task(attempt.task).attempt
            assert found is not None and found.log_stored
            assert (await read(it, job)).text == {2: b"bytes"}

    run(test)


def test_jobs_of_an_earlier_release_are_counted_when_the_store_is_opened(tmp_path: Path) -> None:
    async def test() -> None:
        job, _ = await a_job_that_ended(tmp_path)
        go_back(tmp_path / "iris.db")
        with closing(sqlite3.connect(tmp_path / "iris.db")) as db:
            db.execute("ALTER TABLE job_status DROP COLUMN counts")
            db.execute("PRAGMA user_version=2")
        store = opened(tmp_path / "iris.db")
        async with running(tmp_path) as it:
            settings = it.controller.world.settings
        world = restore(settings, EPOCH, store.load(), START)
        store.close()
        assert world.statuses[job].counts == {TaskState.SUCCEEDED: 1}

    run(test)
