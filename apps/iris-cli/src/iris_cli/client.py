"""Reaching a cluster's controller: its file, a channel, calls with deadlines.

The file is read again at every connect, since a controller that was started
again has another address and token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

import grpc

from iris_cli.exits import NOT_ALLOWED, UNREACHABLE, CliError
from iris_cli.locate import Cluster
from iris_cli.statuses import EXIT_STATUS, WORTH_ANOTHER_STREAM
from iris_platform.controller_file import (
    ControllerFileError,
    ControllerRecord,
    read_controller_file,
)
from iris_platform.controller_vm import find_controller
from iris_platform.processes import is_alive, is_stopped
from iris_proto.v1.controller_pb2_grpc import ControllerServiceStub

Request = TypeVar("Request")
Response = TypeVar("Response")

CALL_TIMEOUT_S = 20.0
# A stream that is older than this is opened again where it was: no call is
# without a deadline, and none is cut off by it.
STREAM_TIMEOUT_S = 3600.0
# A controller that starts is waited for so long before it is said not to be there,
# and looked for so often.
START_S = 5.0
LOOK_S = 0.1

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    # A proxy of the environment is not for controllers.
    ("grpc.enable_http_proxy", 0),
    # Channels to one address otherwise share its back-off, up to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
)


class RpcFailed(CliError):
    """A call that failed; `again` says whether opening a stream again may help."""

    def __init__(self, status: int, message: str, *, hint: str = "", again: bool = False) -> None:
        super().__init__(status, message, hint=hint)
        self.again = again


class Controller:
    """The controller of a cluster, wherever it is when it is called."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._lock = threading.Lock()
        self._open: set[Connection] = set()

    def live_record(self) -> ControllerRecord | None:
        """What its file says if that process lives; None where there is none.

        Raises:
            RpcFailed: the file is there and cannot be used.
        """
        try:
            record = read_controller_file(self.cluster.paths.controller_file)
        except ControllerFileError as error:
            raise self._unusable(error) from error
        return record if record and is_alive(record.pid, record.start_time) else None

    def connect(self) -> Connection:
        """A connection to the controller that lives now.

        Raises:
            RpcFailed: none lives or can be found; retrying helps where one is
                being started.
        """
        record = self.live_record() or self._await_start()
        if record is None:
            raise self.not_running()
        connection = Connection(self, record)
        with self._lock:
            self._open.add(connection)
        return connection

    def _await_start(self) -> ControllerRecord | None:
        """What a controller that is just starting says of itself, once it does; None where none is."""
        pause = threading.Event()
        for _ in range(round(START_S / LOOK_S)):
            process = find_controller(self.cluster.paths)
            if process is None or is_stopped(process.pid):
                return None
            pause.wait(LOOK_S)
            if record := self.live_record():
                return record
        return None

    def forget(self, connection: Connection) -> None:
        """A connection was closed."""
        with self._lock:
            self._open.discard(connection)

    def close(self) -> None:
        """Close every connection; calls that other threads wait for end."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.close()

    def not_running(self) -> RpcFailed:
        """The error where no controller lives, or none that can be reached."""
        process = find_controller(self.cluster.paths)
        if process is not None:
            return RpcFailed(
                UNREACHABLE,
                f"the controller of cluster {self.cluster.name} runs as process {process.pid}, but"
                f" {self.cluster.paths.controller_file} is not there",
                hint=self._halted(process.pid)
                or "it writes that file again within seconds; if not, stop and start the cluster: "
                + self.cluster.command("cluster stop"),
                again=True,
            )
        return RpcFailed(
            UNREACHABLE,
            f"the controller of cluster {self.cluster.name} is not running",
            hint=f"start it: {self.cluster.command('cluster start')}",
            again=True,
        )

    def _unusable(self, error: ControllerFileError) -> RpcFailed:
        """The error where the file cannot be used; what helps depends on who lives."""
        process = find_controller(self.cluster.paths)
        path = self.cluster.paths.controller_file
        if process is None:
            start = self.cluster.command("cluster start")
            return RpcFailed(UNREACHABLE, str(error), hint=f"no controller runs; start it: {start}")
        hint = f"the controller runs as process {process.pid}; remove {path}, and it is written again"
        return RpcFailed(UNREACHABLE, str(error), hint=hint)

    def _halted(self, pid: int) -> str:
        """What to do about a controller that was halted; empty where it was not."""
        return f"process {pid} was halted; let it go on: kill -CONT {pid}" if is_stopped(pid) else ""

    def failure(self, error: grpc.RpcError, record: ControllerRecord) -> RpcFailed:
        """A failed call as an error for people."""
        code = error.code()
        details = error.details() or code.name
        again = code in WORTH_ANOTHER_STREAM
        if code is grpc.StatusCode.UNAVAILABLE:
            if not is_alive(record.pid, record.start_time):
                return self.not_running()
            return RpcFailed(
                UNREACHABLE,
                f"the controller (pid {record.pid}) does not answer at {record.address}",
                hint=f"its log: {self.cluster.paths.controller_log}",
                again=again,
            )
        status = EXIT_STATUS[code]
        hint = "is this cluster yours?" if status == NOT_ALLOWED else ""
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            details = f"the controller (pid {record.pid}) did not answer in time"
            hint = self._halted(record.pid) or f"its log: {self.cluster.paths.controller_log}"
        return RpcFailed(status, details, hint=hint, again=again)


class Connection:
    """A channel to one controller process."""

    def __init__(self, controller: Controller, record: ControllerRecord) -> None:
        self.record = record
        self._controller = controller
        self._metadata = (("authorization", f"Bearer {record.token}"),)
        self._channel = grpc.insecure_channel(record.address, options=CHANNEL_OPTIONS)
        self.stub = ControllerServiceStub(self._channel)

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
        self._channel.close()
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
            return method(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._controller.failure(error, self.record) from error

    def stream(
        self, method: grpc.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> Iterator[Response]:
        """One request, many responses.

        Raises:
            RpcFailed: while iterating; it failed or was cut off.
        """
        try:
            yield from method(request, timeout=STREAM_TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._controller.failure(error, self.record) from error
