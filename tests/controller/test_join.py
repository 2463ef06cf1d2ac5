"""The join port: bundles, certificates for proofs, and everybody who gets neither."""

import asyncio
import hashlib
import json
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from iris_controller.core import effects as fx
from iris_controller.core.values import Place
from iris_controller.shell.join import Limits, PortTaken
from iris_controller.shell.secure import Ports, SecurePorts
from iris_controller.shell.tokens import MOST_TOKENS, Denied, TokenStore, TooManyTokens
from iris_platform.credentials import Credentials
from iris_platform.pki import certificates
from iris_platform.pki.names import server_name
from tests.controller.agents import spec
from tests.controller.running import PATIENCE_S, run
from tests.controller.secured import AUTHORITY, Answer, Secured, make_authority, parse, secured, worker
from tests.controller.serving import WireAgent
from tests.controller.worlds import CLUSTER_ID, group

QUICK = Limits(connections=2, handshake_s=0.3, request_s=0.3, answer_s=2.0)


async def places(it: Secured) -> tuple[Place, Place]:
    """A slice of two hosts that is wanted."""
    await it.submit(spec(tasks=2, cpu=4))
    name = it.wanted(fx.CreateSlice)[-1].slice_name
    return Place(name, 0), Place(name, 1)


def request(place: Place, token: str, key: Any = None, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "csr": certificates.make_csr(key or certificates.make_key()).decode(),
        "place": {"slice_name": place.slice_name, "worker_index": place.worker_index},
        "proof": {"kind": "token", "value": token},
    }
    return body | changes


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def refused(answer: Answer) -> tuple[int, str]:
    assert set(answer.said) == {"error", "message"}
    assert "Traceback" not in answer.said["message"]
    return answer.status, answer.said["error"]


