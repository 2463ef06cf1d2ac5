"""One interceptor for every method: a call without the token gets nothing.

A cluster that never leaves this machine is on loopback and has one token, in
`controller.json` (0600). Health and reflection are no exceptions.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

AUTHORIZATION = "authorization"


async def _refuse(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "this call needs the cluster's token (controller.json)"
    )


async def _refuse_stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    await _refuse(request, context)
    # Makes this an asynchronous generator, which a streaming handler has to be.
    yield


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls through that carry `authorization: Bearer <token>`."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's own handler, or one of the same arity that refuses."""
        handler = await continuation(handler_call_details)
        if handler is None or self._is_allowed(handler_call_details):
            return handler
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(_refuse_stream)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(_refuse)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_refuse_stream)
        return grpc.unary_unary_rpc_method_handler(_refuse)

    def _is_allowed(self, details: grpc.HandlerCallDetails) -> bool:
        given = [value for key, value in details.invocation_metadata if key == AUTHORIZATION]
        return len(given) == 1 and hmac.compare_digest(str(given[0]).encode(), self._wanted)
