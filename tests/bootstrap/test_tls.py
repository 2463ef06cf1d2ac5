"""Joining, and dialling over TLS: what the host keeps, what it shows, and what it makes of answers.

The controller's side of it is in tests/controller.
"""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.endpoint import Endpoint, EndpointError, read_endpoint, tls_dir, write_endpoint
from iris_bootstrap.join import JoinError, JoinRequest, join
from iris_bootstrap.session.dial import NoController, Redial, TlsTarget, find_target
from iris_platform.base import ClusterIdentity
from iris_platform.pki import certificates
from iris_platform.pki.authority import Authority
from iris_platform.pki.keyring import Keyring
from iris_platform.pki.names import WorkerPlace
from iris_proto.v1 import job_pb2
from tests.bootstrap.agents import Agent
from tests.bootstrap.controller import PlayedController
from tests.bootstrap.support import PATIENCE_S, eventually

CLUSTER_ID = "abcdefghij"
SLICE = "iris-abcdefghij-here-1-1"
PLACE = WorkerPlace(CLUSTER_ID, SLICE, 2)
DAY_S = 86_400.0


def make_authority() -> Authority:
    key = certificates.make_key()
    certificate = certificates.sign_ca(key, CLUSTER_ID, time.time())
    return Authority(ClusterIdentity("demo", CLUSTER_ID), certificate, key)


AUTHORITY = make_authority()


class JoinPort:
    """Answers one request with what the test says, over TLS."""

    def __init__(
        self, home: Path, authority: Authority, answer: Callable[[dict[str, object]], bytes]
    ) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE_S)
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        pair = home / "server.pem"
        pair.write_bytes(b"".join(authority.make_server(time.time())))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        plain, _ = self._listening.accept()
        with plain:
            try:
                secure = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                return
            with secure:
                data = b""
                while not (b"\r\n\r\n" in data and data.endswith(b"}")):
                    data += secure.recv(65536)
                self.requests.append(data)
                secure.sendall(self._answer(json.loads(data.partition(b"\r\n\r\n")[2])))

    def close(self) -> None:
        if not self.requests:
            socket.create_connection(self._listening.getsockname(), PATIENCE_S).close()
        self._thread.join(PATIENCE_S)
        self._listening.close()


@contextmanager
def join_port(
    home: Path, answer: Callable[[dict[str, object]], bytes], authority: Authority = AUTHORITY
) -> Iterator[JoinPort]:
    port = JoinPort(home, authority, answer)
    try:
        yield port
    finally:
        port.close()


def http(status: str, value: object) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


def certify(body: dict[str, object], place: WorkerPlace = PLACE, authority: Authority = AUTHORITY) -> bytes:
    chain = authority.sign_client(str(body["csr"]).encode(), place, time.time())
    return http("200 OK", {"certificate": chain.decode()})


def joins(home: Path, host_dir: Path, url: str, token: bytes = b"the-token\n") -> bool:
    ca = home / "ca.pem"
    ca.write_bytes(AUTHORITY.ca_pem)
    return join(JoinRequest(host_dir, url, ca, "controller-host:10400"), io.BytesIO(token))


@pytest.fixture
def host(host_dir: Path) -> Path:
    """A host that knows its place."""
    Agent(host_dir, host_dir / "controller.json")
    return host_dir


def test_what_is_sent_and_what_is_kept(tmp_path: Path, host: Path) -> None:
    with join_port(tmp_path, certify) as port:
        assert joins(tmp_path, host, port.url)
        (request,) = port.requests
    body = json.loads(request.partition(b"\r\n\r\n")[2])
    assert body["place"] == {"slice_name": SLICE, "worker_index": 2}
    assert body["proof"] == {"kind": "token", "value": "the-token"}
    assert b"PRIVATE" not in request
    assert read_endpoint(host) == Endpoint("controller-host:10400", CLUSTER_ID)
    facts = Keyring(tls_dir(host)).facts()
    assert facts is not None and facts.subject == PLACE
    assert not [path for path in host.rglob("*") if path.is_file() and b"the-token" in path.read_bytes()]


STRANGE: dict[str, tuple[Callable[[dict[str, object]], bytes], int, str]] = {
    "refused": (
        lambda b: http("403 Forbidden", {"error": "denied", "message": "no"}),
        1,
        "refused: denied: no",
    ),
    "deleted": (
        lambda b: http("403 Forbidden", {"error": "deleted_slice", "message": "it is being deleted"}),
        79,
        "refused: deleted_slice: it is being deleted",
    ),
    "busy": (
        lambda b: http("503 Busy", {"error": "unreachable", "message": "x"}),
        3,
        "refused: unreachable: x",
    ),
    "slow": (lambda b: http("408 Slow", {"error": "slow", "message": "x"}), 3, "refused: slow: x"),
    "no JSON": (lambda b: http("200 OK", b"<html>"), 1, "it said nothing that can be read"),
    "no object": (lambda b: http("200 OK", []), 1, "it said nothing that can be read"),
    "no HTTP": (lambda b: b"hello\r\n\r\n", 3, "cannot be reached"),
    "nothing": (lambda b: b"", 3, "cannot be reached"),
    "no certificate": (lambda b: http("200 OK", {"certificate": "x"}), 2, "no certificate for our key"),
    "another's": (lambda b: certify(b, authority=make_authority()), 2, "no certificate for our key"),
    "another place": (lambda b: certify(b, WorkerPlace(CLUSTER_ID, SLICE, 3)), 1, "for another place"),
}


