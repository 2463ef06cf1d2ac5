"""Agents' streams: the WorkerService, and the way back to each agent.

Turns messages into events and effects into messages; decides nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import grpc
import grpc.aio

from iris_controller.codec import wire
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import Job
from iris_controller.core.values import Reason
from iris_controller.shell.certificates import CertificateDesk, NotIssued
from iris_controller.shell.controller import Controller, NotCommitted, Overloaded
from iris_controller.shell.logs import Chunk, LogStore, Stored
from iris_controller.shell.peers import Context, peer_of
from iris_controller.shell.places import PlaceGuard, attempt_words
from iris_proto.v1 import worker_pb2, worker_pb2_grpc

log = logging.getLogger(__name__)

HELLO_DEADLINE_S = 10.0
# Messages that wait for one agent; an agent that does not read them is cut off
# and tells everything anew when it dials again.
MOST_OUTGOING = 1_000
# Log chunks of one agent that wait for the disk.
MOST_CHUNKS = 16
LOG_THREADS = 2
# Certificates that one stream may ask for; it does every few days.
MOST_RENEWALS = 10
# Likewise; a host is told of its end once, as a rule.
MOST_NOTICES = 100

Outgoing: TypeAlias = worker_pb2.ControllerMessage | Reason
AgentStream: TypeAlias = AsyncIterator[worker_pb2.AgentMessage]


class Sessions(worker_pb2_grpc.WorkerServiceServicer):
    """Every open stream of one controller."""

    def __init__(
        self,
        cluster_id: str,
        timings: worker_pb2.Timings,
        logs: LogStore,
        desk: CertificateDesk | None = None,
    ) -> None:
        """`desk` renews the agents' certificates, where they have any."""
        self._desk = desk
        self._cluster_id = cluster_id
        self._timings = timings
        self._logs = logs
        self._controller: Controller | None = None
        self._ids = itertools.count(1)
        self._outgoing: dict[int, asyncio.Queue[Outgoing]] = {}
        self._log_threads = ThreadPoolExecutor(LOG_THREADS, thread_name_prefix="logs")
        self._on_log: Callable[[str], None] = lambda job_id: None

    def attach(self, controller: Controller, on_log: Callable[[str], None]) -> None:
        """Says whom to tell; `on_log` hears of every job whose log grew."""
        self._controller = controller
        self._on_log = on_log

    @property
    def controller(self) -> Controller:
        """Whom the streams talk to."""
        assert self._controller is not None, "attach() comes first"
        return self._controller

    # -- to agents -------------------------------------------------------

    def deliver(self, effect: fx.Effect) -> None:
        """Queues the message of a session's effect; the session may be gone."""
        epoch, commit = self.controller.epoch, self.controller.commit_number
        match effect:
            case fx.SendWelcome(session_id):
                message = wire.welcome(effect, self._timings, epoch, commit, self._logs.max_bytes)
                self._send(session_id, message)
            case fx.SendCommands(session_id):
                jobs = self.controller.world.jobs
                contexts = [wire.job_context(job) for job in _jobs_of(effect, jobs)]
                self._send(session_id, wire.commands(effect, contexts, epoch, commit))
            case fx.SendNotice(session_id):
                self._send(session_id, wire.slice_notice(effect, epoch, commit))
            case fx.AckBeat(session_id):
                self._send(session_id, wire.beat_ack(effect, epoch, commit))
            case fx.AckReports(session_id):
                self._send(session_id, wire.reports_ack(effect, epoch, commit))
            case fx.RefuseSession(session_id, reason):
                self._send(session_id, reason)
            case _:
                raise AssertionError(f"not for a session: {effect}")

    def _send(self, session_id: int, message: Outgoing) -> None:
        queue = self._outgoing.get(session_id)
        if queue is None:
            return
        if queue.full():
            log.warning("session %d does not read; cut off", session_id)
            while not queue.empty():
                queue.get_nowait()
            message = Reason("slow", "the agent did not read its messages")
        queue.put_nowait(message)

    # -- from agents -----------------------------------------------------

    async def Session(
        self, request_iterator: AgentStream, context: Context
    ) -> AsyncIterator[worker_pb2.ControllerMessage]:
        """One agent's stream; see worker.proto."""
        session_id = next(self._ids)
        queue: asyncio.Queue[Outgoing] = asyncio.Queue(MOST_OUTGOING + 1)
        self._outgoing[session_id] = queue
        guard = PlaceGuard(peer_of(context, self._cluster_id), self.controller)
        reader = asyncio.create_task(self._read(session_id, request_iterator, guard))
        try:
            while True:
                message = await queue.get()
                if isinstance(message, Reason):
                    log.info("session %d ends: %s: %s", session_id, *message)
                    await context.abort(
                        grpc.StatusCode.FAILED_PRECONDITION, f"{message.code}: {message.message}"
                    )
                yield message
        finally:
            reader.cancel()
            del self._outgoing[session_id]
            self.controller.post(e.SessionClosed(session_id))

    async def _read(self, session_id: int, stream: AgentStream, guard: PlaceGuard) -> None:
        """Hands over an agent's messages until its stream ends, then ends ours."""
        try:
            first = await asyncio.wait_for(anext(stream), HELLO_DEADLINE_S)
            if first.WhichOneof("message") != "hello":
                raise ValueError("the first message must be hello")
            hello = wire.hello_from_proto(first.hello, session_id, self.controller.commit_number)
            ending = guard.hello(hello.place)
            if ending is None:
                await self.controller.tell(hello)
                ending = await self._listen(session_id, stream, guard)
        except wire.OtherProtocol as error:
            ending = guard.hello(error.place)
            if ending is None:
                ending = Reason("other_protocol", str(error))
                await self.controller.tell(e.AgentRefused(error.place, ending))
        except ValueError as error:
            ending = Reason("bad_message", str(error))
        except (TimeoutError, StopAsyncIteration):
            ending = Reason("no_hello", f"no hello within {HELLO_DEADLINE_S:g} s")
        queue = self._outgoing[session_id]
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(ending)

    async def _listen(self, session_id: int, stream: AgentStream, guard: PlaceGuard) -> Reason:
        """What follows the hello; returns why the stream has to end.

        Raises:
            ValueError: a message that does not belong there.
        """
        renewals = notices = 0
        async for message in stream:
            if (ending := guard.still_there()) is not None:
                return ending
            match message.WhichOneof("message"):
                case "beat":
                    await self.controller.tell(e.AgentBeat(session_id, message.beat.sequence))
                case "reports":
                    reports = wire.reports_from_proto(message.reports, session_id)
                    if (ending := guard.reports(reports.reports)) is not None:
                        return ending
                    await self.controller.tell(reports)
                case "notice" if notices < MOST_NOTICES:
                    notices += 1
                    await self.controller.tell(wire.notice_from_proto(message.notice, session_id))
                case "renew" if renewals < MOST_RENEWALS:
                    renewals += 1
                    answer = self._renew(guard, message.renew.csr)
                    self._send(session_id, worker_pb2.ControllerMessage(certificate=answer))
                case other:
                    raise ValueError(f"unexpected message {other}")
        return Reason("closed", "the agent ended the stream")

    def _renew(self, guard: PlaceGuard, csr: bytes) -> worker_pb2.RenewedCertificate:
        if self._desk is None or guard.peer.place is None:
            return worker_pb2.RenewedCertificate(error="agents on this port have no certificates")
        try:
            chain = self._desk.sign_worker(guard.peer.place, csr)
        except NotIssued as error:
            return worker_pb2.RenewedCertificate(error=str(error))
        log.info("certificate of %s renewed", guard.peer.name)
        return worker_pb2.RenewedCertificate(certificate_chain=chain)

    async def ShipLogs(
        self, request_iterator: AsyncIterator[worker_pb2.ShipLogsRequest], context: Context
    ) -> AsyncIterator[worker_pb2.ShipLogsResponse]:
        """One agent's logs; answered once they are durable."""
        first = await anext(request_iterator, None)
        if first is None or first.hello.cluster_id != self._cluster_id:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "expected hello of this cluster's agent")
            return
        guard = PlaceGuard(peer_of(context, self._cluster_id), self.controller)
        await _end_for(guard.hello(wire.place_from_proto(first.hello.place)), context)
        queue: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue(MOST_CHUNKS)
        reader = asyncio.create_task(_read_chunks(request_iterator, queue))
        loop = asyncio.get_running_loop()
        try:
            while True:
                chunks = await _drain(queue, context)
                if chunks is None:
                    return
                await _end_for(guard.still_there(), context)
                chunks, unknown = await _sort(chunks, guard, context)
                for chunk in unknown:
                    # Nobody will ever read it; the agent need not keep it.
                    stored_bytes = chunk.offset + len(chunk.data)
                    yield worker_pb2.ShipLogsResponse(
                        id=wire.attempt_id_to_proto(chunk.id), stored=stored_bytes
                    )
                try:
                    stored = await loop.run_in_executor(self._log_threads, self._logs.append, chunks)
                    await self._note_complete(stored)
                except (OSError, NotCommitted, Overloaded) as error:
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"cannot store logs: {error}")
                    return
                for one in stored:
                    self._on_log(one.id.job_id)
                    yield worker_pb2.ShipLogsResponse(id=wire.attempt_id_to_proto(one.id), stored=one.length)
        finally:
            reader.cancel()

    async def _note_complete(self, stored: Iterable[Stored]) -> None:
        """Has it on record which logs are complete: once their agents know, they forget them.

        Raises:
            NotCommitted: it is not on record.
            Overloaded: likewise.
        """
        complete = [self.controller.ask(e.LogStored(one.id)) for one in stored if one.complete]
        for outcome in await asyncio.gather(*complete, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def close(self) -> None:
        """Takes no more logs."""
        self._log_threads.shutdown(wait=False, cancel_futures=True)


def _jobs_of(effect: fx.SendCommands, jobs: dict[str, Job]) -> list[Job]:
    return [jobs[job_id] for job_id in dict.fromkeys(spec.id.job_id for spec in effect.start)]


async def _read_chunks(
    stream: AsyncIterator[worker_pb2.ShipLogsRequest], queue: asyncio.Queue[Chunk | Exception | None]
) -> None:
    try:
        async for request in stream:
            chunk = request.chunk
            attempt_id = wire.attempt_id_from_proto(chunk.id)
            await queue.put(Chunk(attempt_id, chunk.offset, chunk.data, chunk.last, chunk.dropped_before))
    except ValueError as error:
        await queue.put(error)
    await queue.put(None)


async def _end_for(reason: Reason | None, context: Context) -> None:
    """Ends a stream if there is a reason to."""
    if reason is not None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{reason.code}: {reason.message}")


async def _sort(chunks: list[Chunk], guard: PlaceGuard, context: Context) -> tuple[list[Chunk], list[Chunk]]:
    """What is to be stored, and what is of attempts that nobody knows; ends the stream for those of others."""
    owners = [await guard.owns(chunk.id) for chunk in chunks]
    if False in owners:
        why = f"{attempt_words(chunks[owners.index(False)].id)} ran elsewhere"
        await _end_for(Reason("other_place", why), context)
    pairs = list(zip(chunks, owners, strict=True))
    return [c for c, owned in pairs if owned], [c for c, owned in pairs if owned is None]


async def _drain(queue: asyncio.Queue[Chunk | Exception | None], context: Context) -> list[Chunk] | None:
    """All chunks that wait, at least one; None at the end of the stream."""
    items = [await queue.get()]
    while not queue.empty():
        items.append(queue.get_nowait())
    chunks = [item for item in items if isinstance(item, Chunk)]
    for item in items:
        if isinstance(item, Exception):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(item))
    if not chunks:
        return None
    if None in items:
        queue.put_nowait(None)
    return chunks
