"""WorkerService over the wire: the session of an agent, and its logs."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from iris_controller.codec import wire
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.values import AttemptId
from iris_controller.shell.sessions import MOST_OUTGOING
from iris_proto.v1 import job_pb2, worker_pb2
from tests.controller.agents import spec, succeeded
from tests.controller.running import PATIENCE_S, run
from tests.controller.serving import AUTH, Serving, WireAgent, serving
from tests.controller.worlds import CLUSTER_ID, name_of

RUNNING = job_pb2.ATTEMPT_STATE_RUNNING
SUCCEEDED = job_pb2.ATTEMPT_STATE_SUCCEEDED


def test_an_agent_is_welcomed_told_to_start_and_heard(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit(spec(tasks=2))
            agent = await it.agent()
            welcome = (await agent.hears()).welcome
            assert (welcome.protocol_version, welcome.epoch) == (1, it.controller.epoch)
            assert (welcome.timings.task_lease.seconds, welcome.timings.beat_interval.seconds) == (600, 10)
            commands = (await agent.hears()).commands
            assert [context.job_id for context in commands.jobs] == [job]
            assert [start.id.task_index for start in commands.start] == [0, 1]
            await agent.reports(commands.start[0].id, RUNNING, SUCCEEDED)
            ack = (await agent.hears()).reports_ack
            assert (ack.sequence, ack.epoch, ack.commit) == (4, welcome.epoch, it.controller.commit_number)
            assert ack.commit > welcome.commit
            assert it.controller.view.tasks[it.attempt(job).task].state.name == "SUCCEEDED"

    run(test)


def test_beats_are_acknowledged_by_number(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            agent = await it.agent()
            await agent.hears()
            await agent.hears()
            for sequence in (7, 8):
                beat = worker_pb2.Beat(sequence=sequence)
                await agent.stream.write(worker_pb2.AgentMessage(beat=beat))
                ack = (await agent.hears()).beat_ack
                assert (ack.sequence, ack.epoch) == (sequence, it.controller.epoch)

    run(test)


def test_reports_are_not_acknowledged_before_they_are_stored(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            agent = await it.agent()
            await agent.hears()
            started = (await agent.hears()).commands.start[0].id
            it.store.is_committing.clear()
            it.store.may_commit.clear()
            await agent.reports(started, RUNNING)
            ack = asyncio.create_task(agent.hears())
            assert await asyncio.to_thread(it.store.is_committing.wait, PATIENCE_S)
            assert not ack.done()
            it.store.may_commit.set()
            assert (await ack).reports_ack.sequence == 4

    run(test)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol_version": 9}, "other_protocol: protocol version 9 is not spoken here; expected 1"),
        ({"cluster_id": "zzzzzzzz27"}, f"other_cluster: this controller serves cluster {CLUSTER_ID}"),
        ({"place": job_pb2.Place(slice_name="x")}, "unknown_slice: x is not a slice of this cluster"),
        (
            {"place": job_pb2.Place(slice_name=name_of(1), worker_index=5)},
            f"bad_index: {name_of(1)} has 1 hosts, none with index 5",
        ),
    ],
    ids=["protocol", "cluster", "slice", "index"],
)
def test_a_hello_that_is_refused_ends_the_stream_in_words(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            agent = WireAgent(it, wire.place_from_proto(job_pb2.Place(slice_name="unused")))
            await agent.dials(**changes)
            assert await agent.is_ended() == words

    run(test)


def test_whoever_does_not_say_hello_first_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            agent = WireAgent(it, wire.place_from_proto(job_pb2.Place()))
            await agent.stream.write(worker_pb2.AgentMessage(beat=worker_pb2.Beat(sequence=1)))
            assert await agent.is_ended() == "bad_message: the first message must be hello"

    run(test)


def test_a_report_that_makes_no_sense_ends_the_stream_and_nothing_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            job = await it.submit()
            agent = await it.agent()
            await agent.hears()
            await agent.reports(job_pb2.AttemptId(job_id="../x", number=1), RUNNING)
            assert (await agent.is_ended()).startswith("bad_message: not an attempt's identifier")
            assert it.state(job) == "RUNNING"

    run(test)


def test_dialling_again_replaces_the_earlier_stream(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            first = await it.agent()
            await first.hears()
            second = await it.agent(first.place)
            assert await first.is_ended() == "replaced: the agent dialled again"
            assert (await second.hears()).WhichOneof("message") == "welcome"
            assert len((await second.hears()).commands.start) == 1

    run(test)


def test_an_agent_that_hangs_up_is_worth_a_look(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            agent = await it.agent()
            await agent.hears()
            it.delivered.clear()
            agent.stream.cancel()
            while not it.wanted(fx.LookAtSlice):
                await asyncio.sleep(0)
            assert it.controller.world.sessions == {}

    run(test)


def test_a_store_that_cannot_be_written_cuts_agents_off(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            agent = await it.agent()
            await agent.hears()
            it.store.fill_the_disk()
            big = spec(tasks=1)
            asked = (it.controller.ask(e.JobSubmitted(f"b{n}", f"b{n}", big)) for n in range(500))
            await asyncio.gather(*asked, return_exceptions=True)
            it.store.free_the_disk()
            assert await agent.is_ended() == "store: the controller could not write its store"

    run(test)


def test_an_agent_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            await it.submit()
            agent = await it.agent()
            await agent.hears()
            (session,) = it.controller.world.sessions
            for sequence in range(MOST_OUTGOING + 2):
                it.sessions.deliver(fx.AckBeat(session, sequence))
            assert await agent.is_ended() == "slow: the agent did not read its messages"

    run(test)


def test_an_effect_of_a_session_that_is_over_goes_nowhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            it.sessions.deliver(fx.AckBeat(99, 1))

    run(test)


class TestShipLogs:
    """Log bytes come on a stream of their own, answered once they are durable."""

    def test_bytes_are_stored_and_the_answer_says_where_to_go_on(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                attempt = AttemptId("j1", 0, 7, 1)
                assert await it.ship(attempt, b"one") == 3
                assert await it.ship(attempt, b"lost", offset=9) == 3
                assert await it.ship(attempt, b"one two") == 7
                assert it.logs.read(attempt, 0, 99) == b"one two"

        run(test)

    def test_a_complete_log_is_noted_on_its_attempt(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                job = await it.submit()
                session = await it.boots()
                attempt = it.attempt(job)
                await it.says(session, attempt, succeeded(log_bytes=3))
                await it.ship(attempt, b"on", last=False)
                assert not stored(it, attempt)
                await it.ship(attempt, b"e", offset=2, last=True)
                assert stored(it, attempt)

        run(test)

    @pytest.mark.parametrize("job_id", ["../../x", "a/b", ""])
    def test_a_name_that_leads_elsewhere_is_refused(self, tmp_path: Path, job_id: str) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                with pytest.raises(grpc.aio.AioRpcError, match="not an attempt's identifier") as raised:
                    await it.ship(AttemptId(job_id, 0, 1, 1), b"x")
                assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert not list(tmp_path.rglob("*.log"))

        run(test)

    def test_an_agent_of_another_cluster_ships_nothing(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                stream = it.agents.ShipLogs(metadata=AUTH)
                hello = worker_pb2.LogHello(cluster_id="zzzzzzzz27")
                await stream.write(worker_pb2.ShipLogsRequest(hello=hello))
                assert await stream.code() is grpc.StatusCode.FAILED_PRECONDITION

        run(test)

    def test_a_disk_that_is_full_is_said(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with serving(tmp_path) as it:
                (tmp_path / "logs").write_text("a file where a directory should be")
                with pytest.raises(grpc.aio.AioRpcError, match="cannot store logs") as raised:
                    await it.ship(AttemptId("j1", 0, 1, 1), b"x")
                assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

        run(test)


def stored(it: Serving, attempt: AttemptId) -> bool:
    found = it.controller.view.attempt(attempt)
    assert found is not None
    return found.log_stored
