"""WatchJob, ListEvents and WatchEvents: every change is seen, and the end is the end."""

from pathlib import Path
from typing import Any, cast

from iris_controller.api.service import PAGE_MOST
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1 import job_pb2
from tests.controller.agents import RUNNING, failed, spec, succeeded
from tests.controller.running import run
from tests.controller.serving import AUTH, Serving, serving
from tests.controller.worlds import group


def test_a_watch_starts_with_all_and_ends_with_the_job(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit(spec(tasks=2))
            call = it.api.WatchJob(pb.WatchJobRequest(job_id=job), metadata=AUTH)
            stream = aiter(call)
            seen = [await anext(stream)]
            assert [task.task_index for task in seen[0].tasks] == [0, 1]
            session = await it.boots()
            for index in range(2):
                await it.says(session, it.attempt(job, index), RUNNING)
                await it.says(session, it.attempt(job, index), succeeded())
            seen += [response async for response in stream]
            assert seen[-1].job.state == job_pb2.JOB_STATE_SUCCEEDED
            last = {task.task_index: task.state for response in seen for task in response.tasks}
            assert last == {0: job_pb2.TASK_STATE_SUCCEEDED, 1: job_pb2.TASK_STATE_SUCCEEDED}

    run(test)


def test_an_end_that_comes_while_something_is_being_sent_is_sent_too(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit()
            context = cast("Any", None)  # asked for nothing by this method
            watch = it.service.WatchJob(pb.WatchJobRequest(job_id=job), context)
            assert (await anext(watch)).job.state == job_pb2.JOB_STATE_PENDING
            await it.api.StopJob(pb.StopJobRequest(job_id=job), metadata=AUTH)
            assert [response.job.state async for response in watch] == [job_pb2.JOB_STATE_KILLED]

    run(test)


def test_a_watch_shows_only_what_changed(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit(spec(tasks=3))
            session = await it.boots()
            call = it.api.WatchJob(pb.WatchJobRequest(job_id=job), metadata=AUTH)
            stream = aiter(call)
            await anext(stream)
            await it.says(session, it.attempt(job, 1), RUNNING)
            changed = await anext(stream)
            assert [task.task_index for task in changed.tasks] == [1]
            call.cancel()

    run(test)


def test_a_watch_of_a_job_that_has_ended_is_one_message(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit()
            await it.api.StopJob(pb.StopJobRequest(job_id=job), metadata=AUTH)
            call = it.api.WatchJob(pb.WatchJobRequest(job_id=job), metadata=AUTH)
            stream = aiter(call)
            assert [response.job.state async for response in stream] == [job_pb2.JOB_STATE_KILLED]

    run(test)


def test_a_watch_says_when_the_reason_to_wait_changes(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, group(cpu=1)) as it:
            await it.submit()
            await it.boots()
            second = await it.submit()
            call = it.api.WatchJob(pb.WatchJobRequest(job_id=second), metadata=AUTH)
            stream = aiter(call)
            first = await anext(stream)
            assert (first.job.reason, first.tasks[0].reason) == ("at_max_slices", "at_max_slices")
            await it.gone(next(iter(it.controller.view.slices)))
            news = await anext(stream)
            call.cancel()
            assert news.job.reason != "at_max_slices"
            assert [task.reason for task in news.tasks] == [news.job.reason]

    run(test)


async def whats(it: Serving, after: int, size: int = 0) -> tuple[list[str], bool]:
    request = pb.ListEventsRequest(after_event_id=after, page_size=size)
    response = await it.api.ListEvents(request, metadata=AUTH)
    return [event.what for event in response.events], response.more


def test_events_come_oldest_first_and_page_by_page(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit(spec(failures=1))
            session = await it.boots()
            await it.says(session, it.attempt(job), failed())
            everything, more = await whats(it, 0)
            assert everything[:2] == ["SUBMITTED", "REQUESTING"] and not more
            assert "RETRY" in everything
            assert await whats(it, 1, size=1) == (["REQUESTING"], True)
            assert await whats(it, len(everything)) == ([], False)
            assert await whats(it, 0, PAGE_MOST) == (everything, False)

    run(test)


def test_a_watch_of_events_goes_on_with_what_happens(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            call = it.api.WatchEvents(pb.WatchEventsRequest(), metadata=AUTH)
            stream = aiter(call)
            first = await anext(stream)
            assert first.events[0].what == "SUBMITTED"
            job = await it.submit()
            more = await anext(stream)
            assert (more.events[0].what, more.events[0].subject) == ("SUBMITTED", job)
            assert more.events[0].event_id > first.events[-1].event_id
            call.cancel()

    run(test)
