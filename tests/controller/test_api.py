"""ControllerService as a client meets it: ids, pages, words of refusals."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from iris_controller.api.service import PAGE_MOST
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_platform.base import Failure
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1 import job_pb2
from tests.controller.agents import RUNNING, failed, spec, succeeded
from tests.controller.running import run
from tests.controller.serving import AUTH, Serving, serving
from tests.controller.worlds import CLUSTER_ID, group

SPEC = job_pb2.JobSpec(command=["true"])


@contextlib.contextmanager
def refused(code: str, words: str = "") -> Iterator[None]:
    """What a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError, match=words) as raised:
        yield
    assert raised.value.code().name == code


async def submit(it: Serving, request_id: str, wanted: job_pb2.JobSpec = SPEC) -> job_pb2.Job:
    response = await it.api.SubmitJob(pb.SubmitJobRequest(request_id=request_id, spec=wanted), metadata=AUTH)
    return response.job


class TestSubmit:
    """SubmitJob."""

    def test_one_request_makes_one_job(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                first, again = await submit(it, "r"), await submit(it, "r")
                other = await submit(it, "r2")
                assert first.job_id == again.job_id != other.job_id
                assert list(it.controller.view.jobs) == [first.job_id, other.job_id]

        run(test)

    def test_it_answers_with_the_job_as_it_is(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                job = await submit(it, "r", job_pb2.JobSpec(command=["/bin/true"], replicas=3))
                assert (job.name, job.state, job.reason) == ("true", job_pb2.JOB_STATE_PENDING, "demand")
                assert (job.spec.replicas, job.spec.resources.cpu_millis) == (3, 1000)
                assert list(job.task_counts) == [job_pb2.TaskCount(state=job_pb2.TASK_STATE_PENDING, count=3)]
                assert job.submitted_at == Timestamp(seconds=it.now.wall_ms // 1000)

        run(test)

    @pytest.mark.parametrize("request_id", ["", "x" * 65])
    def test_a_request_needs_an_id(self, tmp_path: Path, request_id: str) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                with refused("INVALID_ARGUMENT", "request_id: expected 1 to 64 characters"):
                    await submit(it, request_id)

        run(test)

    def test_what_is_wrong_is_said(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                with refused("INVALID_ARGUMENT", "command: expected the program"):
                    await submit(it, "r", job_pb2.JobSpec())

        run(test)

    def test_b20_what_could_never_run_is_refused(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path, group("here", cpu=4)) as it:
                wanted = job_pb2.JobSpec(command=["true"], resources=job_pb2.Resources(cpu_millis=9000))
                with refused("INVALID_ARGUMENT", r"impossible: .* the nearest that fits is 4 cpu"):
                    await submit(it, "r", wanted)

        run(test)

    def test_a_cluster_that_stops_takes_nothing(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                await it.api.BeginShutdown(pb.BeginShutdownRequest(), metadata=AUTH)
                with refused("FAILED_PRECONDITION", "cluster_stop: the cluster is being stopped"):
                    await submit(it, "r")

        run(test)

    def test_b44_a_full_disk_is_said_and_nothing_was_changed(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                await it.happens()
                it.store.fill_the_disk()
                large = job_pb2.JobSpec(command=["true", "x" * 100_000])
                with refused("RESOURCE_EXHAUSTED", "could not write its store .*; nothing was changed"):
                    await submit(it, "r", large)
                it.store.free_the_disk()
                assert (await submit(it, "r")).state == job_pb2.JOB_STATE_PENDING

        run(test)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetJob", pb.GetJobRequest(job_id="jx")),
        ("StopJob", pb.StopJobRequest(job_id="jx")),
        ("ListTasks", pb.ListTasksRequest(job_id="jx")),
    ],
)
def test_a_job_that_is_not_there(tmp_path: Path, method: str, request_: Any) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            with refused("NOT_FOUND", "there is no job '?jx'?"):
                await getattr(it.api, method)(request_, metadata=AUTH)

    run(test)


@pytest.mark.parametrize(
    ("method", "request_"),
    [("WatchJob", pb.WatchJobRequest(job_id="jx")), ("StreamLogs", pb.StreamLogsRequest(job_id="jx"))],
)
def test_a_stream_of_a_job_that_is_not_there(tmp_path: Path, method: str, request_: Any) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            with refused("NOT_FOUND", "there is no job 'jx'; see `iris job list`"):
                await getattr(it.api, method)(request_, metadata=AUTH).read()

    run(test)


async def job_pages(it: Serving, size: int, **more: Any) -> list[list[str]]:
    """The names of all jobs, page by page."""
    pages: list[list[str]] = []
    token = ""
    while True:
        request = pb.ListJobsRequest(page_size=size, page_token=token, **more)
        response = await it.api.ListJobs(request, metadata=AUTH)
        pages.append([job.name for job in response.jobs])
        token = response.next_page_token
        if not token:
            return pages


class TestLists:
    """Lists are paged, in an order that a person expects, also after a restart."""

    def test_jobs_come_newest_first(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                for name in "abcde":
                    await submit(it, name, job_pb2.JobSpec(command=["true"], name=name))
                assert await job_pages(it, 2) == [["e", "d"], ["c", "b"], ["a"]]
                assert await job_pages(it, 5) == [["e", "d", "c", "b", "a"]]
            async with serving(tmp_path) as it:
                assert await job_pages(it, 0) == [["e", "d", "c", "b", "a"]]

        run(test)

    def test_only_what_has_not_ended(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                first, second = await submit(it, "a"), await submit(it, "b")
                await it.api.StopJob(pb.StopJobRequest(job_id=first.job_id), metadata=AUTH)
                response = await it.api.ListJobs(pb.ListJobsRequest(active_only=True), metadata=AUTH)
                assert [job.job_id for job in response.jobs] == [second.job_id]

        run(test)

    def test_tasks_come_by_index(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                job = await submit(it, "a", job_pb2.JobSpec(command=["true"], replicas=5))
                request = pb.ListTasksRequest(job_id=job.job_id, page_size=3)
                first = await it.api.ListTasks(request, metadata=AUTH)
                request.page_token = first.next_page_token
                rest = await it.api.ListTasks(request, metadata=AUTH)
                assert [t.task_index for t in (*first.tasks, *rest.tasks)] == [0, 1, 2, 3, 4]
                assert (rest.next_page_token, rest.tasks[0].reason) == ("", "demand")

        run(test)

    @pytest.mark.parametrize(
        "request_", [{"page_size": -1}, {"page_size": PAGE_MOST + 1}, {"page_token": "x"}]
    )
    def test_a_page_that_cannot_be(self, tmp_path: Path, request_: dict[str, Any]) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                for method, kind in (("ListJobs", pb.ListJobsRequest), ("ListSlices", pb.ListSlicesRequest)):
                    with refused("INVALID_ARGUMENT", "page_"):
                        await getattr(it.api, method)(kind(**request_), metadata=AUTH)

        run(test)

    def test_slices_and_workers_as_an_operator_sees_them(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path, group(hosts=2, cpu=4)) as it:
                await submit(it, "a")
                await it.boots()
                (row,) = (await it.api.ListSlices(pb.ListSlicesRequest(), metadata=AUTH)).slices
                assert (row.state, row.hosts, row.hosts_registered) == (pb.SLICE_STATE_READY, 2, 2)
                assert (row.reason, row.live_attempts) == ("demand", 1)
                workers = (await it.api.ListWorkers(pb.ListWorkersRequest(), metadata=AUTH)).workers
                assert [(w.place.worker_index, w.used.cpu_millis) for w in workers] == [(0, 1000), (1, 0)]
                assert {w.state for w in workers} == {pb.WORKER_STATE_HEALTHY}

        run(test)

    def test_what_is_gone_is_shown_on_demand_only(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                await submit(it, "a")
                await it.boots()
                await it.gone(it.wanted(fx.CreateSlice)[0].slice_name)
                present = await it.api.ListSlices(pb.ListSlicesRequest(), metadata=AUTH)
                everything = await it.api.ListSlices(pb.ListSlicesRequest(all=True), metadata=AUTH)
                workers = await it.api.ListWorkers(pb.ListWorkersRequest(), metadata=AUTH)
                states = [row.state for row in everything.slices]
                assert pb.SLICE_STATE_GONE in states
                assert pb.SLICE_STATE_GONE not in [row.state for row in present.slices]
                assert list(workers.workers) == []

        run(test)

    def test_groups_say_why_they_are_as_they_are(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path, group("a", at_most=3, cpu=1)) as it:
                await submit(it, "a")
                name = it.wanted(fx.CreateSlice)[0].slice_name
                await it.happens(e.CreateAnswered(name, e.CallFailed(Failure.QUOTA, "no more")))
                response = await it.api.ListScaleGroups(pb.ListScaleGroupsRequest(), metadata=AUTH)
                (row,) = response.scale_groups
                assert row.availability == pb.GROUP_AVAILABILITY_QUOTA_EXCEEDED
                assert (row.reason, row.message) == ("quota", "a waits 1m after 1 failed: no more")
                assert (row.slices, row.ready_slices, row.max_slices) == (1, 0, 3)
                status = await it.api.GetClusterStatus(pb.GetClusterStatusRequest(), metadata=AUTH)
                assert list(status.problems) == ["scale group a: a waits 1m after 1 failed: no more"]

        run(test)


def test_the_cluster_at_a_glance(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await submit(it, "a")
            await it.boots()
            await submit(
                it, "b", job_pb2.JobSpec(command=["true"], resources=job_pb2.Resources(cpu_millis=4000))
            )
            status = await it.api.GetClusterStatus(pb.GetClusterStatusRequest(), metadata=AUTH)
            assert (status.name, status.cluster_id, status.epoch) == ("test", CLUSTER_ID, it.controller.epoch)
            assert (status.jobs_pending, status.jobs_running, status.slices) == (1, 1, 1)
            assert (status.workers_healthy, list(status.problems)) == (1, [])
            assert status.phase == pb.CLUSTER_PHASE_RUNNING

    run(test)


def test_what_platforms_fail_at_is_shown_as_a_problem(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            it.platform_troubles.append("cannot list zone local: permission denied")
            status = await it.api.GetClusterStatus(pb.GetClusterStatusRequest(), metadata=AUTH)
            assert list(status.problems) == ["cannot list zone local: permission denied"]

    run(test)


def test_a_finished_task_shows_how_it_ended_also_after_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit(spec(tasks=2))
            session = await it.boots()
            await it.says(session, it.attempt(job, 0), RUNNING, succeeded())
            await it.says(session, it.attempt(job, 1), failed(code=3))
            before = (await it.api.GetJob(pb.GetJobRequest(job_id=job), metadata=AUTH)).job
            _, task = (await it.api.ListTasks(pb.ListTasksRequest(job_id=job), metadata=AUTH)).tasks
            assert (task.state, task.attempt.exit_code) == (job_pb2.TASK_STATE_FAILED, 3)
            assert (task.attempt.reason, task.failures) == ("exit", 1)
        async with serving(tmp_path) as it:
            after = (await it.api.GetJob(pb.GetJobRequest(job_id=job), metadata=AUTH)).job
            assert after == before
            assert {count.state: count.count for count in after.task_counts} == {
                job_pb2.TASK_STATE_SUCCEEDED: 1,
                job_pb2.TASK_STATE_FAILED: 1,
            }

    run(test)


def test_a_stop_asked_for_twice_gives_the_same_answer(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await submit(it, "a")
            request = pb.StopJobRequest(job_id=job.job_id)
            first = await it.api.StopJob(request, metadata=AUTH)
            assert first.job.state == job_pb2.JOB_STATE_KILLED
            assert first == await it.api.StopJob(request, metadata=AUTH)

    run(test)


def test_a_shutdown_asked_for_twice_gives_the_same_answer(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await submit(it, "a")
            await it.boots()
            request = pb.BeginShutdownRequest(reason="by a test")
            first = await it.api.BeginShutdown(request, metadata=AUTH)
            assert (first.jobs_kept, [row.message for row in first.slices]) == (1, ["by a test"])
            assert first == await it.api.BeginShutdown(request, metadata=AUTH)
            status = await it.api.GetClusterStatus(pb.GetClusterStatusRequest(), metadata=AUTH)
            assert status.phase == pb.CLUSTER_PHASE_STOPPING

    run(test)
