"""StreamLogs: all bytes of all attempts, in order, from where the reader was, up to the true end."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from iris_controller.codec import wire
from iris_controller.core import effects as fx
from iris_controller.core.values import AttemptId
from iris_controller.shell.logs import Chunk
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1 import job_pb2
from tests.controller.agents import RUNNING, failed, spec, succeeded
from tests.controller.running import run
from tests.controller.serving import AUTH, Serving, serving


@dataclass
class Heard:
    """What a reader got: text and ends by attempt number, in order, and the job's final state."""

    text: dict[int, bytes] = field(default_factory=dict)
    ends: list[tuple[int, int, bool]] = field(default_factory=list)
    final: str = ""
    # Ended tasks whose logs' ends are still to come.
    arriving: int = 0

    def take(self, response: pb.StreamLogsResponse) -> None:
        match response.WhichOneof("message"):
            case "data":
                number = response.data.id.number
                so_far = self.text.get(number, b"")
                self.text[number] = so_far + response.data.data
            case "end":
                end = response.end
                self.ends.append((end.id.number, end.length, end.truncated))
            case _:
                self.final = job_pb2.JobState.Name(response.finished.state)
                self.arriving = response.finished.arriving


def request(job: str, **options: Any) -> pb.StreamLogsRequest:
    return pb.StreamLogsRequest(job_id=job, **options)


async def read(it: Serving, job: str, **options: Any) -> Heard:
    """Everything that a call sends."""
    heard = Heard()
    async for response in it.api.StreamLogs(request(job, **options), metadata=AUTH):
        heard.take(response)
    return heard


async def one_task(it: Serving, **options: Any) -> tuple[str, int, AttemptId]:
    """A job with one running task."""
    job = await it.submit(spec(**options))
    session = await it.boots()
    attempt = it.attempt(job)
    await it.says(session, attempt, RUNNING)
    return job, session, attempt


def test_without_follow_it_sends_what_is_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, _, attempt = await one_task(it)
            await it.ship(attempt, b"so far")
            assert await read(it, job) == Heard({1: b"so far"}, [], "JOB_STATE_RUNNING")

    run(test)


def test_a_finished_job_is_read_to_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            await it.says(session, attempt, succeeded(log_bytes=4))
            await it.ship(attempt, b"done", last=True)
            whole = Heard({1: b"done"}, [(1, 4, False)], "JOB_STATE_SUCCEEDED")
            assert await read(it, job) == whole
            assert await read(it, job, follow=True) == whole

    run(test)


def test_a_log_whose_end_is_still_to_come_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            await it.ship(attempt, b"do")
            await it.says(session, attempt, succeeded(log_bytes=4))
            assert await read(it, job) == Heard({1: b"do"}, [], "JOB_STATE_SUCCEEDED", arriving=1)

    run(test)


