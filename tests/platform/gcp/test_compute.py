"""Calls of Compute Engine, against a server that answers what it was told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from iris_platform.base import (
    NoCapacity,
    PermissionMissing,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unreachable,
)
from iris_platform.gcp import compute as module
from iris_platform.gcp.compute import Compute, Exists, problem_of
from iris_platform.gcp.session import open_session

Z = "/compute/v1/projects/p/zones/z"


class Server(ThreadingHTTPServer):
    """Answers in order; remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, Any] | bytes]] = []
        self.asked: list[tuple[str, str, dict[str, list[str]], Any, str]] = []

    def says(self, *answers: tuple[int, dict[str, Any] | bytes]) -> None:
        self.answers += answers


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = json.loads(body) if body else None
        who = self.headers.get("authorization", "")
        self.server.asked.append((self.command, url.path, parse_qs(url.query), asked, who))
        status, said = self.server.answers.pop(0)
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()
        assert not made.answers, "not all that was to be asked was"


@pytest.fixture
def compute(server: Server) -> Iterator[Compute]:
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    with open_session(endpoint) as session:
        yield Compute(endpoint, "p", session)


def refusal(status: int, reason: str = "", message: str = "no") -> tuple[int, dict[str, Any]]:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return status, {"error": error}


def test_what_is_there_and_what_is_not(server: Server, compute: Compute) -> None:
    server.says((200, {"name": "a"}), refusal(404, "notFound"))
    assert compute.get("z", "instances", "a") == {"name": "a"}
    assert compute.get("z", "disks", "b") is None
    # Never to an endpoint that is not Google's.
    assert server.asked == [
        ("GET", f"{Z}/instances/a", {}, None, ""),
        ("GET", f"{Z}/disks/b", {}, None, ""),
    ]


def test_a_list_has_all_pages_or_raises(server: Server, compute: Compute) -> None:
    server.says((200, {"items": [{"name": "a"}], "nextPageToken": "t"}), (200, {"items": [{"name": "b"}]}))
    assert [body["name"] for body in compute.list("z", "instances", {"k": "v", "l": "w"})] == ["a", "b"]
    assert server.asked[0][2]["filter"] == ["(labels.k = v) (labels.l = w)"]
    assert server.asked[1][2]["pageToken"] == ["t"]
    server.says((200, {"items": [{"name": "a"}], "nextPageToken": "t"}), refusal(403))
    with pytest.raises(PermissionMissing):
        list(compute.list("z", "instances", {}))


def test_a_list_without_end(server: Server, compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAGES", 2)
    server.says(*[(200, {"nextPageToken": "t"})] * 2)
    with pytest.raises(Unreachable, match="does not end"):
        list(compute.list("z", "instances", {}))


def test_a_change_is_followed_to_its_end(server: Server, compute: Compute) -> None:
    server.says((200, {"name": "op", "status": "RUNNING"}), (200, {"name": "op", "status": "RUNNING"}))
    server.says((200, {"name": "op", "status": "DONE"}))
    compute.insert("z", "instances", {"name": "a"})
    (first, *waits) = server.asked
    assert first[:2] == ("POST", f"{Z}/instances")
    assert first[3] == {"name": "a"}
    assert [wait[:2] for wait in waits] == [("POST", f"{Z}/operations/op/wait")] * 2


def test_a_change_that_was_not_answered_is_sent_again_as_the_same(
    server: Server, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    # urllib3 waits between tries.
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda self, response=None: None)
    server.says(refusal(503), refusal(429), (200, {"name": "op", "status": "DONE"}))
    compute.delete("z", "instances", "a")
    ids = {asked[2]["requestId"][0] for asked in server.asked}
    assert len(server.asked) == 3
    assert len(ids) == 1


def test_a_deletion_of_what_is_gone(server: Server, compute: Compute) -> None:
    server.says(refusal(404, "notFound"))
    compute.delete("z", "disks", "d")


def test_a_change_that_fails_at_its_end(server: Server, compute: Compute) -> None:
    errors = [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": "The zone does not have enough resources"}]
    done = {"name": "op", "status": "DONE", "httpErrorStatusCode": 503, "error": {"errors": errors}}
    server.says((200, done))
    with pytest.raises(NoCapacity, match="enough resources"):
        compute.insert("z", "instances", {"name": "a"})


def test_a_change_without_end(server: Server, compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPERATION_S", 0.0)
    server.says((200, {"name": "op", "status": "RUNNING"}))
    with pytest.raises(Unreachable, match="it may go on"):
        compute.start("z", "a")


@pytest.mark.parametrize("said", [b"<html>", b"[]"])
def test_what_cannot_be_understood(server: Server, compute: Compute, said: bytes) -> None:
    server.says((200, said))
    with pytest.raises(Unreachable, match=r"no JSON|expected an object"):
        compute.get("z", "instances", "a")


def test_nobody_answers() -> None:
    with requests.Session() as session:
        compute = Compute("http://127.0.0.1:1", "p", session)
        adapter: Any = session.get_adapter("http://")
        adapter.max_retries.total = 0
        with pytest.raises(Unreachable, match="cannot be reached"):
            compute.get("z", "instances", "a")


@pytest.mark.parametrize(
    ("status", "reasons", "message", "kind"),
    [
        (403, "quotaExceeded", "Quota 'CPUS' exceeded", QuotaExceeded),
        (403, "rateLimitExceeded", "Rate Limit Exceeded", RateLimited),
        (429, "", "slow down", RateLimited),
        (403, "forbidden", "Required 'compute.instances.create' permission", PermissionMissing),
        (401, "authError", "Invalid Credentials", PermissionMissing),
        (409, "alreadyExists", "The resource already exists", Exists),
        (400, "invalid", "Invalid value for field", Refused),
        (500, "backendError", "Internal error", Unreachable),
        (503, "", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS: stockout", NoCapacity),
    ],
)
def test_what_an_error_means(status: int, reasons: str, message: str, kind: type[Exception]) -> None:
    problem = problem_of(status, reasons, message, "cannot do it")
    assert type(problem) is kind
    assert str(problem).startswith(f"cannot do it: {message}")
    assert ("docs/gcp.md" in str(problem)) is (kind is PermissionMissing)


def test_an_error_names_what_was_tried_and_where(server: Server, compute: Compute) -> None:
    """Google's own words are `Required permission compute.disks.delete`, and no more."""
    server.says(refusal(403, "forbidden", "Required permission x"))
    with pytest.raises(PermissionMissing, match=r"^cannot delete zones/z/disks/d of project p: Required"):
        compute.delete("z", "disks", "d")
    errors = [{"code": "RESOURCE_IN_USE", "message": "in use"}]
    server.says((200, {"status": "DONE", "httpErrorStatusCode": 400, "error": {"errors": errors}}))
    with pytest.raises(Refused, match=r"^cannot delete zones/z/disks/d of project p: .*in use"):
        compute.delete("z", "disks", "d")
