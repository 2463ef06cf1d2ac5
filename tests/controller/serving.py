"""A running controller behind its real gRPC server on loopback, and an agent that dials it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1.health import aio as health_aio

from iris_controller.api.listen import bind, build_server
from iris_controller.api.service import ClusterFacts, ControllerService
from iris_controller.codec import wire
from iris_controller.core import effects as fx
from iris_controller.core.entities import GroupPolicy, Settings
from iris_controller.core.values import AttemptId, Place
from iris_controller.shell.certificates import CertificateDesk
from iris_controller.shell.logs import LogStore
from iris_controller.shell.sessions import Sessions
from iris_proto.v1 import config_pb2, controller_pb2_grpc, job_pb2, worker_pb2, worker_pb2_grpc
from tests.controller.running import Running
from tests.controller.worlds import CLUSTER_ID, START, group, settings

TOKEN = "a-token"
AUTH = (("authorization", f"Bearer {TOKEN}"),)
PLATFORM_EFFECTS = fx.CreateSlice | fx.DeleteSlice | fx.LookAtSlice | fx.ListZone


class Serving(Running):
    """One controller and the way to call it: `await it.api.GetJob(request, metadata=AUTH)`."""

    def __init__(self, home: Path, its_settings: Settings, desk: CertificateDesk | None = None) -> None:
        super().__init__(home, its_settings)
        self.logs = LogStore(home / "logs")
        timings = worker_pb2.Timings()
        timings.beat_interval.FromSeconds(10)
        self.sessions = Sessions(CLUSTER_ID, timings, self.logs, desk)
        self.sessions.attach(self.controller, lambda job_id: self.controller.hub.notify((job_id,)))
        config = config_pb2.IrisClusterConfig(name="test")
        facts = ClusterFacts("test", CLUSTER_ID, config, its_settings, START.wall_ms)
        self.platform_troubles: list[str] = []
        self.service = ControllerService(
            facts, self.controller, self.logs, lambda: self.platform_troubles, desk
        )
        self.server = build_server(self.service, self.sessions, health_aio.HealthServicer(), TOKEN)
        self.address = bind(self.server, 0)
        self.channel = grpc.aio.insecure_channel(self.address)
        self.api = controller_pb2_grpc.ControllerServiceStub(self.channel)
        self.agents = worker_pb2_grpc.WorkerServiceStub(self.channel)

    def deliver(self, effect: fx.Effect) -> None:
        super().deliver(effect)
        if not isinstance(effect, PLATFORM_EFFECTS):
            self.sessions.deliver(effect)

    async def ship(self, attempt: AttemptId, data: bytes, *, offset: int = 0, last: bool = False) -> int:
        """An agent ships some of a log; returns how much of it is stored then."""
        stream = self.agents.ShipLogs(metadata=AUTH)
        hello = worker_pb2.LogHello(cluster_id=CLUSTER_ID)
        await stream.write(worker_pb2.ShipLogsRequest(hello=hello))
        chunk = worker_pb2.LogChunk(id=wire.attempt_id_to_proto(attempt), offset=offset, data=data, last=last)
        await stream.write(worker_pb2.ShipLogsRequest(chunk=chunk))
        response = await stream.read()
        assert isinstance(response, worker_pb2.ShipLogsResponse)
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        await self.happens()
        return response.stored

    async def agent(self, place: Place | None = None) -> "WireAgent":
        """An agent of the slice that was asked for last; it dials."""
        name = self.wanted(fx.CreateSlice)[-1].slice_name
        agent = WireAgent(self, place or Place(name, 0))
        await agent.dials()
        return agent


class WireAgent:
    """One agent's session over the wire."""

    def __init__(self, it: Serving, place: Place, stream: Any = None) -> None:
        self.place = place
        self.stream = stream or it.agents.Session(metadata=AUTH)

    def hello(self, **changes: Any) -> worker_pb2.Hello:
        facts: dict[str, Any] = {
            "protocol_version": 1,
            "cluster_id": CLUSTER_ID,
            "place": wire.place_to_proto(self.place),
            "boot_id": "boot",
            "resources": job_pb2.Resources(cpu_millis=4000),
        }
        return worker_pb2.Hello(**(facts | changes))

    async def dials(self, **changes: Any) -> None:
        await self.stream.write(worker_pb2.AgentMessage(hello=self.hello(**changes)))

    async def hears(self) -> worker_pb2.ControllerMessage:
        message = await self.stream.read()
        assert isinstance(message, worker_pb2.ControllerMessage)
        return message

    async def reports(self, attempt: job_pb2.AttemptId, *states: job_pb2.AttemptState.ValueType) -> None:
        reports = [worker_pb2.AttemptReport(id=attempt, state=state) for state in states]
        message = worker_pb2.Reports(sequence=4, reports=reports)
        await self.stream.write(worker_pb2.AgentMessage(reports=message))

    async def is_ended(self) -> str:
        """Why the controller ended the stream."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self._hears_all()
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        return str(raised.value.details())

    async def _hears_all(self) -> None:
        while await self.stream.read() is not grpc.aio.EOF:
            pass


@asynccontextmanager
async def serving(home: Path, *groups: GroupPolicy) -> AsyncIterator[Serving]:
    """A controller that can be called; closed at the end."""
    it = Serving(home, settings(*(groups or (group(),))))
    loop = asyncio.create_task(it.controller.run())
    await it.server.start()
    try:
        yield it
    finally:
        await it.channel.close()
        await it.server.stop(None)
        it.sessions.close()
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await it.controller.close()
