"""Ships logs: reads what grows, sends chunks, and says when the controller has all of one.

Knows attempts by their keys only, and nothing of reports, beats or leases; a
flood of log bytes delays neither, since it has its own channel.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from grpc.aio import EOF, StreamStreamCall

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.book import id_of, is_terminal, key_of
from iris_bootstrap.session.concurrent import run_until_first
from iris_bootstrap.session.cursor import CHUNK_BYTES, Chunk, Cursor
from iris_bootstrap.session.disk import TaskFiles
from iris_proto.v1.worker_pb2 import AttemptReport, LogChunk, LogHello, ShipLogsRequest, ShipLogsResponse

LogCall = StreamStreamCall[ShipLogsRequest, ShipLogsResponse]

# How often running logs are looked at: while something grows, and at most after it has not for a while.
_FAST_POLL_S = 0.02
_SLOW_POLL_S = 0.1
# A look costs a few microseconds: with thousands of running tasks it comes less often.
_POLL_S_PER_LOG = 0.0002
# A chunk that the transport has not taken by then never will be.
_SEND_TIMEOUT_S = 30.0
# Likewise an answer.
_ANSWER_TIMEOUT_S = 60.0


class Shipper:
    """The logs of this host that the controller does not have yet."""

    def __init__(
        self, files: TaskFiles, on_durable: Callable[[AttemptKey], None], max_bytes: Callable[[], int]
    ) -> None:
        self._files = files
        self._on_durable = on_durable
        # Of one log, on this host.
        self._max_bytes = max_bytes
        self._cursors: dict[AttemptKey, Cursor] = {}
        self._running: dict[AttemptKey, Cursor] = {}
        # Those that may have something to send, in turn; a key is in it at most once.
        self._turns: deque[AttemptKey] = deque()
        self._queued: set[AttemptKey] = set()
        self._work = asyncio.Event()
        self._polling = asyncio.Event()
        self._logs = asyncio.Event()
        self._answered_s = 0.0

    def on_report(self, report: AttemptReport) -> None:
        """An attempt runs or has ended."""
        key = key_of(report.id)
        if is_terminal(report):
            self._running.pop(key, None)
            if report.log_bytes == 0:
                self._cursors.pop(key, None)
                return
        cursor = self._cursors.setdefault(key, Cursor(key))
        self._logs.set()
        if is_terminal(report):
            cursor.on_end(report.log_bytes)
            self._enqueue(key)
        else:
            self._running[key] = cursor
            self._polling.set()

    def take_up(self, report: AttemptReport) -> None:
        """An attempt that began under an earlier session, which may have dropped some of its log."""
        self.on_report(report)
        cursor = self._cursors.get(key_of(report.id))
        if cursor is not None:
            cursor.begin = self._files.log_begin(cursor.key)

    def drop(self, key: AttemptKey) -> None:
        """Nobody wants this log any more."""
        self._cursors.pop(key, None)
        self._running.pop(key, None)

    async def wait_for_logs(self) -> None:
        """Wait until there is any log that the controller may want."""
        while not self._cursors:
            self._logs.clear()
            await self._logs.wait()

    async def ship(self, call: LogCall, hello: LogHello) -> None:
        """Ship over a stream until it ends or stands still; ends with the stream's error, if it has one."""
        await asyncio.wait_for(call.write(ShipLogsRequest(hello=hello)), _SEND_TIMEOUT_S)
        self._answered_s = time.monotonic()
        for key, cursor in self._cursors.items():
            if not cursor.done:
                cursor.on_stream()
                self._enqueue(key)
        await run_until_first(self._send(call), self._receive(call), self._watch())

    def _enqueue(self, key: AttemptKey) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._turns.append(key)
            self._work.set()

    async def _send(self, call: LogCall) -> None:
        while True:
            while self._turns:
                key = self._turns.popleft()
                self._queued.discard(key)
                cursor = self._cursors.get(key)
                if cursor is not None:
                    await self._send_next(call, cursor)
            self._work.clear()
            await self._work.wait()

    async def _send_next(self, call: LogCall, cursor: Cursor) -> None:
        """Send one chunk of a log, if it is time for one, and let it queue for the next."""
        wait_s = cursor.wait_s(time.monotonic())
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._enqueue, cursor.key)
            return
        chunk = cursor.next_chunk()
        if chunk is None:
            return
        data = self._read(cursor, chunk)
        if data is None:
            # While it runs there is nothing more to send then: the same again would go on for ever.
            cursor.on_lost()
            self._enqueue(cursor.key)
            return
        cursor.on_sent(chunk)
        request = ShipLogsRequest(
            chunk=LogChunk(
                id=id_of(cursor.key),
                offset=chunk.offset,
                data=data,
                last=chunk.last,
                dropped_before=chunk.dropped_before,
            )
        )
        await asyncio.wait_for(call.write(request), _SEND_TIMEOUT_S)
        self._enqueue(cursor.key)

    def _read(self, cursor: Cursor, chunk: Chunk) -> bytes | None:
        """The bytes of a chunk; None if they are not there any more."""
        if chunk.length == 0:
            return b""
        data = self._files.read_log(cursor.key, chunk.offset, min(chunk.length, CHUNK_BYTES))
        return data if data is not None and len(data) == chunk.length else None

    async def _receive(self, call: LogCall) -> None:
        while True:
            response = await call.read()
            if not isinstance(response, ShipLogsResponse):
                assert response is EOF
                return
            self._answered_s = time.monotonic()
            key = key_of(response.id)
            cursor = self._cursors.get(key)
            if cursor is None:
                continue
            was_done = cursor.done
            cursor.on_stored(response.stored, self._answered_s)
            if cursor.done and not was_done:
                self._on_durable(key)
            else:
                self._enqueue(key)

    async def watch_logs(self) -> None:
        """Look at the logs of running attempts, connected or not: they must not fill the disk."""
        pause_s = _FAST_POLL_S
        while True:
            if not self._running:
                self._polling.clear()
                await self._polling.wait()
                pause_s = _FAST_POLL_S
            grown = [key for key, cursor in self._running.items() if self._has_grown(cursor)]
            for key in grown:
                self._enqueue(key)
            await self._shorten(grown)
            pause_s = _FAST_POLL_S if grown else min(pause_s * 1.25, _SLOW_POLL_S)
            await asyncio.sleep(max(pause_s, _POLL_S_PER_LOG * len(self._running)))

    async def _shorten(self, keys: list[AttemptKey]) -> None:
        """Drop the beginning of those logs that are too long."""
        for key in keys:
            cursor = self._cursors.get(key)
            if cursor is None:
                continue
            begin, end = cursor.begin, cursor.droppable(self._max_bytes())
            if end == begin:
                continue
            # First of all: what is about to go is not read any more, for it would be zeros.
            cursor.begin = end
            if not await asyncio.to_thread(self._files.drop_log, key, end):
                # A file system without holes: then all of it stays, and the disk is the limit.
                cursor.begin = begin
                cursor.keeps_all = True

    def _has_grown(self, cursor: Cursor) -> bool:
        size = self._files.log_size(cursor.key) or 0
        if size <= cursor.size:
            return False
        cursor.size = size
        return True

    async def _watch(self) -> None:
        """Return when chunks have been on their way for too long."""
        while True:
            await asyncio.sleep(_ANSWER_TIMEOUT_S / 4)
            waiting = any(cursor.waiting for cursor in self._cursors.values())
            if not waiting:
                self._answered_s = time.monotonic()
            elif time.monotonic() - self._answered_s > _ANSWER_TIMEOUT_S:
                return
