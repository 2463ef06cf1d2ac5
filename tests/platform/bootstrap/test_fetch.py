"""A bundle over HTTPS: from the cluster's own server and from nobody else."""

import http.server
import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from iris_platform.bootstrap import BundleSource, Startup
from iris_platform.bootstrap.host import download, fetch
from iris_platform.bootstrap.host.layout import Layout, make_root
from iris_platform.bootstrap.host.outcome import Failure
from iris_platform.bundle import Bundle
from iris_platform.pki.authority import Authority, ensure_authority
from iris_platform.pki.names import server_name
from tests.platform.bootstrap.hosts import PYTHONS, Host, find_python


def authority(pki_dir: Path) -> Authority:
    return ensure_authority("demo", pki_dir, time.time())


@dataclass
class Server:
    """What the join port does with bundles. `plan` is taken from its front, one entry for each request."""

    authority: Authority
    data: bytes
    port: int = 0
    plan: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def source(self, bundle: Bundle, **changes: Any) -> BundleSource:
        parts: dict[str, Any] = {
            "url": f"https://127.0.0.1:{self.port}/bundle/{bundle.sha256}",
            "ca": self.authority.ca_pem.decode(),
            "server_name": server_name(self.authority.identity.cluster_id),
        }
        return replace(BundleSource(bundle.sha256), **(parts | changes))


@pytest.fixture
def server(tmp_path: Path, bundle: Bundle) -> Iterator[Server]:
    made = Server(authority(tmp_path / "pki"), bundle.path.read_bytes())
    (tmp_path / "server.pem").write_bytes(b"".join(made.authority.make_server(time.time())))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            what = made.plan.pop(0) if made.plan else "whole"
            if what in ("503", "404"):
                self.send_error(int(what))
                return
            data = {"cut": made.data[: len(made.data) // 2], "other": b"x" + made.data[1:]}.get(
                what, made.data
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(made.data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    class Quiet(http.server.ThreadingHTTPServer):
        def get_request(self) -> tuple[ssl.SSLSocket, tuple[str, int]]:
            raw, address = self.socket.accept()
            # Shaken hands with by the handler, whose errors end nothing.
            return context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as serving:
        made.port = serving.server_address[1]
        thread = threading.Thread(target=serving.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            serving.shutdown()
            thread.join(10)


def start(host: Host, bundle: Bundle, source: BundleSource) -> Startup:
    startup = host.startup(bundle)
    return Startup(**{**vars(startup), "bundle": source})


def test_a_bundle_is_fetched_checked_and_installed(host: Host, bundle: Bundle, server: Server) -> None:
    host.run(start(host, bundle, server.source(bundle))).check("h1")
    assert server.asked == [f"/bundle/{bundle.sha256}"]
    assert list((host.root / "incoming").iterdir()) == []
    # Installed is installed, wherever it came from.
    host.run(start(host, bundle, server.source(bundle)), "stop").check("h1")
    host.run(start(host, bundle, server.source(bundle))).check("h1")
    assert len(server.asked) == 1


@pytest.fixture
def layout(host: Host, monkeypatch: pytest.MonkeyPatch) -> Layout:
    made = Layout(host.root, "worker")
    make_root(made)
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.01)
    return made


def fetched(layout: Layout, source: BundleSource) -> bytes:
    return fetch.fetch_bundle(layout, vars(source)).read_bytes()


@pytest.mark.parametrize("first", ["503", "cut", "other"])
def test_what_goes_wrong_once_is_tried_again(
    first: str, layout: Layout, bundle: Bundle, server: Server
) -> None:
    server.plan = [first]
    assert fetched(layout, server.source(bundle)) == server.data
    assert len(server.asked) == 2


def test_there_is_an_end_to_trying(layout: Layout, bundle: Bundle, server: Server) -> None:
    server.plan = ["cut"] * 100
    with pytest.raises(Failure, match="cannot be fetched") as caught:
        fetched(layout, server.source(bundle))
    assert (caught.value.status, len(server.asked)) == (4, download.ATTEMPTS)
    assert list(layout.incoming.iterdir()) == []


def test_a_server_that_does_not_have_it_is_not_asked_twice(
    layout: Layout, bundle: Bundle, server: Server
) -> None:
    server.plan = ["404"]
    with pytest.raises(Failure, match="HTTP status 404") as caught:
        fetched(layout, server.source(bundle))
    assert (caught.value.status, len(server.asked)) == (2, 1)


def test_nobody_is_there(layout: Layout, bundle: Bundle, server: Server) -> None:
    with pytest.raises(Failure, match="Connection refused") as caught:
        fetched(layout, server.source(bundle, url="https://127.0.0.1:1/bundle/x"))
    assert caught.value.status == 4


def test_another_ca_is_refused_at_once(
    layout: Layout, bundle: Bundle, server: Server, tmp_path: Path
) -> None:
    other = authority(tmp_path / "other").ca_pem.decode()
    with pytest.raises(Failure, match="not the cluster's server") as caught:
        fetched(layout, server.source(bundle, ca=other))
    assert (caught.value.status, server.asked) == (2, [])


def test_another_clusters_controller_is_refused(layout: Layout, bundle: Bundle, server: Server) -> None:
    with pytest.raises(Failure, match="not the cluster's server"):
        fetched(layout, server.source(bundle, server_name="controller.zzzzzzzzzz.iris"))
    assert server.asked == []


def test_what_is_no_ca_is_said(layout: Layout, bundle: Bundle, server: Server) -> None:
    with pytest.raises(Failure, match="CA cannot be read"):
        fetched(layout, server.source(bundle, ca="nonsense"))


def test_an_upload_that_was_cut_short_is_refused(host: Host, bundle: Bundle) -> None:
    path = host.folder / "cut"
    path.write_bytes(bundle.path.read_bytes()[:-10])
    outcome = host.run(start(host, bundle, BundleSource(bundle.sha256, path=str(path))))
    assert (outcome.exit_status, outcome.step) == (2, "bundle")
    assert outcome.reason.endswith("upload it again")


@pytest.mark.parametrize("python", PYTHONS)
def test_a_host_that_nobody_knows_takes_the_bundle_of_its_own_python(
    python: str, bundle: Bundle, newer: Bundle, server: Server, tmp_path: Path
) -> None:
    kinds = dict.fromkeys((f"{version} {os.uname().machine}" for version in PYTHONS), newer.sha256)
    kinds[f"{python} {os.uname().machine}"] = bundle.sha256
    with TemporaryDirectory(prefix="iris-host-") as folder:
        host = Host(Path(folder) / "h", find_python(python))
        source = server.source(bundle, url=f"https://127.0.0.1:{server.port}/bundle/")
        startup = start(host, bundle, replace(source, sha256="", kinds=kinds))
        try:
            facts = host.run(startup).check("h1").facts
            assert facts["bundle"] == bundle.sha256
            assert server.asked == [f"/bundle/{bundle.sha256}"]
            # What the others would take is nothing to this one.
            assert host.run(startup).check("h1").facts["changed"] is False
        finally:
            host.end()


def test_a_host_for_whose_python_there_is_no_bundle_says_so(
    host: Host, bundle: Bundle, server: Server
) -> None:
    source = server.source(bundle, url=f"https://127.0.0.1:{server.port}/bundle/")
    outcome = host.run(start(host, bundle, replace(source, sha256="", kinds={"3.9 mips": bundle.sha256})))
    assert (outcome.exit_status, outcome.step) == (2, "bundle")
    assert f"no bundle for Python 3.11 {os.uname().machine}; there are some for 3.9 mips" in outcome.reason
    assert server.asked == []
