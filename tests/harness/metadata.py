"""A small stand-in for Google's metadata server, and for the TPU API's deletions."""

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = "/computeMetadata/v1/"
WAIT_MOST_S = 30.0


@dataclass
class Metadata:
    """What one machine is told. `plan` is taken from its front: a status, one for each request; 0 hangs up."""

    values: dict[str, str]
    flavor: str = "Google"
    plan: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    allows_writing: bool = True
    host: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def set(self, path: str, value: str) -> None:
        """Another value, for those that wait too."""
        with self.changed:
            self.values[path] = value
            self.changed.notify_all()

    def environ(self) -> dict[str, str]:
        return {"GCE_METADATA_HOST": self.host}


@dataclass
class TpuApi:
    """Where slices are deleted. `there` are resources; `plan` as for `Metadata`."""

    there: set[str]
    plan: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def tpu_vm(index: int = 0, hosts: int = 1, **changes: str) -> dict[str, str]:
    """What the metadata server of a TPU VM says."""
    endpoints = ",".join(f"unknown:unknown:10.0.0.{number + 1}" for number in range(hosts))
    return {
        "instance/attributes/accelerator-type": "v5litepod-16",
        "instance/attributes/agent-worker-number": str(index),
        "instance/attributes/worker-network-endpoints": endpoints,
        "instance/attributes/tpu-env": "CHIPS_PER_HOST_BOUNDS: '2,2,1'\nTOPOLOGY: '4x4'\nHOST_BOUNDS: '2,2,1'\n",
        "instance/network-interfaces/0/ip": f"10.0.0.{index + 1}",
        "instance/zone": "projects/123/zones/us-central2-b",
        "instance/name": f"t1v-n-0123-w-{index}",
        "instance/id": str(1000 + index),
        "instance/preempted": "FALSE",
        "instance/maintenance-event": "NONE",
        "instance/service-accounts/default/token": json.dumps({"access_token": "secret-token"}),
        **changes,
    }


@contextmanager
def serve_metadata(values: Mapping[str, str]) -> Iterator[Metadata]:
    """A metadata server on a port of loopback."""
    told = Metadata(dict(values))

    class Handler(_Quiet):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            told.asked.append(self.path.removeprefix(ROOT))
            if not self.is_fine(told.plan):
                return
            path, query = url.path.removeprefix(ROOT), parse_qs(url.query)
            if self.headers.get("Metadata-Flavor") != "Google":
                self.answer(403, "no Metadata-Flavor", told.flavor)
                return
            if "wait_for_change" in query:
                self.wait(path, query)
            value = told.values.get(path)
            self.answer(404 if value is None else 200, value or "", told.flavor)

        def wait(self, path: str, query: Mapping[str, list[str]]) -> None:
            last, most_s = query.get("last_etag", [""])[0], float(query.get("timeout_sec", ["30"])[0])
            with told.changed:
                told.changed.wait_for(
                    lambda: etag(told.values.get(path, "")) != last, min(most_s, WAIT_MOST_S)
                )

        def do_PUT(self) -> None:
            told.asked.append(self.path.removeprefix(ROOT))
            value = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if told.allows_writing:
                told.written[urlsplit(self.path).path.removeprefix(ROOT)] = value
            self.answer(200 if told.allows_writing else 403, "", told.flavor)

    with _serving(Handler) as host:
        told.host = host
        yield told


@contextmanager
def serve_tpu_api(*there: str) -> Iterator[TpuApi]:
    """A TPU API that knows nothing but deletions."""
    api = TpuApi(set(there))

    class Handler(_Quiet):
        def do_DELETE(self) -> None:
            api.asked.append((self.path, self.headers.get("Authorization")))
            if not self.is_fine(api.plan):
                return
            path = urlsplit(self.path).path.removeprefix("/v2/")
            status = 200 if path in api.there else 404
            api.there.discard(path)
            self.answer(status, "{}", "")

    with _serving(Handler) as host:
        api.url = f"http://{host}"
        yield api


def etag(value: str) -> str:
    return value.encode().hex() or "0"


class _Quiet(http.server.BaseHTTPRequestHandler):
    def is_fine(self, plan: list[int]) -> bool:
        status = plan.pop(0) if plan else 200
        if status == 0:
            self.close_connection = True
        elif status != 200:
            self.answer(status, "planned", "Google")
        return status == 200

    def answer(self, status: int, text: str, flavor: str) -> None:
        self.send_response(status)
        if flavor:
            self.send_header("Metadata-Flavor", flavor)
            self.send_header("ETag", etag(text))
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)
