"""A running controller with its TLS port and its join port on loopback, and callers with certificates."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc_health.v1.health import aio as health_aio

from iris_controller.api.listen import build_tls_server
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.values import Place
from iris_controller.shell.join import Limits
from iris_controller.shell.secure import Ports, SecurePorts
from iris_platform.base import ClusterIdentity
from iris_platform.credentials import Credentials, open_aio_channel
from iris_platform.pki import certificates
from iris_platform.pki.authority import Authority
from iris_platform.pki.names import Person, Role, Subject, WorkerPlace, server_name
from iris_proto.v1 import controller_pb2_grpc, worker_pb2_grpc
from tests.controller.running import PATIENCE_S
from tests.controller.serving import Serving, WireAgent
from tests.controller.worlds import CLUSTER_ID, group, settings

DAY_S = 86_400.0
OPERATOR = Person(CLUSTER_ID, Role.OPERATOR, "ada")
USER = Person(CLUSTER_ID, Role.USER, "bob")


def make_authority(cluster_id: str = CLUSTER_ID) -> Authority:
    """An authority of any cluster, in memory."""
    key = certificates.make_key()
    certificate = certificates.sign_ca(key, cluster_id, time.time())
    return Authority(ClusterIdentity("test", cluster_id), certificate, key)


AUTHORITY = make_authority()


def worker(place: Place) -> WorkerPlace:
    return WorkerPlace(CLUSTER_ID, place.slice_name, place.worker_index)


def credentials(
    subject: Subject, *, by: Authority = AUTHORITY, at_s: float | None = None, believes: Authority = AUTHORITY
) -> Credentials:
    """A new key and a certificate for it, valid from `at_s` on for a week."""
    key = certificates.make_key()
    moment_s = time.time() if at_s is None else at_s
    chain = by.sign_client(certificates.make_csr(key), subject, moment_s)
    return Credentials(believes.ca_pem, chain, certificates.key_to_pem(key))


@dataclass
class Answer:
    """What the join port said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.body)
        return found


class Caller:
    """Somebody with a certificate."""

    def __init__(self, address: str, credentials: Credentials) -> None:
        name = server_name(CLUSTER_ID)
        self.channel = open_aio_channel(credentials, address, name)
        self.api = controller_pb2_grpc.ControllerServiceStub(self.channel)
        self.agents = worker_pb2_grpc.WorkerServiceStub(self.channel)


class Secured(Serving):
    """Serving, for other machines too."""

    def __init__(self, home: Path, limits: Limits | None, *groups: GroupPolicy) -> None:
        self.bundles = home / "bundles"
        self.secure = SecurePorts(AUTHORITY, self.bundles, limits)
        super().__init__(home, settings(*(groups or (group(),))), self.secure.desk)
        self.tls_server = build_tls_server(
            self.service, self.sessions, health_aio.HealthServicer(), CLUSTER_ID
        )
        ports = Ports("127.0.0.1", 0, 0)
        self.tls_address, self.join_address = self.secure.open(self.tls_server, ports, self.controller)
        self.callers: list[Caller] = []

    def caller(self, who: Credentials | Subject) -> Caller:
        given = who if isinstance(who, Credentials) else credentials(who)
        self.callers.append(Caller(self.tls_address, given))
        return self.callers[-1]

    def worker_at(self, place: Place, claims: Place | None = None) -> WireAgent:
        """An agent with the certificate of a place; it may claim another."""
        return WireAgent(self, claims or place, self.caller(worker(place)).agents.Session())

    async def connect(
        self, *, ca: bytes = AUTHORITY.ca_pem, limit: int = 65_536
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens a connection to the join port, which reads ahead of us by about `limit` bytes."""
        context = ssl.create_default_context(cadata=ca.decode())
        host, _, port = self.join_address.rpartition(":")
        return await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname=server_name(CLUSTER_ID), limit=limit
        )

    async def request(self, data: bytes, *, ca: bytes = AUTHORITY.ca_pem) -> Answer:
        """What the join port answers to these bytes."""
        reader, writer = await self.connect(ca=ca)
        try:
            writer.write(data)
            return parse(await asyncio.wait_for(reader.read(), PATIENCE_S))
        finally:
            writer.close()

    async def post_join(self, body: Any) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"POST /join HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n"
        return await self.request(head.encode() + data)


def parse(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in rest)
    return Answer(int(first.split(" ")[1]), headers, body)


@asynccontextmanager
async def secured(home: Path, *groups: GroupPolicy, limits: Limits | None = None) -> AsyncIterator[Secured]:
    """A controller that other machines can call; closed at the end."""
    it = Secured(home, limits, *groups)
    loops = [asyncio.create_task(it.controller.run()), asyncio.create_task(it.secure.join.run())]
    await it.server.start()
    await it.tls_server.start()
    try:
        yield it
    finally:
        for caller in it.callers:
            await caller.channel.close()
        await it.channel.close()
        await it.server.stop(None)
        await it.tls_server.stop(None)
        it.sessions.close()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await it.controller.close()
