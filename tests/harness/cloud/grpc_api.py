"""The TPU API over gRPC, in plain text, on loopback behind the front door."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.rpc import status_pb2

from tests.harness.cloud import wire
from tests.harness.cloud.details import details_of
from tests.harness.cloud.errors import ApiError
from tests.harness.cloud.front import Hold
from tests.harness.cloud.site import Site

# Calls that hang keep a thread each.
THREADS = 128
DETAILS = "grpc-status-details-bin"
STATUS = {status.value[0]: status for status in grpc.StatusCode}


class GrpcApi:
    """A server on a loopback port of its own. `reset(port)` closes the front door's connection."""

    def __init__(self, site: Site, hold: Hold, reset: Callable[[int], None]) -> None:
        self._site = site
        self._hold = hold
        self._reset = reset
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="cloud-grpc")
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        for service in sorted({rpc.service for rpc in wire.table()}):
            handlers = {rpc.name: self._handler(rpc) for rpc in wire.table() if rpc.service == service}
            generic = grpc.method_handlers_generic_handler(service, handlers)
            self._server.add_generic_rpc_handlers((generic,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _handler(self, rpc: wire.Rpc) -> grpc.RpcMethodHandler[Any, Any]:
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._serve(rpc, request, context),
            request_deserializer=rpc.request.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )

    def _serve(self, rpc: wire.Rpc, request: Any, context: grpc.ServicerContext) -> Any:
        credentials = any(key == "authorization" for key, _ in context.invocation_metadata())
        answer = self._site.call_tpu(rpc.name, request, "grpc", credentials=credentials)
        self._hold.pause(answer.late_ms)
        if answer.cut == "reset":
            self._reset(int(context.peer().rpartition(":")[2]))
        if answer.cut:
            self._hold.until(lambda: not context.is_active())
            context.abort(grpc.StatusCode.CANCELLED, "nobody waits for this any more")
        if answer.error:
            _fail(context, answer.error)
        return answer.reply

    def close(self) -> None:
        """Ends what is under way."""
        self._server.stop(None).wait()
        self._pool.shutdown()


def _fail(context: grpc.ServicerContext, error: ApiError) -> None:
    status = status_pb2.Status(code=error.code, message=error.message, details=list(details_of(error)))
    context.set_trailing_metadata(((DETAILS, status.SerializeToString()),))
    context.abort(STATUS[error.code], error.message)
