"""Everything that is HTTP/1.1: the TPU API's REST side, Google's certificates, what tests want."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.harness.cloud import compute, rest
from tests.harness.cloud.cloud import Answer
from tests.harness.cloud.compute import Compute
from tests.harness.cloud.control import Control
from tests.harness.cloud.errors import ApiError
from tests.harness.cloud.front import Hold
from tests.harness.cloud.site import Site

TESTS = "/test/"
CERTIFICATES = "/oauth2/v1/certs"
# How long Compute Engine's `wait` waits, at most.
WAIT_S = 120.0
# How soon it notices that it is to end.
END_S = 0.02
JSON = "application/json; charset=UTF-8"


class HttpApi:
    """A server on a loopback port of its own. `reset(port)` closes the front door's connection."""

    def __init__(self, site: Site, hold: Hold, reset: Callable[[int], None]) -> None:
        self.site, self.hold, self.reset = site, hold, reset
        self.control = Control(site)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self.port = self._server.server_port
        serve = partial(self._server.serve_forever, poll_interval=END_S)
        self._thread = threading.Thread(target=serve, name="cloud-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes no more calls; those that are under way end with their connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    api: HttpApi


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass

    def log_error(self, *words: Any) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        api = self.server.api
        if self.path.startswith(TESTS):
            self._control(self.path.removeprefix(TESTS), body)
        elif self.path == CERTIFICATES:
            self._send(200, json.dumps(api.site.signer.certificates()).encode())
        elif self.path.startswith(compute.PREFIX):
            self._compute(body)
        else:
            self._tpu(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def _tpu(self, body: bytes) -> None:
        try:
            call = rest.understand(self.command, self.path, body)
        except ApiError as error:
            self._error(error)
            return
        if call is None:
            self._error(ApiError(5, f"The requested URL {self.path} was not found on this server."))
            return
        credentials = "authorization" in self.headers
        answer = self.server.api.site.call_tpu(call.method, call.request, "rest", credentials=credentials)
        if not self._is_cut(answer):
            if answer.error:
                self._error(answer.error)
            else:
                self._send(200, rest.reply_json(answer.reply, numbers=call.numbers))

    def _compute(self, body: bytes) -> None:
        site = self.server.api.site
        try:
            call = compute.understand(self.command, self.path, body)
        except ApiError as error:
            self._send(error.http, compute.error_json(error))
            return
        if call is None:
            nowhere = ApiError(5, f"The requested URL {self.path} was not found on this server.", "notFound")
            self._send(nowhere.http, compute.error_json(nowhere))
            return
        known = call
        if call.method == "zoneOperations.wait":
            site.wait_for(lambda cloud: Compute(cloud).is_done(known), WAIT_S)
        about = call.about(credentials="authorization" in self.headers)
        answer = site.act(about, lambda cloud, faults: Compute(cloud).serve(known, faults))
        if not self._is_cut(answer):
            if answer.error:
                headers = _retry_after(answer.error)
                self._send(answer.error.http, compute.error_json(answer.error), headers)
            else:
                self._send(200, json.dumps(answer.reply).encode())

    def _is_cut(self, answer: Answer) -> bool:
        """Whether there is to be no answer; returns when it is time for one, or the caller has gone."""
        self.server.api.hold.pause(answer.late_ms)
        if not answer.cut:
            return False
        if answer.cut == "reset":
            self.server.api.reset(self.client_address[1])
        self.server.api.hold.until(self._is_gone)
        self.close_connection = True
        return True

    def _is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _control(self, name: str, body: bytes) -> None:
        act = None if name.startswith("_") else getattr(self.server.api.control, name, None)
        if act is None:
            self._send(404, json.dumps({"error": f"no such control: {name}"}).encode())
            return
        try:
            result = act(**json.loads(body or b"{}"))
        except (ApiError, KeyError, TypeError, ValueError) as error:
            self._send(400, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
            return
        self._send(200, json.dumps({"result": result}).encode())

    def _error(self, error: ApiError) -> None:
        self._send(error.http, rest.error_json(error), _retry_after(error))

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"content-type": JSON, "content-length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


def _retry_after(error: ApiError) -> dict[str, str]:
    return {} if error.retry_after_s is None else {"retry-after": f"{error.retry_after_s:.0f}"}