def test_a_follower_ends_only_at_the_final_length(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            following = asyncio.create_task(read(it, job, follow=True))
            await it.ship(attempt, b"first ")
            await it.says(session, attempt, succeeded(log_bytes=13))
            await it.ship(attempt, b"second", offset=6)
            assert not following.done()
            await it.ship(attempt, b"!", offset=12, last=True)
            heard = Heard({1: b"first second!"}, [(1, 13, False)], "JOB_STATE_SUCCEEDED")
            assert await following == heard

    run(test)


def test_a_log_that_is_here_before_its_end_is_known_is_not_ended_early(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            following = asyncio.create_task(read(it, job, follow=True))
            await it.ship(attempt, b"all of it", last=True)
            assert not following.done()
            await it.says(session, attempt, succeeded(log_bytes=9))
            assert (await following).ends == [(1, 9, False)]

    run(test)


def test_a_reader_goes_on_from_where_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            await it.ship(attempt, b"read before, and this", last=True)
            await it.says(session, attempt, succeeded(log_bytes=21))
            position = pb.LogPosition(id=wire.attempt_id_to_proto(attempt), offset=11)
            heard = await read(it, job, **{"from": [position]})
            assert heard == Heard({1: b", and this"}, [(1, 21, False)], "JOB_STATE_SUCCEEDED")
            position.offset = 99
            assert (await read(it, job, **{"from": [position]})).ends == [(1, 21, False)]

    run(test)


@pytest.mark.parametrize(("job_id", "offset"), [("j1", -1), ("../x", 0)])
def test_a_position_that_cannot_be_is_refused(tmp_path: Path, job_id: str, offset: int) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit()
            attempt = job_pb2.AttemptId(job_id=job_id, number=1, epoch=1)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await read(it, job, **{"from": [pb.LogPosition(id=attempt, offset=offset)]})
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(test)


def test_attempts_come_one_after_the_other(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, first = await one_task(it, failures=1)
            following = asyncio.create_task(read(it, job, follow=True))
            await it.says(session, first, failed(log_bytes=5))
            second = it.attempt(job)
            await it.ship(second, b"second")
            await it.ship(first, b"first", last=True)
            await it.says(session, second, succeeded(log_bytes=6))
            heard = await following
            assert heard == Heard(
                {1: b"first", 2: b"second"}, [(1, 5, False), (2, 6, False)], "JOB_STATE_SUCCEEDED"
            )
            assert list(heard.text) == [1, 2]
            assert await read(it, job) == heard

    run(test)


def test_what_died_with_its_worker_is_said_to_be_cut_off(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            following = asyncio.create_task(read(it, job, follow=True))
            await it.ship(attempt, b"the first half")
            await it.says(session, attempt, succeeded(log_bytes=28))
            assert not following.done()
            await it.gone(it.wanted(fx.CreateSlice)[0].slice_name)
            heard = Heard({1: b"the first half"}, [(1, 14, True)], "JOB_STATE_SUCCEEDED")
            assert await following == heard

    run(test)


def test_a_lost_attempt_ends_where_its_bytes_do(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, _, attempt = await one_task(it, losses=0)
            await it.ship(attempt, b"until here")
            await it.gone(it.wanted(fx.CreateSlice)[0].slice_name)
            assert await read(it, job, follow=True) == Heard(
                {1: b"until here"}, [(1, 10, True)], "JOB_STATE_FAILED"
            )

    run(test)


def test_tasks_can_be_read_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit(spec(tasks=2))
            session = await it.boots()
            for index, text in enumerate((b"zero", b"one")):
                await it.ship(it.attempt(job, index), text, last=True)
                await it.says(session, it.attempt(job, index), succeeded(log_bytes=len(text)))
            assert (await read(it, job, task_index=1)).text == {1: b"one"}
            assert len((await read(it, job)).ends) == 2
            with pytest.raises(grpc.aio.AioRpcError, match="has tasks 0 to 1, no task 2"):
                await read(it, job, task_index=2)

    run(test)


@pytest.mark.parametrize(
    ("lines", "text"), [(0, {}), (1, {1: b"c\n"}), (2, {1: b"b\nc\n"}), (9, {1: b"a\nb\nc\n"})]
)
def test_only_the_last_lines(tmp_path: Path, lines: int, text: dict[int, bytes]) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            await it.ship(attempt, b"a\nb\nc\n", last=True)
            await it.says(session, attempt, succeeded(log_bytes=6))
            heard = await read(it, job, tail_lines=lines)
            assert (heard.text, heard.ends) == (text, [(1, 6, False)])

    run(test)


def test_a_job_that_never_started_has_no_log(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit()
            following = asyncio.create_task(read(it, job, follow=True))
            await it.happens()
            await it.api.StopJob(pb.StopJobRequest(job_id=job), metadata=AUTH)
            assert await following == Heard({}, [], "JOB_STATE_KILLED")

    run(test)


def test_a_large_log_comes_in_blocks(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            truth = b"0123456789abcdef" * 40_000
            await it.ship(attempt, truth, last=True)
            await it.says(session, attempt, succeeded(log_bytes=len(truth)))
            assert (await read(it, job)).text == {1: truth}

    run(test)


async def read_offsets(it: Serving, job: str, **options: Any) -> list[tuple[int, bytes, int]]:
    """Offset, bytes and `dropped_before` of everything that a call sends."""
    call = it.api.StreamLogs(request(job, **options), metadata=AUTH)
    return [(r.data.offset, r.data.data, r.data.dropped_before) async for r in call if r.HasField("data")]


def test_readers_are_told_of_gaps(tmp_path: Path) -> None:
    """A log that was over its limit, on its host and here."""

    async def test() -> None:
        async with serving(tmp_path) as it:
            job, session, attempt = await one_task(it)
            following = asyncio.create_task(read_offsets(it, job, follow=True))
            await it.ship(attempt, b"one\n")
            it.logs.append([Chunk(attempt, 10, b"two\nthree\n", False, dropped_before=10)])
            await it.says(session, attempt, succeeded(log_bytes=30))
            it.logs.append([Chunk(attempt, 30, b"", True, dropped_before=30)])
            await it.ship(attempt, b"", offset=30, last=True)
            whole = [(0, b"one\n", 0), (10, b"two\nthree\n", 10), (30, b"", 30)]
            assert await following == whole
            assert await read_offsets(it, job) == whole
            assert await read_offsets(it, job, tail_lines=1) == [(14, b"three\n", 0), (30, b"", 30)]
            assert await read_offsets(it, job, tail_lines=9) == whole
            position = pb.LogPosition(id=wire.attempt_id_to_proto(attempt), offset=7)
            assert await read_offsets(it, job, **{"from": [position]}) == whole[1:]
            assert (await read(it, job)).ends == [(1, 30, False)]

    run(test)
