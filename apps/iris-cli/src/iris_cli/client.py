"""Calls to a cluster's controller, each with a deadline; how it is reached is `iris_cli.reach`'s."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

import grpc

from iris_cli.locate import Cluster
from iris_cli.reach import Link, Reach, RpcFailed, reach_of
from iris_proto.v1.controller_pb2_grpc import ControllerServiceStub

__all__ = ["Connection", "Controller", "RpcFailed"]

Request = TypeVar("Request")
Response = TypeVar("Response")

CALL_TIMEOUT_S = 20.0
# A stream that is older than this is opened again where it was: no call is
# without a deadline, and none is cut off by it.
STREAM_TIMEOUT_S = 3600.0


class Controller:
    """The controller of a cluster, wherever it is when it is called."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._reach: Reach | None = None

    def connect(self) -> Connection:
        """A connection to the controller that lives now.

        Raises:
            RpcFailed: none lives or can be found; retrying helps where one is
                being started.
        """
        with self._lock:
            if self._reach is None:
                self._reach = reach_of(self.cluster)
            reach = self._reach
        connection = Connection(self, reach, reach.open())
        with self._lock:
            self._open.add(connection)
        return connection

    def forget(self, connection: Connection) -> None:
        """A connection was closed."""
        with self._lock:
            self._open.discard(connection)

    def close(self) -> None:
        """Close every connection; calls that other threads wait for end."""
        with self._lock:
            connections, reach, self._reach = list(self._open), self._reach, None
        for connection in connections:
            connection.close()
        if reach is not None:
            reach.close()


class Connection:
    """A channel to one controller process; `where` says which, for people."""

    def __init__(self, controller: Controller, reach: Reach, link: Link) -> None:
        self.where = link.where
        self._controller = controller
        self._reach = reach
        self._link = link
        self.stub = ControllerServiceStub(link.channel)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Ctrl-C can hit gRPC between the start of a call and the start of the thread
        # that serves it; closing then waits for ever. The process ends now anyway.
        if kind is not KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """Close the channel; what is in flight on it is cancelled."""
        self._link.channel.close()
        self._controller.forget(self)

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Response:
        """One request, one response.

        Raises:
            RpcFailed: it failed, or there was no answer in time.
        """
        try:
            return method(request, timeout=timeout_s, metadata=self._link.metadata)
        except grpc.RpcError as error:
            raise self._reach.failure(error, self._link) from error

    def stream(
        self, method: grpc.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> Iterator[Response]:
        """One request, many responses.

        Raises:
            RpcFailed: while iterating; it failed or was cut off.
        """
        try:
            yield from method(request, timeout=STREAM_TIMEOUT_S, metadata=self._link.metadata)
        except grpc.RpcError as error:
            raise self._reach.failure(error, self._link) from error
