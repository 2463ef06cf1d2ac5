"""A controller on a real socket: the fake service behind a token, in this process."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from iris_platform.controller_file import ControllerRecord, write_controller_file
from iris_platform.processes import start_time
from iris_proto.v1.controller_pb2_grpc import add_ControllerServiceServicer_to_server
from tests.cli.fake_service import FakeService

# Generic only in its stubs.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
SERVING = b"\x08\x01"


class FakeController:
    """Starts, stops and comes back at another address with another token."""

    def __init__(self, state_dir: Path, service: FakeService | None = None) -> None:
        self.state_dir = state_dir
        self.service = service or FakeService()
        self._server: grpc.Server | None = None

    def start(self) -> None:
        """Serve, and say where."""
        token = secrets.token_hex(8)
        self._server = grpc.server(
            ThreadPoolExecutor(16), interceptors=[_TokenCheck(token)], options=[("grpc.so_reuseport", 0)]
        )
        add_ControllerServiceServicer_to_server(self.service, self._server)
        self._server.add_generic_rpc_handlers((_Health(),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.write_file(f"127.0.0.1:{port}", token)

    def write_file(self, address: str, token: str, pid: int | None = None) -> None:
        """Say where a controller is, or claim so."""
        pid = pid or os.getpid()
        record = ControllerRecord(address, token, pid, start_time(pid) or 1)
        write_controller_file(self.state_dir / "controller.json", record)

    def stop(self) -> None:
        """Go away; what was remembered stays."""
        if self._server is not None:
            self._server.stop(None).wait(10)
            self._server = None

    def restart(self) -> None:
        """As after a crash: every stream breaks, everything else stays."""
        self.stop()
        self.start()


class _TokenCheck(grpc.ServerInterceptor):
    def __init__(self, token: str) -> None:
        self._wanted = ("authorization", f"Bearer {token}")

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = continuation(details)
        if self._wanted in [tuple(pair) for pair in details.invocation_metadata]:
            return handler
        return _refusal(handler)


def _refusal(handler: Handler | None) -> Handler:
    def refuse(request: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is not this controller's")

    if handler is not None and handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(refuse)
    return grpc.unary_unary_rpc_method_handler(refuse)


class _Health(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> Handler | None:
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, context: SERVING)
