"""Who may call what. One table, one interceptor for each port, and what is not in the table is refused.

On loopback a call carries the token in `controller.json` (0600) and may do
everything. Over TLS the caller is whom its certificate names. Health and
reflection are no exceptions.
"""

from __future__ import annotations

import hmac
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio

from iris_controller.shell.peers import OPERATOR, USER, WORKER, Context, Role, Stranger, peer_of

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"

AUTHORIZATION = "authorization"

_ANYBODY = frozenset({OPERATOR, USER, WORKER})
_PEOPLE = frozenset({OPERATOR, USER})
_OPERATORS = frozenset({OPERATOR})
_WORKERS = frozenset({WORKER})

_CONTROLLER: Mapping[str, frozenset[Role]] = {
    "SubmitJob": _PEOPLE,
    "GetJob": _PEOPLE,
    "ListJobs": _PEOPLE,
    "StopJob": _PEOPLE,
    "ListTasks": _PEOPLE,
    "WatchJob": _PEOPLE,
    "StreamLogs": _PEOPLE,
    "GetClusterStatus": _PEOPLE,
    "ListScaleGroups": _PEOPLE,
    "ListSlices": _PEOPLE,
    "ListWorkers": _PEOPLE,
    "ListEvents": _PEOPLE,
    "WatchEvents": _PEOPLE,
    "BeginShutdown": _OPERATORS,
    # Users for themselves alone, which the method sees to.
    "IssueCertificate": _PEOPLE,
}

# Every method that is served, and who may call it. A test compares it with the services.
ROLES: Mapping[str, frozenset[Role]] = {
    **{f"/iris.v1.ControllerService/{name}": roles for name, roles in _CONTROLLER.items()},
    "/iris.v1.WorkerService/Session": _WORKERS,
    "/iris.v1.WorkerService/ShipLogs": _WORKERS,
    "/grpc.health.v1.Health/Check": _ANYBODY,
    "/grpc.health.v1.Health/List": _ANYBODY,
    "/grpc.health.v1.Health/Watch": _ANYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _PEOPLE,
}

NO_TOKEN = "this call needs the cluster's token (controller.json)"
NOBODY = "nobody may call this method"


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls through that are in the table and carry `authorization: Bearer <token>`."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """The method's own handler, or one of the same arity that refuses."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if not self._has_token(handler_call_details):
            return _refusing(handler, grpc.StatusCode.UNAUTHENTICATED, NO_TOKEN)
        if handler_call_details.method not in ROLES:
            return _refusing(handler, grpc.StatusCode.PERMISSION_DENIED, NOBODY)
        return handler

    def _has_token(self, details: grpc.HandlerCallDetails) -> bool:
        given = [value for key, value in details.invocation_metadata if key == AUTHORIZATION]
        return len(given) == 1 and hmac.compare_digest(str(given[0]).encode(), self._wanted)


class RoleInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls through whose certificate has a role that the table names."""

    def __init__(self, cluster_id: str) -> None:
        self._cluster_id = cluster_id
        # One for each method that is served.
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """The method's handler behind a look at the caller."""
        method = str(handler_call_details.method)
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        self._handlers[method] = guarded = _guarded(handler, self._check(ROLES.get(method, frozenset())))
        return guarded

    def _check(self, allowed: frozenset[Role]) -> Callable[[Context], Awaitable[None]]:
        wanted = " or ".join(sorted(role.value for role in allowed)) or "nobody"

        async def check(context: Context) -> None:
            try:
                peer = peer_of(context, self._cluster_id)
            except Stranger as error:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            if not peer.roles & allowed:
                roles = " and ".join(sorted(role.value for role in peer.roles))
                words = f"this call is for {wanted}; the certificate is of {roles} {peer.name}"
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, words)

        return check


def _maker(handler: Handler) -> Callable[..., Handler]:
    """What makes a handler of the same arity."""
    match handler.request_streaming, handler.response_streaming:
        case True, True:
            return grpc.stream_stream_rpc_method_handler
        case True, False:
            return grpc.stream_unary_rpc_method_handler
        case False, True:
            return grpc.unary_stream_rpc_method_handler
        case _:
            return grpc.unary_unary_rpc_method_handler


def _refusing(handler: Handler, code: grpc.StatusCode, words: str) -> Handler:
    """A handler that refuses, before it reads what was sent."""

    async def refuse(request: Any, context: Context) -> Any:
        await context.abort(code, words)

    async def refuse_stream(request: Any, context: Context) -> AsyncIterator[Any]:
        await context.abort(code, words)
        # Makes this an asynchronous generator, which a streaming handler has to be.
        yield

    return _maker(handler)(refuse_stream if handler.response_streaming else refuse)


def _guarded(handler: Handler, check: Callable[[Context], Awaitable[None]]) -> Handler:
    """A handler that asks `check` first, which aborts what is not allowed."""
    # One of them is there: that of its arity.
    call: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def answer(request: Any, context: Context) -> Any:
        await check(context)
        answered = call(request, context)
        return await answered if inspect.isawaitable(answered) else answered

    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
        await check(context)
        async with aclosing(call(request, context)) as parts:
            async for part in parts:
                yield part

    # gRPC tells by the kind of function whether it yields its answers or writes them to the context.
    guarded: Any = stream if inspect.isasyncgenfunction(call) else answer
    return _maker(handler)(guarded, handler.request_deserializer, handler.response_serializer)
