"""A controller on a host of its own: its process, its keys, its ports; and its own certificate's renewal."""

import asyncio
import os
import socket
import ssl
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from iris_controller.shell.identity import ServerIdentity
from iris_platform.controller_file import ControllerRecord
from iris_platform.credentials import Credentials, open_aio_channel, open_channel
from iris_platform.pki.authority import Authority, load_authority
from iris_platform.pki.names import Person, Role, server_name
from iris_proto.v1 import controller_pb2, controller_pb2_grpc
from tests.controller.running import PATIENCE_S, run
from tests.controller.secured import AUTHORITY, DAY_S, USER, credentials
from tests.controller.whole import command, started
from tests.controller.worlds import CLUSTER_ID


def config(port: int) -> dict[str, Any]:
    group = {"name": "here", "provider": {"local": {}}, "zones": ["local"], "max_slices": 1}
    manual = {"host": "controller-host", "port": port}
    return {"name": "demo", "controller": {"manual": manual}, "scale_groups": {"here": group}}


def operator(home: Path) -> tuple[Authority, Credentials]:
    authority = load_authority("demo", home / "pki")
    assert authority is not None
    subject = Person(authority.identity.cluster_id, Role.OPERATOR, "ada")
    return authority, credentials(subject, by=authority, believes=authority)


def status(home: Path, record: ControllerRecord) -> controller_pb2.GetClusterStatusResponse:
    """What an operator on another machine is told."""
    authority, shown = operator(home)
    port = record.tls_address.rpartition(":")[2]
    name = server_name(authority.identity.cluster_id)
    with open_channel(shown, f"127.0.0.1:{port}", name) as channel:
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        found: controller_pb2.GetClusterStatusResponse = stub.GetClusterStatus(
            controller_pb2.GetClusterStatusRequest(), timeout=PATIENCE_S
        )
        return found


def test_a_controller_of_a_remote_cluster_makes_its_authority_and_keeps_it(tmp_path: Path) -> None:
    with started(tmp_path, command(tmp_path, config(0))) as record:
        first = status(tmp_path, record)
        # The token of loopback opens loopback.
        with grpc.insecure_channel(record.address) as channel:
            stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
            auth = (("authorization", f"Bearer {record.token}"),)
            request = controller_pb2.GetClusterStatusRequest()
            assert stub.GetClusterStatus(request, metadata=auth).cluster_id == first.cluster_id
        join = record.join_address.rpartition(":")[2]
        context = ssl.create_default_context(cadata=operator(tmp_path)[0].ca_pem.decode())
        with (
            socket.create_connection(("127.0.0.1", int(join)), PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=server_name(first.cluster_id)) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert secure.recv(12) == b"HTTP/1.1 404"
    with started(tmp_path, command(tmp_path, config(0))) as record:
        assert status(tmp_path, record).cluster_id == first.cluster_id
    assert {p.name for p in (tmp_path / "pki").iterdir()} >= {"ca.key", "ca.pem", "cluster.key"}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in (tmp_path / "pki").iterdir())
    # Its own key is nowhere on the disk.
    keys = [p for p in tmp_path.rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]
    assert keys == [tmp_path / "pki" / "ca.key"]


def test_a_port_that_is_taken_is_said_and_nothing_else_is(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(tmp_path, config(port)), capture_output=True, text=True, timeout=PATIENCE_S
        )
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last) == (
        2,
        f"iris-controller: cannot listen on port {port} for agents and operators: in use?",
    )


@pytest.mark.parametrize("damage", ["key", "mode"])
def test_an_authority_that_cannot_be_used(tmp_path: Path, damage: str) -> None:
    (tmp_path / "pki").mkdir()
    path = tmp_path / "pki" / "ca.key"
    path.write_text("x")
    path.chmod(0o600 if damage == "key" else 0o644)
    done = subprocess.run(command(tmp_path, config(0)), capture_output=True, text=True, timeout=PATIENCE_S)
    said = {"key": "damaged", "mode": "chmod 600"}[damage]
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert os.listdir(tmp_path / "pki") == ["ca.key"]


def test_the_controller_s_certificate_is_renewed_while_it_serves(tmp_path: Path) -> None:
    async def test() -> None:
        clock = [time.time() - 5 * DAY_S]
        identity = ServerIdentity(AUTHORITY, lambda: clock[0])
        server = grpc.aio.server()
        port = server.add_secure_port("127.0.0.1:0", identity.grpc_credentials())
        https = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=identity.context)
        await server.start()
        shown = [await serials(port, https)]
        assert not identity.renew_if_due()
        clock[0] = time.time()
        assert identity.renew_if_due() and not identity.renew_if_due()
        shown.append(await serials(port, https))
        assert [len(one) for one in shown] == [1, 1] and shown[0] != shown[1]
        https.close()
        await server.stop(None)

    run(test)


async def serials(port: int, https: asyncio.Server) -> set[bytes]:
    """The certificates that both ports show."""
    found = set()
    for number in (port, https.sockets[0].getsockname()[1]):
        context = ssl.create_default_context(cadata=AUTHORITY.ca_pem.decode())
        context.set_alpn_protocols(["h2"])
        if number == port:
            # gRPC looks for a newer one at a handshake, and this one has it.
            channel = open_aio_channel(credentials(USER), f"127.0.0.1:{port}", server_name(CLUSTER_ID))
            await asyncio.wait_for(channel.channel_ready(), PATIENCE_S)
            await channel.close()
        name = server_name(CLUSTER_ID)
        _, writer = await asyncio.open_connection("127.0.0.1", number, ssl=context, server_hostname=name)
        found.add(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.close()
    return found