@pytest.mark.parametrize(("answer", "status", "says"), STRANGE.values(), ids=STRANGE)
def test_an_answer_that_is_no_certificate(
    tmp_path: Path, host: Path, answer: Callable[[dict[str, object]], bytes], status: int, says: str
) -> None:
    with join_port(tmp_path, answer) as port, pytest.raises(JoinError, match=says) as raised:
        joins(tmp_path, host, port.url)
    assert raised.value.status == status
    assert read_endpoint(host) is None


def test_another_authority_is_shown_nothing(tmp_path: Path, host: Path) -> None:
    with join_port(tmp_path, certify, make_authority()) as port:
        with pytest.raises(JoinError, match="is not the controller of cluster") as raised:
            joins(tmp_path, host, port.url)
        assert (raised.value.status, port.requests) == (1, [])


def test_a_host_of_another_cluster(tmp_path: Path, host: Path) -> None:
    text = (host / "host.json").read_text().replace(f'"{CLUSTER_ID}"', '"zzzzzzzzzz"')
    (host / "host.json").write_text(text)
    with pytest.raises(JoinError, match=f"is of cluster {CLUSTER_ID}, but this host is of zzzzzzzzzz"):
        joins(tmp_path, host, "https://127.0.0.1:1")


@contextmanager
def controller_over_tls(home: Path) -> Iterator[PlayedController]:
    played = PlayedController(home / "unused.json", authority=AUTHORITY)
    played.start()
    try:
        yield played
    finally:
        played.stop()


def certified(host: Path, address: str, at_s: float) -> Keyring:
    """A host that has joined at some time."""
    ring = Keyring(tls_dir(host))
    ring.prepare(AUTHORITY.ca_pem)
    chain = AUTHORITY.sign_client(ring.make_csr(), PLACE, at_s)
    (tls_dir(host) / "cert.pem").write_bytes(chain)
    write_endpoint(host, Endpoint(address, CLUSTER_ID))
    return ring


def test_an_agent_works_over_tls_and_renews_in_time(tmp_path: Path, host_dir: Path) -> None:
    with controller_over_tls(tmp_path) as played:
        agent = Agent(host_dir, host_dir / "nowhere.json")
        ring = certified(host_dir, played.address, time.time() - 5 * DAY_S)
        old = ring.facts()
        started = agent.start()
        assert (started.returncode, started.stderr) == (0, "")
        played.connected()
        key = AttemptKey("job", 0, 7, 1)
        played.run(key, "echo", "over TLS")
        assert played.log(key) == b"over TLS\n"
        assert played.ended(key).state == job_pb2.ATTEMPT_STATE_SUCCEEDED
        eventually(lambda: ring.facts() != old, "a newer certificate")
        facts = ring.facts()
        assert facts is not None and facts.subject == PLACE and not facts.is_due(time.time())
        assert played.renewals == 1
        agent.leave()


def test_a_certificate_that_is_not_due_is_left_alone(tmp_path: Path, host_dir: Path) -> None:
    with controller_over_tls(tmp_path) as played:
        agent = Agent(host_dir, host_dir / "nowhere.json")
        certified(host_dir, played.address, time.time())
        assert agent.start().returncode == 0
        played.wait_for(lambda: len(played.beats) >= 2, "two beats")
        assert played.renewals == 0
        agent.leave()


def test_whom_to_dial(host: Path) -> None:
    with pytest.raises(NoController, match=r"controller\.json: no such file"):
        find_target(host, host / "controller.json")
    redial = Redial(host / "controller.json", tls_dir(host) / "endpoint.json")
    certified(host, "there:1", time.time())
    assert redial.has_moved() and not redial.has_moved()
    target = find_target(host, host / "controller.json")
    assert isinstance(target, TlsTarget) and (target.address, target.metadata) == ("there:1", ())


def test_files_that_cannot_be_used_are_named(host: Path) -> None:
    ring = certified(host, "there:1", time.time() - 8 * DAY_S)
    target = find_target(host, host / "controller.json")
    with pytest.raises(NoController, match="tls: the certificate is over; bootstrap this host again"):
        target.open_channel(keepalive=False)
    certified(host, "there:1", time.time())
    (ring.directory / "key.pem").chmod(0o644)
    with pytest.raises(NoController, match=r"key\.pem: open to others"):
        target.open_channel(keepalive=False)
    for text in ("{", "[]", '{"address": 1, "cluster_id": "x"}', '{"address": "", "cluster_id": "x"}'):
        (ring.directory / "endpoint.json").write_text(text)
        with pytest.raises(EndpointError, match=r"endpoint\.json: "):
            read_endpoint(host)
        with pytest.raises(NoController, match=r"endpoint\.json: "):
            find_target(host, host / "controller.json")


def test_an_agent_of_one_machine_loads_no_cryptography() -> None:

    code = "import sys, iris_bootstrap.session.main; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"
