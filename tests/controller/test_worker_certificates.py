"""A worker's certificate is good for its own place, and dies with its slice; and how it is renewed."""

from pathlib import Path
from typing import Any

import grpc.aio

from iris_controller.codec import wire
from iris_controller.core import effects as fx
from iris_controller.core.values import AttemptId, Place
from iris_platform.pki import certificates
from iris_proto.v1 import job_pb2, worker_pb2
from tests.controller.agents import spec
from tests.controller.running import run
from tests.controller.secured import Secured, secured, worker
from tests.controller.worlds import CLUSTER_ID, group

SOMEWHERE = Place("iris-nowhere-1-1", 0)
RUNNING = job_pb2.ATTEMPT_STATE_RUNNING


async def placed(it: Secured) -> tuple[Place, Place]:
    """A job's slice of two hosts."""
    await it.submit(spec(tasks=2, cpu=4))
    name = it.wanted(fx.CreateSlice)[-1].slice_name
    return Place(name, 0), Place(name, 1)


def test_an_agent_with_its_own_certificate_is_served(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, _ = await placed(it)
            agent = it.worker_at(here)
            await agent.dials()
            assert (await agent.hears()).HasField("welcome")
            beat = worker_pb2.Beat(sequence=3)
            await agent.stream.write(worker_pb2.AgentMessage(beat=beat))
            while not (heard := await agent.hears()).HasField("beat_ack"):
                pass
            assert heard.beat_ack.sequence == 3

    run(test)


def test_an_agent_that_claims_another_place_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, there = await placed(it)
            for claimed in (there, SOMEWHERE):
                agent = it.worker_at(here, claims=claimed)
                await agent.dials()
                wanted = f"other_place: the certificate is of {here.slice_name}/0, not of {claimed[0]}/"
                assert (await agent.is_ended()).startswith(wanted)
            assert it.controller.view.workers == {}
            logs = it.caller(worker(here)).agents.ShipLogs()
            hello = worker_pb2.LogHello(cluster_id=CLUSTER_ID, place=wire.place_to_proto(there))
            await logs.write(worker_pb2.ShipLogsRequest(hello=hello))
            assert (await logs.code()).name == "FAILED_PRECONDITION"
            assert (await logs.details()).startswith("other_place: ")

    run(test)


async def two_run(it: Secured) -> tuple[Any, Any, dict[Place, AttemptId]]:
    """Two agents of one slice, each with an attempt."""
    here, there = await placed(it)
    agents = [it.worker_at(here), it.worker_at(there)]
    for agent in agents:
        await agent.dials()
        assert (await agent.hears()).HasField("welcome")
    for agent in agents:
        assert (await agent.hears()).HasField("commands")
    found = {
        task.attempt.place: task.attempt.id for task in it.controller.view.tasks.values() if task.attempt
    }
    return here, agents, found


def test_an_agent_cannot_report_what_runs_elsewhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, agents, attempts = await two_run(it)
            (theirs,) = (attempt for place, attempt in attempts.items() if place != here)
            told = wire.attempt_id_to_proto(theirs)
            await agents[0].reports(told, job_pb2.ATTEMPT_STATE_FAILED)
            ended = await agents[0].is_ended()
            assert ended.startswith("other_place: attempt 1 of ")
            await it.happens()
            attempt = it.controller.view.task(theirs.task).attempt
            assert attempt is not None and type(attempt.state).__name__ == "AttemptAssigned"
            await agents[1].reports(told, RUNNING)
            assert (await agents[1].hears()).HasField("reports_ack")

    run(test)


class Shipping:
    """A log stream with a place's certificate; every answer, or why there is none."""

    def __init__(self, it: Secured, place: Place) -> None:
        self._place = place
        self._stream: Any = it.caller(worker(place)).agents.ShipLogs()

    async def hello(self) -> None:
        hello = worker_pb2.LogHello(cluster_id=CLUSTER_ID, place=wire.place_to_proto(self._place))
        await self._stream.write(worker_pb2.ShipLogsRequest(hello=hello))

    async def send(self, attempt: AttemptId, data: bytes, offset: int = 0) -> None:
        chunk = worker_pb2.LogChunk(id=wire.attempt_id_to_proto(attempt), data=data, offset=offset)
        await self._stream.write(worker_pb2.ShipLogsRequest(chunk=chunk))

    async def hears(self) -> int | str:
        try:
            return int((await self._stream.read()).stored)
        except grpc.aio.AioRpcError as error:
            return str(error.details())


async def ship(it: Secured, place: Place, attempt: AttemptId, data: bytes) -> int | str:
    stream = Shipping(it, place)
    await stream.hello()
    await stream.send(attempt, data)
    return await stream.hears()


def test_logs_of_other_attempts_are_not_taken(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, _, attempts = await two_run(it)
            (theirs,) = (attempt for place, attempt in attempts.items() if place != here)
            assert await ship(it, here, attempts[here], b"mine") == 4
            assert str(await ship(it, here, theirs, b"forged")).startswith("other_place: attempt 1 of ")
            unknown = theirs._replace(number=2)
            assert await ship(it, here, unknown, b"too early") == 9
            assert it.logs.length(attempts[here]) == 4
            assert (it.logs.length(theirs), it.logs.length(unknown)) == (0, 0)

    run(test)


def test_a_certificate_dies_with_its_slice(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, agents, attempts = await two_run(it)
            logs = Shipping(it, here)
            await logs.hello()
            await logs.send(attempts[here], b"early")
            assert await logs.hears() == 5
            await it.gone(here.slice_name)
            await logs.send(attempts[here], b"late", 5)
            assert str(await logs.hears()).startswith("deleted_slice: ")
            # The core says so by itself, whatever the agent says or does not say.
            assert (await agents[0].is_ended()).startswith("deleted_slice: ")
            late = it.worker_at(here)
            await late.dials()
            assert (await late.is_ended()).startswith("deleted_slice: ")
            again = Shipping(it, here)
            await again.hello()
            assert str(await again.hears()).startswith("deleted_slice: ")
            assert it.logs.length(attempts[here]) == 5

    run(test)


# Renewal.


def test_an_agent_renews_over_its_session(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, agents, _ = await two_run(it)
            key = certificates.make_key()
            renew = worker_pb2.RenewCertificate(csr=certificates.make_csr(key))
            await agents[0].stream.write(worker_pb2.AgentMessage(renew=renew))
            answer = (await agents[0].hears()).certificate
            certificate = certificates.certificate_from_pem(answer.certificate_chain)
            assert certificates.read_facts(certificate).subject == worker(here)
            assert certificate.public_key() == key.public_key()
            bad = worker_pb2.RenewCertificate(csr=b"x")
            await agents[0].stream.write(worker_pb2.AgentMessage(renew=bad))
            answer = (await agents[0].hears()).certificate
            assert (answer.certificate_chain, answer.error) == (
                b"",
                "expected a PKCS #10 signing request in PEM",
            )

    run(test)


def test_nobody_renews_without_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            _, agents, _ = await two_run(it)
            for _ in range(11):
                await agents[0].stream.write(
                    worker_pb2.AgentMessage(renew=worker_pb2.RenewCertificate(csr=b""))
                )
            assert (await agents[0].is_ended()) == "bad_message: unexpected message renew"

    run(test)


def test_an_agent_of_this_machine_has_no_certificate_to_renew(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            await it.submit()
            agent = await it.agent()
            await agent.hears()
            await agent.hears()
            renew = worker_pb2.RenewCertificate(csr=certificates.make_csr(certificates.make_key()))
            await agent.stream.write(worker_pb2.AgentMessage(renew=renew))
            assert "no certificates" in (await agent.hears()).certificate.error

    run(test)
