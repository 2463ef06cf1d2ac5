"""A small real gRPC server that plays the controller, in a thread of the test.

It welcomes whoever has the token, acknowledges all it is told and keeps every
log; a test changes that where it matters, and waits for what it wants to see.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.book import id_of, key_of
from iris_platform import processes
from iris_platform.controller_file import ControllerRecord, write_controller_file
from iris_platform.pki.authority import Authority
from iris_platform.pki.names import WorkerPlace
from iris_proto.v1 import job_pb2, worker_pb2
from iris_proto.v1.worker_pb2 import AgentMessage, ControllerMessage, ShipLogsResponse
from iris_proto.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from tests.bootstrap.support import PATIENCE_S

TOKEN = "secret-of-this-test"


class PlayedController:
    """Everything that agents said, and what to say to them. Safe to use from the test's thread."""

    def __init__(self, file: Path, epoch: int = 7, authority: Authority | None = None) -> None:
        """With an `authority` it listens over TLS, at `address`, and renews certificates of workers."""
        self.authority = authority
        self.address = ""
        self.renewals = 0
        self.file = file
        self.epoch = epoch
        self.commit = 1
        self.timings = worker_pb2.Timings(
            beat_interval=Duration(nanos=100_000_000),
            task_lease=Duration(seconds=60),
            stop_grace=Duration(seconds=2),
            orphan_timeout=Duration(seconds=60),
            suspect_after=Duration(seconds=5),
        )
        self.acknowledges_beats = True
        self.acknowledges_reports = True
        self.log_max_bytes = 0
        self.stop_at_welcome: set[AttemptKey] = set()
        self.hellos: list[worker_pb2.Hello] = []
        self.log_hellos: list[worker_pb2.LogHello] = []
        self.beats: list[int] = []
        self.reports: list[worker_pb2.AttemptReport] = []
        self.refused = 0
        self.logs: dict[AttemptKey, bytearray] = {}
        # What never came, by its first byte and the one after.
        self.gaps: dict[AttemptKey, list[tuple[int, int]]] = {}
        self.ended_logs: set[AttemptKey] = set()
        self._changed = threading.Condition()
        self._outboxes: list[asyncio.Queue[ControllerMessage]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # For the test.

    def start(self) -> None:
        """Listen, and say where."""
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(PATIENCE_S)

    def stop(self) -> None:
        """Go, as if killed: streams break, the file stays."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(PATIENCE_S)
            self._loop = None
            self._outboxes.clear()

    def wait_for(self, done: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        with self._changed:
            assert self._changed.wait_for(done, timeout_s), (
                f"not within {timeout_s:g} s: {what}; {self.reports}"
            )

    def command(self, **fields: Any) -> None:
        """Send commands to the agent that is connected."""
        commands = worker_pb2.Commands(epoch=self.epoch, commit=self.commit, **fields)
        self._say(ControllerMessage(commands=commands))

    def run(
        self,
        key: AttemptKey,
        *argv: str,
        env: dict[str, str] | None = None,
        replicas: int = 1,
        gang: bool = False,
        timeout_s: float = 0.0,
    ) -> None:
        spec = job_pb2.JobSpec(command=argv, env=env or {}, replicas=replicas, gang=gang)
        if timeout_s:
            spec.timeout.FromNanoseconds(round(timeout_s * 1e9))
        context = worker_pb2.JobContext(job_id=key.job_id, request_id="r", spec=spec)
        self.command(jobs=[context], start=[worker_pb2.AttemptSpec(id=id_of(key))])

    def stop_attempt(self, key: AttemptKey, reason: str = "job_stopped") -> None:
        self.command(stop=[worker_pb2.StopAttempt(id=id_of(key), reason=reason)])

    def release(self, key: AttemptKey, *addresses: str) -> None:
        self.command(release=[worker_pb2.ReleaseAttempt(id=id_of(key), task_addresses=addresses)])

    def prepared(self, key: AttemptKey) -> str:
        """Wait until a gang's member has its address."""
        self.wait_for(lambda: any(r.address for r in self.reports_of(key)), f"the address of {key}")
        return self.reports_of(key)[-1].address

    def reports_of(self, key: AttemptKey) -> list[worker_pb2.AttemptReport]:
        return [report for report in self.reports if key_of(report.id) == key]

    def ended(self, key: AttemptKey) -> worker_pb2.AttemptReport:
        """Wait for an attempt's last report."""
        live = (
            job_pb2.AttemptState.ATTEMPT_STATE_PREPARING,
            job_pb2.AttemptState.ATTEMPT_STATE_RUNNING,
        )
        self.wait_for(lambda: any(r.state not in live for r in self.reports_of(key)), f"the end of {key}")
        return self.reports_of(key)[-1]

    def running(self, key: AttemptKey) -> None:
        self.wait_for(lambda: bool(self.reports_of(key)), f"the start of {key}")

    def connected(self, times: int = 1) -> worker_pb2.Hello:
        """Wait for the so-manieth Hello."""
        self.wait_for(lambda: len(self.hellos) >= times, f"hello {times}")
        return self.hellos[times - 1]

    def has(self, key: AttemptKey) -> bytes:
        """What has arrived of an attempt's log."""
        return bytes(self.logs.get(key, b""))

    def log(self, key: AttemptKey) -> bytes:
        """Wait for the end of an attempt's log."""
        self.wait_for(lambda: key in self.ended_logs, f"the log of {key}")
        return bytes(self.logs[key])

    # In the server's thread.

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = grpc.aio.server()
        add_WorkerServiceServicer_to_server(_Service(self), server)
        if self.authority is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            pair = self.authority.make_server(time.time())
            certain = grpc.ssl_server_credentials([pair], self.authority.ca_pem, True)
            port = server.add_secure_port("127.0.0.1:0", certain)
        self.address = f"127.0.0.1:{port}"
        await server.start()
        pid = os.getpid()
        record = ControllerRecord(self.address, TOKEN, pid, processes.start_time(pid) or 0)
        write_controller_file(self.file, record)
        started.set()
        await self._stopping.wait()
        await server.stop(None)

    def _say(self, message: ControllerMessage) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._outboxes[-1].put_nowait, message)

    def note(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def open_outbox(self) -> asyncio.Queue[ControllerMessage]:
        self._outboxes.append(asyncio.Queue())
        return self._outboxes[-1]

    def answers(self, message: AgentMessage) -> Iterable[ControllerMessage]:
        fence = {"epoch": self.epoch, "commit": self.commit}
        match message.WhichOneof("message"):
            case "renew":
                yield ControllerMessage(certificate=self._renew(message.renew.csr))
            case "hello":
                self.note(lambda: self.hellos.append(message.hello))
                yield ControllerMessage(welcome=self._welcome(message.hello))
            case "beat":
                self.note(lambda: self.beats.append(message.beat.sequence))
                if self.acknowledges_beats:
                    ack = worker_pb2.BeatAck(sequence=message.beat.sequence, **fence)
                    yield ControllerMessage(beat_ack=ack)
            case "reports":
                self.note(lambda: self.reports.extend(message.reports.reports))
                if self.acknowledges_reports:
                    done = worker_pb2.ReportsAck(sequence=message.reports.sequence, **fence)
                    yield ControllerMessage(reports_ack=done)

    def _renew(self, csr: bytes) -> worker_pb2.RenewedCertificate:
        assert self.authority is not None
        self.note(lambda: setattr(self, "renewals", self.renewals + 1))
        place = self.hellos[-1].place
        subject = WorkerPlace(self.authority.identity.cluster_id, place.slice_name, place.worker_index)
        chain = self.authority.sign_client(csr, subject, time.time())
        return worker_pb2.RenewedCertificate(certificate_chain=chain)

    def _welcome(self, hello: worker_pb2.Hello) -> worker_pb2.Welcome:
        verdicts = []
        for observed in hello.observed:
            stop = key_of(observed.spec.id) in self.stop_at_welcome
            verdict = worker_pb2.VERDICT_STOP if stop else worker_pb2.VERDICT_KEEP
            verdicts.append(
                worker_pb2.AttemptVerdict(id=observed.spec.id, verdict=verdict, reason="superseded")
            )
        return worker_pb2.Welcome(
            protocol_version=1,
            epoch=self.epoch,
            commit=self.commit,
            timings=self.timings,
            verdicts=verdicts,
            log_max_bytes=self.log_max_bytes,
        )

    def take_chunk(self, chunk: worker_pb2.LogChunk) -> ShipLogsResponse:
        key = key_of(chunk.id)
        log = self.logs.setdefault(key, bytearray())
        if chunk.dropped_before >= chunk.offset > len(log):
            self.note(lambda: self.gaps.setdefault(key, []).append((len(log), chunk.offset)))
            self.note(lambda: log.extend(bytes(chunk.offset - len(log))))
        if chunk.offset <= len(log):
            self.note(lambda: log.extend(chunk.data[len(log) - chunk.offset :]))
        if chunk.last and len(log) >= chunk.offset + len(chunk.data):
            self.note(lambda: self.ended_logs.add(key))
        return ShipLogsResponse(id=chunk.id, stored=len(log))


class _Service(WorkerServiceServicer):
    def __init__(self, controller: PlayedController) -> None:
        self._controller = controller

    async def _check(self, context: Any) -> None:
        if self._controller.authority is not None:
            assert context.auth_context()["transport_security_type"] == [b"ssl"]
            assert not [key for key, _ in context.invocation_metadata() if key == "authorization"]
            return
        if ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
            self._controller.refused += 1
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "not the token")

    async def Session(self, request_iterator: Any, context: Any) -> AsyncIterator[ControllerMessage]:
        await self._check(context)
        outbox = self._controller.open_outbox()

        async def listen() -> None:
            async for message in request_iterator:
                for answer in self._controller.answers(message):
                    outbox.put_nowait(answer)

        listener = asyncio.ensure_future(listen())
        try:
            while True:
                yield await outbox.get()
        finally:
            listener.cancel()

    async def ShipLogs(self, request_iterator: Any, context: Any) -> AsyncIterator[ShipLogsResponse]:
        await self._check(context)
        async for request in request_iterator:
            match request.WhichOneof("message"):
                case "hello":
                    self._controller.note(partial(self._controller.log_hellos.append, request.hello))
                case "chunk":
                    yield self._controller.take_chunk(request.chunk)
