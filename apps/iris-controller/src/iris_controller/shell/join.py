"""The join port: HTTPS for hosts that have no certificate yet.

`GET /bundle/<sha256>` is the agent's software, `POST /join` a certificate for a
proof. Hosts know the server by the pinned authority. One request per
connection, all within bounds of size, number and time; a loop and a thread of
its own, so that a fleet that boots disturbs no beat.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import h11

from iris_controller.shell.certificates import Admission, HttpError
from iris_platform.base import PlatformError

log = logging.getLogger(__name__)

_BUNDLE = re.compile(rb"/bundle/([0-9a-f]{64})")
_READ_BYTES = 16 * 1024
_SEND_BYTES = 256 * 1024
_STOP_S = 5.0
_ACCEPT_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller, and all of them, may take."""

    connections: int = 64
    handshake_s: float = 10.0
    # For the whole request, however slowly it is sent.
    request_s: float = 10.0
    # For an answer, and for each part of a bundle.
    answer_s: float = 20.0
    header_bytes: int = 16 * 1024
    body_bytes: int = 32 * 1024


class PortTaken(Exception):
    """The port cannot be had; the message says which."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: bytes
    path: bytes
    body: bytes
    source: str


class JoinServer:
    """Listens once it was bound and runs."""

    def __init__(
        self, bundles: Path, admission: Admission, context: ssl.SSLContext, limits: Limits | None = None
    ) -> None:
        """`bundles` holds files that are named after their SHA-256."""
        self._bundles = bundles
        self._admission = admission
        self._context = context
        self._limits = limits or Limits()
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stopped = False

    def bind(self, host: str, port: int) -> str:
        """Take a port, any free one for 0; returns `HOST:PORT`.

        Raises:
            PortTaken: it cannot be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server(
                (host, port),
                family=family,
                backlog=self._limits.connections,
                dualstack_ipv6=host == "::",
            )
        except OSError as error:
            raise PortTaken(f"cannot listen on port {port} for hosts that join: {error.strerror}") from error
        self._socket.setblocking(False)
        bound = self._socket.getsockname()[1]
        return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"

    async def run(self) -> None:
        """Serve until cancelled; an error here is the server's own and ends it."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="join")
        served = asyncio.get_running_loop().run_in_executor(pool, lambda: asyncio.run(self._serve()))
        try:
            await asyncio.shield(served)
        finally:
            self._stopped = True
            if self._loop is not None and self._stopping is not None:
                with suppress(RuntimeError):  # its loop has ended
                    self._loop.call_soon_threadsafe(self._stopping.set)
            await asyncio.wait([served], timeout=_STOP_S)
            pool.shutdown(wait=False)

    async def _serve(self) -> None:
        assert self._socket is not None, "bind() comes first"
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        if self._stopped:
            self._stopping.set()
        accepting = asyncio.create_task(self._accept(self._socket))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([accepting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if accepting.done():
                accepting.result()
        finally:
            self._socket.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.gather(accepting, stopping, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # Whoever is one too many waits in the kernel's backlog.
        room = asyncio.Semaphore(self._limits.connections)
        open_now: set[asyncio.Task[None]] = set()
        while True:
            await room.acquire()
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:
                # Gone again, or the process has too many files open: others may yet come.
                log.warning("a connection could not be taken: %s", error)
                room.release()
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            task = asyncio.create_task(self._attend(connection, str(peer[0])))
            open_now.add(task)
            task.add_done_callback(open_now.discard)
            task.add_done_callback(lambda done: room.release())
            task.add_done_callback(_note)

    async def _attend(self, connection: socket.socket, source: str) -> None:
        """One connection, from its handshake to its end."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = None
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=self._limits.answer_s,
            )
        except OSError as error:
            # A wrong authority, an old protocol, a scan: nothing that we can mend.
            log.debug("handshake with %s failed: %s", source, error)
            return
        finally:
            if transport is None:
                connection.close()
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._converse(reader, writer, source)
        except (OSError, TimeoutError) as error:
            log.info("%s hung up, or stood still: %s", source, str(error) or "no answer in time")
            transport.abort()
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            writer.close()
            # Until then it is one of the connections that are counted.
            try:
                await asyncio.wait_for(writer.wait_closed(), self._limits.answer_s)
            except OSError:
                transport.abort()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str
    ) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)
        send = _Sender(http, writer, self._limits.answer_s)
        try:
            request = await self._hear(http, reader, source)
            if request is not None:
                await self._answer(request, send)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            await send.error(HttpError(status, "bad_request", "that is no HTTP request we can read"))
        except HttpError as error:
            await send.error(error)

    async def _hear(self, http: h11.Connection, reader: asyncio.StreamReader, source: str) -> _Request | None:
        try:
            reading = _read_request(http, reader, source, self._limits.body_bytes)
            return await asyncio.wait_for(reading, self._limits.request_s)
        except TimeoutError as error:
            words = "the request was sent too slowly"
            raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "slow", words) from error

    async def _admit(self, request: _Request) -> bytes:
        try:
            admitting = self._admission.admit(request.body, request.source)
            return await asyncio.wait_for(admitting, self._limits.answer_s)
        except (PlatformError, TimeoutError) as error:
            words = f"the proof could not be checked now: {str(error) or 'no answer in time'}; try again"
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "unreachable", words) from error

    async def _answer(self, request: _Request, send: _Sender) -> None:
        if found := _BUNDLE.fullmatch(request.path):
            _expect_method(request, b"GET")
            await self._send_bundle(found.group(1).decode("ascii"), send)
        elif request.path == b"/join":
            _expect_method(request, b"POST")
            chain = await self._admit(request)
            await send.json(HTTPStatus.OK, {"certificate": chain.decode("ascii")})
        else:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", "there is /bundle/<sha256> and /join")

    async def _send_bundle(self, digest: str, send: _Sender) -> None:
        try:
            fd = os.open(self._bundles / digest, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            words = f"there is no bundle {digest} here; bootstrap the host again"
            raise HttpError(HTTPStatus.NOT_FOUND, "no_bundle", words) from error
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            raise HttpError(HTTPStatus.NOT_FOUND, "no_bundle", f"there is no bundle {digest} here")
        with os.fdopen(fd, "rb", buffering=0) as file:
            await send.head(HTTPStatus.OK, "application/octet-stream", facts.st_size)
            left = facts.st_size
            while left:
                part = await asyncio.to_thread(file.read, min(left, _SEND_BYTES))
                if not part:
                    raise OSError("the bundle became shorter while it was sent")
                left -= len(part)
                await send.data(part)
        await send.end()


class _Sender:
    """One answer; each part of it has a deadline."""

    def __init__(self, http: h11.Connection, writer: asyncio.StreamWriter, part_s: float) -> None:
        self._http = http
        self._writer = writer
        self._part_s = part_s

    async def head(self, status: HTTPStatus, kind: str, length: int) -> None:
        headers = [("content-type", kind), ("content-length", str(length)), ("connection", "close")]
        reason = status.phrase.encode("ascii")
        await self._put(h11.Response(status_code=status, headers=headers, reason=reason))

    async def data(self, part: bytes) -> None:
        await self._put(h11.Data(data=part))

    async def end(self) -> None:
        await self._put(h11.EndOfMessage())

    async def json(self, status: HTTPStatus, value: dict[str, str]) -> None:
        body = json.dumps(value).encode("ascii") + b"\n"
        await self.head(status, "application/json", len(body))
        await self.data(body)
        await self.end()

    async def error(self, error: HttpError) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.json(error.status, {"error": error.code, "message": str(error)})

    async def _put(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), self._part_s)


async def _read_request(
    http: h11.Connection, reader: asyncio.StreamReader, source: str, body_bytes: int
) -> _Request | None:
    """The whole request; None where there came none.

    Raises:
        h11.RemoteProtocolError: it is no HTTP, or its head is too long.
        HttpError: its body is too long.
    """
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        match event:
            case h11.NEED_DATA:
                data = await reader.read(_READ_BYTES)
                if not data and head is None and not http.trailing_data[0]:
                    return None
                http.receive_data(data)
            case h11.Request():
                head = event
            case h11.Data():
                body += event.data
                if len(body) > body_bytes:
                    words = f"expected at most {body_bytes} bytes"
                    raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", words)
            case h11.EndOfMessage():
                assert head is not None
                return _Request(bytes(head.method), bytes(head.target), bytes(body), source)
            case _:
                return None


def _expect_method(request: _Request, method: bytes) -> None:
    if request.method != method:
        words = f"expected {method.decode('ascii')}"
        raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "bad_method", words)


def _note(done: asyncio.Task[None]) -> None:
    """A defect of ours ends one connection, not the server; its caller hears nothing of it."""
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("a connection of the join port failed", exc_info=error)
