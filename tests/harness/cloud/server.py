"""The cloud as a server: everything of it on one port."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tests.harness.cloud.client import CloudClient
from tests.harness.cloud.front import Front, Hold
from tests.harness.cloud.grpc_api import GrpcApi
from tests.harness.cloud.http_api import HttpApi
from tests.harness.cloud.metadata_server import MetadataServer
from tests.harness.cloud.settings import Settings
from tests.harness.cloud.site import Clock, Site
from tests.harness.cloud.vms import PaperVms, Vms


class CloudServer:
    """A test cloud in this process, in threads of its own; a context manager.

    `stopped`: its clock only moves when a test says so (`client.advance`). `vms`
    are closed with it. Port 0 is any free one.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        vms: Vms | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        stopped: bool = False,
    ) -> None:
        self.settings = settings or Settings()
        self._vms = vms or PaperVms()
        self._address, self._port = address, port
        self._clock = Clock(stopped=stopped)

    def __enter__(self) -> CloudServer:
        with ExitStack() as undo:
            self.site = Site(self.settings, self._vms, self._clock)
            undo.callback(self.site.close)
            front = Front(self._address, self._port)
            undo.callback(front.close)
            hold = Hold()
            http = HttpApi(self.site, hold, front.reset)
            undo.callback(http.close)
            grpc = GrpcApi(self.site, hold, front.reset)
            undo.callback(grpc.close)
            undo.callback(hold.release)
            front.start(grpc.port, http.port)
            self.address = f"{front.address}:{front.port}"
            self.client = CloudClient(self.url)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def serve_metadata(self, key: str) -> str:
        """The metadata server of a VM, on paper or not, at a loopback `HOST:PORT` of this process too.

        What GCE_METADATA_HOST is for, where no host can be made.
        """
        listening = socket.create_server(("127.0.0.1", 0))
        server = MetadataServer(listening, lambda question: self.site.metadata(key, question))
        self._undo.callback(server.close)
        return "{}:{}".format(*listening.getsockname())

    @property
    def url(self) -> str:
        """`http://HOST:PORT`, for all APIs and for gRPC."""
        return f"http://{self.address}"

    @property
    def project(self) -> str:
        """The first project."""
        return next(iter(self.settings.projects))