def test_a_token_becomes_a_certificate_that_opens_a_session(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, _ = await places(it)
            key = certificates.make_key()
            answer = await it.post_join(request(here, it.secure.tokens.mint(here, 60), key))
            assert answer.status == 200, answer.body
            chain = answer.said["certificate"].encode()
            assert certificates.read_facts(certificates.certificate_from_pem(chain)).subject == worker(here)
            credentials = Credentials(AUTHORITY.ca_pem, chain, certificates.key_to_pem(key))
            agent = WireAgent(it, here, it.caller(credentials).agents.Session())
            await agent.dials()
            assert (await agent.hears()).HasField("welcome")

    run(test)


def test_a_token_is_good_once_and_for_its_place(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, there = await places(it)
            token = it.secure.tokens.mint(here, 60)
            answer = await it.post_join(request(there, token))
            assert refused(answer) == (403, "denied") and "another place's" in answer.said["message"]
            assert (await it.post_join(request(here, token))).status == 200
            answer = await it.post_join(request(here, token))
            assert refused(answer) == (403, "denied") and "was used before" in answer.said["message"]
            for wrong in ("", "x", token[:-1], token + "x"):
                answer = await it.post_join(request(here, wrong))
                assert refused(answer) == (403, "denied") and "not known" in answer.said["message"]
            answer = await it.post_join(request(there, it.secure.tokens.mint(there, 0)))
            assert refused(answer) == (403, "denied") and "is over" in answer.said["message"]

    run(test)


def test_a_place_that_is_none_wastes_no_token(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, _ = await places(it)
            unknown, beyond = Place("iris-other-1-1", 0), Place(here.slice_name, 2)
            for place, code in ((unknown, "unknown_slice"), (beyond, "bad_index")):
                token = it.secure.tokens.mint(place, 60)
                assert refused(await it.post_join(request(place, token))) == (403, code)
                it.secure.tokens.use(token, place)
            await it.boots()
            await it.gone(here.slice_name)
            token = it.secure.tokens.mint(here, 60)
            assert refused(await it.post_join(request(here, token))) == (403, "deleted_slice")

    run(test)


def test_a_request_that_is_wrong_wastes_no_token(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, _ = await places(it)
            token = it.secure.tokens.mint(here, 60)
            good = request(here, token)
            wrong: dict[str, tuple[Any, tuple[int, str]]] = {
                "no JSON": (b"{", (400, "bad_request")),
                "no object": (b"[]", (400, "bad_request")),
                "nothing": (b"", (400, "bad_request")),
                "deep": (b"[" * 20_000, (400, "bad_request")),
                "no UTF-8": (b'{"csr": "\xff"}', (400, "bad_request")),
                "no csr": ({k: v for k, v in good.items() if k != "csr"}, (400, "bad_request")),
                "no proof": ({k: v for k, v in good.items() if k != "proof"}, (400, "bad_request")),
                "a text as place": (good | {"place": "x"}, (400, "bad_request")),
                "a flag as index": (
                    good | {"place": {"slice_name": here.slice_name, "worker_index": True}},
                    (400, "bad_request"),
                ),
                "a long name": (
                    good | {"place": {"slice_name": "x" * 64, "worker_index": 0}},
                    (400, "bad_request"),
                ),
                "another proof": (good | {"proof": {"kind": "word", "value": token}}, (400, "bad_proof")),
                "a bad csr": (good | {"csr": "x"}, (400, "bad_csr")),
                "a long csr": (good | {"csr": "x" * 9_000}, (400, "bad_csr")),
                "too much": (b" " * 40_000, (413, "too_large")),
            }
            for name, (body, expected) in wrong.items():
                answer = await it.post_join(body)
                assert (name, refused(answer)) == (name, expected)
                assert token.encode() not in answer.body
            assert (await it.post_join(good)).status == 200

    run(test)


def test_a_bundle_is_served_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            data = os.urandom(3_000_000)
            digest = hashlib.sha256(data).hexdigest()
            (it.bundles / digest).write_bytes(data)
            answer = await it.request(get(f"/bundle/{digest}"))
            assert (answer.status, answer.headers["content-length"]) == (200, "3000000")
            assert answer.body == data

    run(test)


def test_no_other_file_is_served(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            secret = tmp_path / ("a" * 64)
            secret.write_text("secret")
            (it.bundles / ("b" * 64)).symlink_to(secret)
            (it.bundles / ("c" * 64)).mkdir()
            os.mkfifo(it.bundles / ("d" * 64))
            (it.bundles / "short").write_text("secret")
            paths = [f"/bundle/{letter * 64}" for letter in "abcd"]
            paths += ["/bundle/short", f"/bundle/../{'a' * 64}", f"/bundle/{'A' * 64}", f"/bundle/{'e' * 65}"]
            paths += [
                f"/bundle/%2e%2e/{'a' * 64}",
                f"//bundle/{'a' * 64}",
                f"/bundle/{'a' * 64}/",
                "/",
                "/join/",
            ]
            paths += [f"/bundle/{'a' * 64}?x=1", "/bundle/", "/bundle", "http://x/join", "/.."]
            for path in paths:
                answer = await it.request(get(path))
                assert (path, answer.status) == (path, 404)
                assert b"secret" not in answer.body and b"Traceback" not in answer.body

    run(test)


def test_every_route_has_one_method(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO"):
                answer = await it.request(f"{method} /join HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                assert (method, answer.status) == (method, 405)
            for method in ("POST", "PUT", "HEAD"):
                head = f"{method} /bundle/{'a' * 64} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
                assert (await it.request(head.encode())).status == 405

    run(test)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 60_000 + b"\r\n\r\n", 431),
        (b"POST /join HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n" + b"x" * 40_000, 413),
        (b"POST /join HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
    ids=["garbage", "no host", "negative length", "long head", "long body", "bad chunk"],
)
def test_what_is_no_request_is_answered_with_a_reason(tmp_path: Path, data: bytes, status: int) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            answer = await it.request(data)
            assert (answer.status, set(answer.said)) == (status, {"error", "message"})

    run(test)


def test_a_slow_request_is_given_up_and_others_get_their_turn(tmp_path: Path) -> None:
    """Two that send nothing and two that send slowly, where two connections are allowed."""

    async def test() -> None:
        async with secured(tmp_path, limits=QUICK) as it:
            host, _, port = it.join_address.rpartition(":")
            silent = [socket.create_connection((host, int(port)), PATIENCE_S) for _ in range(2)]
            slow = [asyncio.create_task(it.request(b"GET / HTT")) for _ in range(2)]
            assert (await it.request(get("/"))).status == 404
            for answer in await asyncio.gather(*slow):
                assert refused(answer) == (408, "slow")
            for one in silent:
                assert await asyncio.to_thread(one.recv, 1) == b""
                one.close()

    run(test)


def test_who_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path, limits=Limits(connections=1, answer_s=0.3)) as it:
            digest = "a" * 64
            (it.bundles / digest).write_bytes(bytes(50_000_000))
            reader, writer = await it.connect(limit=4096)
            writer.write(get(f"/bundle/{digest}"))
            # Another is served, which it is not before the first one is gone.
            assert (await it.request(get("/"))).status == 404
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
                await reader.readexactly(50_000_000)
            writer.close()

    run(test)


def test_a_client_refuses_another_authority_and_another_name(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            with pytest.raises(ssl.SSLCertVerificationError):
                await it.request(get("/"), ca=make_authority().ca_pem)
            host, _, port = it.join_address.rpartition(":")
            context = ssl.create_default_context(cadata=AUTHORITY.ca_pem.decode())
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection(
                    host, int(port), ssl=context, server_hostname=server_name("zzzzzzzzzz")
                )
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(
                    host, int(port), ssl=context, server_hostname=server_name(CLUSTER_ID)
                )

    run(test)


def test_no_plain_http(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host, _, port = it.join_address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(get("/"))
            data = await asyncio.wait_for(reader.read(), PATIENCE_S)
            assert b"HTTP" not in data
            writer.close()

    run(test)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            other, server = SecurePorts(AUTHORITY, tmp_path / "other"), grpc.aio.server()
            join, tls = (int(a.rpartition(":")[2]) for a in (it.join_address, it.tls_address))
            with pytest.raises(PortTaken, match=f"cannot listen on port {join} for hosts that join"):
                other.open(server, Ports("127.0.0.1", 0, join), it.controller)
            server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            with pytest.raises(PortTaken, match=f"cannot listen on port {tls} for agents"):
                other.open(server, Ports("127.0.0.1", tls, 0), it.controller)

    run(test)


def test_the_token_is_in_no_log_and_the_answer_says_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with secured(tmp_path, group(hosts=2)) as it:
            here, there = await places(it)
            token = it.secure.tokens.mint(here, 60)
            for place in (there, here, here):
                answer = await it.post_join(request(place, token))
                assert token.encode() not in answer.body
            assert f"join of {there.slice_name}/1 from 127.0.0.1 refused: denied" in caplog.text
            assert f"{here.slice_name}/0 joined from 127.0.0.1" in caplog.text
            assert token not in caplog.text
            assert token not in json.dumps(str(vars(it.secure.tokens)))

    caplog.set_level("DEBUG")
    run(test)


# Tokens.


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_newer_token_of_a_place_replaces_the_older() -> None:
    store, place = TokenStore(Clock()), Place("s", 0)
    old, new = store.mint(place, 60), store.mint(place, 60)
    with pytest.raises(Denied, match="not known"):
        store.use(old, place)
    store.use(new, place)


def test_a_token_ends_on_time() -> None:
    clock, place = Clock(), Place("s", 0)
    store = TokenStore(clock)
    token = store.mint(place, 60)
    clock.now_s += 59.9
    store.use(token, place)
    token = store.mint(place, 60)
    clock.now_s += 60
    with pytest.raises(Denied, match="is over"):
        store.use(token, place)


def test_there_is_a_bound_and_what_is_over_makes_room() -> None:
    clock = Clock()
    store = TokenStore(clock)
    tokens = [store.mint(Place("s", index), 60) for index in range(MOST_TOKENS)]
    with pytest.raises(TooManyTokens, match="try again later"):
        store.mint(Place("t", 0), 60)
    store.mint(Place("s", 7), 60)
    store.use(tokens[0], Place("s", 0))
    store.mint(Place("t", 0), 60)
    clock.now_s += 61
    store.mint(Place("u", 0), 60)


def test_two_threads_cannot_both_use_a_token() -> None:
    store, place = TokenStore(Clock()), Place("s", 0)

    async def test() -> None:
        for _ in range(50):
            token = store.mint(place, 60)
            tries = [asyncio.to_thread(store.use, token, place) for _ in range(4)]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            assert sorted(type(one).__name__ for one in outcomes) == ["Denied"] * 3 + ["NoneType"]

    run(test)


def test_an_answer_is_read_as_it_is() -> None:
    answer = parse(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{}")
    assert (answer.status, answer.headers, answer.said) == (404, {"a": "b"}, {})
