"""The one port: looks at the first bytes of a connection, and passes it on to gRPC or to HTTP/1.1."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

PREFACE = b"PRI * HTTP/2.0"
CHUNK = 64 * 1024
# How often somebody who hangs on purpose looks whether anybody still waits.
LOOK_S = 0.05
END_S = 0.005
NO_LINGER = struct.pack("ii", 1, 0)


class Hold:
    """Keeps callers waiting until they go, or the server does."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def until(self, gone: Callable[[], bool]) -> None:
        """Returns when nobody waits any more."""
        while not gone() and not self._over.wait(LOOK_S):
            pass

    def pause(self, ms: int) -> None:
        """So long, or until the server goes."""
        if ms:
            self._over.wait(ms / 1000)

    def release(self) -> None:
        """Nobody is kept from now on."""
        self._over.set()


class Front:
    """Listens, in a thread of its own. `grpc_port` and `http_port` are on loopback.

    `reset(port)` resets the caller's connection that comes to those from `port`.
    """

    def __init__(self, address: str, port: int) -> None:
        self._socket = socket.create_server((address, port), backlog=512)
        self.address, self.port = self._socket.getsockname()[:2]
        self._callers: dict[int, asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="cloud-front", daemon=True)
        self._grpc_port = self._http_port = 0

    def start(self, grpc_port: int, http_port: int) -> None:
        """From now on connections are passed on."""
        self._grpc_port, self._http_port = grpc_port, http_port
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = self._loop.run_until_complete(asyncio.start_server(self._meet, sock=self._socket))
        self._loop.run_forever()
        serving.close()
        # Somebody may be at the door just now, and transports close a moment later than asked.
        while tasks := asyncio.all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(END_S))
        self._loop.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled is who is still here when the server goes.
        with contextlib.suppress(OSError, asyncio.CancelledError), _closed_at_the_end(writer):
            first = await reader.read(CHUNK)
            while first and len(first) < len(PREFACE) and PREFACE.startswith(first):
                first += await reader.read(CHUNK)
            port = self._grpc_port if first.startswith(PREFACE) else self._http_port
            back, there = await asyncio.open_connection("127.0.0.1", port)
            with _closed_at_the_end(there):
                ours = there.get_extra_info("sockname")[1]
                self._callers[ours] = writer
                there.write(first)
                try:
                    await _carry_both((reader, there), (back, writer))
                finally:
                    self._callers.pop(ours, None)

    def reset(self, port: int) -> None:
        """The caller hears that the connection was reset; with gRPC that is all calls on it."""
        self._loop.call_soon_threadsafe(self._reset, port)

    def _reset(self, port: int) -> None:
        writer = self._callers.pop(port, None)
        if writer is not None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()

    def close(self) -> None:
        """Lets go of everybody."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def _closed_at_the_end(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()


async def _carry_both(*lines: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    carried = [asyncio.ensure_future(_carry(*line)) for line in lines]
    try:
        await asyncio.gather(*carried)
    finally:
        # Where one end broke, the other goes with it.
        for each in carried:
            each.cancel()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
