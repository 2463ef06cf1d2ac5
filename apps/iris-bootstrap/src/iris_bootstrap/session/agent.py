"""Carries out what the ledger wants: between the keeper's pipe, the controller's streams and the disk.

Takes no decisions. One connection at a time; whatever goes wrong with one ends
it, and the next begins with everything we know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.endpoint import endpoint_file
from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.log import logger
from iris_bootstrap.session.concurrent import run_until_first
from iris_bootstrap.session.connection import Connection, HungUp
from iris_bootstrap.session.dial import NoController, Redial, Target, TlsTarget, find_target
from iris_bootstrap.session.disk import Retired, TaskFiles, save_epoch
from iris_bootstrap.session.guard import KeeperGone, watch_keeper
from iris_bootstrap.session.ledger import Ledger
from iris_bootstrap.session.notices import hear_notices
from iris_bootstrap.session.outputs import (
    Disconnect,
    Forget,
    Output,
    PingKeeper,
    ReleaseProcess,
    SaveCommit,
    SaveEpoch,
    SendToController,
    SetLease,
    StartProcess,
    StopProcess,
    TellTasks,
)
from iris_bootstrap.session.pipe import KeeperPipe
from iris_bootstrap.session.shipper import Shipper
from iris_bootstrap.session.tpu import multislice_environment, tpu_environment
from iris_bootstrap.session.translate import job_frame, read_report, release_frame, start_frame
from iris_platform.env_probe import Environment
from iris_platform.metadata import MetadataServer
from iris_proto.v1.job_pb2 import Place
from iris_proto.v1.worker_pb2 import LogHello
from iris_proto.v1.worker_pb2_grpc import WorkerServiceStub

# A commit number may be this old on disk.
_SAVE_COMMIT_S = 1.0
# For the last reports and logs, when the keeper leaves.
_LEAVE_S = 2.0
# The same trouble again is not worth a line before so much time has passed.
_SAME_TROUBLE_S = 60.0
# Empty directories to keep for attempts to come.
_MOST_SPARES = 128
_LOG_PAUSES_S = (0.1, 0.5, 2.0, 5.0)


class Agent:
    """A session from the keeper's `State` to its end."""

    def __init__(
        self, host_dir: Path, place: Environment, boot_id: str, ledger: Ledger, pipe: KeeperPipe
    ) -> None:
        self._host_dir = host_dir
        self._place = place
        self._boot_id = boot_id
        self._ledger = ledger
        self._pipe = pipe
        self._log = logger("session")
        self._files = TaskFiles(host_dir)
        self._shipper = Shipper(self._files, self._on_log_durable, lambda: ledger.log_max_bytes)
        self._connection: Connection | None = None
        self._address = ""
        self._jobs_told: set[str] = set()
        # Empty directories that the keeper has left, as far as we know.
        self._spares = 0
        self._commit = 0
        self._save_timer: asyncio.TimerHandle | None = None
        self._removals: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Event()
        self._progress = asyncio.Event()
        self._trouble = ("", 0.0)

    async def run(self) -> None:
        """Serve until the keeper says goodbye.

        Raises:
            KeeperGone: it went without, or has been silent for too long.
        """
        for known in self._ledger.attempts.values():
            self._shipper.take_up(known.report)
        await run_until_first(
            self._listen_to_keeper(),
            watch_keeper(self._pipe, lambda: self._ledger.timings.suspect_after_s),
            self._stay_connected(),
            self._shipper.watch_logs(),
            self._leave_when_told(),
            self._hear_notices(),
        )

    # The keeper.

    async def _listen_to_keeper(self) -> None:
        while (messages := await self._pipe.read()) is not None:
            for message in messages:
                match message:
                    case frames.Reports(reports):
                        self._on_reports(reports)
                    case frames.Pong(sequence):
                        self._perform(self._ledger.on_pong(sequence, boot_s()))
                    case frames.Bye(reason):
                        self._log("keeper_leaves", why=reason)
                        self._leaving.set()
                    case _:
                        raise frames.FrameError(f"{type(message).__name__} after State")
        if not self._leaving.is_set():
            raise KeeperGone("the pipe has ended")

    def _on_reports(self, reports: Sequence[frames.Report]) -> None:
        read = [read_report(report, self._place.address) for report in reports]
        self._ledger.on_reports(read)
        for report in read:
            self._shipper.on_report(report)
        if self._connection is not None:
            self._connection.wake()

    async def _hear_notices(self) -> None:
        if self._place.tpu is None:
            await asyncio.Event().wait()
        async for heard in hear_notices(MetadataServer()):
            self._log("noticed", kind=heard.kind, what=heard.message)
            where = f"{self._place.slice_name}/{self._place.worker_index}"
            words = f"{where}: {heard.message}"
            self._perform(self._ledger.on_noticed(heard.kind, words, heard.left_s, boot_s()))

    async def _leave_when_told(self) -> None:
        """Give the controller a moment to take the last reports and logs."""
        await self._leaving.wait()
        deadline_s = time.monotonic() + _LEAVE_S
        while self._ledger.attempts and self._ledger.welcomed:
            left_s = deadline_s - time.monotonic()
            self._progress.clear()
            try:
                await asyncio.wait_for(self._progress.wait(), left_s)
            except asyncio.TimeoutError:
                self._log("left_undelivered", attempts=len(self._ledger.attempts))
                return

    # The controller.

    async def _stay_connected(self) -> None:
        redial = Redial(self._place.controller_file, endpoint_file(self._host_dir))
        while True:
            try:
                await self._connect_once()
            except (NoController, HungUp, asyncio.InvalidStateError) as error:
                self._note_trouble(str(error))
            except asyncio.TimeoutError:
                self._note_trouble("the controller did not answer in time")
            except grpc.aio.AioRpcError as error:
                self._note_trouble(f"{error.code().name}: {error.details()}")
            finally:
                was_welcomed = self._ledger.welcomed
                self._connection = None
                self._ledger.on_disconnected()
                self._progress.set()
            if was_welcomed:
                redial.on_success()
            await redial.wait()

    async def _connect_once(self) -> None:
        target = find_target(self._host_dir, self._place.controller_file)
        self._address = target.address
        async with target.open_channel(keepalive=True) as channel:
            call = WorkerServiceStub(channel).Session(metadata=target.metadata)
            connection = Connection(call, self._ledger, self._perform, self._pipe.drain)
            self._connection = connection
            beside = [self._ship_logs(connection, target)]
            if isinstance(target, TlsTarget):
                # Here, so that agents of a cluster on one machine load no cryptography.
                from iris_bootstrap.session.renewal import Renewal

                beside.append(Renewal(self._host_dir, connection, self._log).keep())
            await run_until_first(connection.converse(), *beside)

    async def _ship_logs(self, connection: Connection, target: Target) -> None:
        """Keep a log stream up for as long as the connection lasts."""
        await connection.welcomed.wait()
        self._log("connected", address=target.address, epoch=self._ledger.highest_epoch)
        self._trouble = ("", 0.0)
        place = Place(slice_name=self._place.slice_name, worker_index=self._place.worker_index)
        hello = LogHello(cluster_id=self._place.cluster_id, place=place, boot_id=self._boot_id)
        failures = 0
        while True:
            await self._shipper.wait_for_logs()
            began_s = time.monotonic()
            why = "it ended"
            async with target.open_channel(keepalive=False) as channel:
                try:
                    call = WorkerServiceStub(channel).ShipLogs(metadata=target.metadata)
                    await self._shipper.ship(call, hello)
                except grpc.aio.AioRpcError as error:
                    why = f"{error.code().name}: {error.details()}"
                except (asyncio.TimeoutError, asyncio.InvalidStateError):
                    why = "it stood still"
            failures = 0 if time.monotonic() - began_s > _SAME_TROUBLE_S else failures + 1
            pause_s = _LOG_PAUSES_S[min(failures, len(_LOG_PAUSES_S) - 1)]
            self._log("log_stream_lost", why=why, pause_s=pause_s)
            await asyncio.sleep(pause_s)

    def _note_trouble(self, trouble: str) -> None:
        last, since_s = self._trouble
        now_s = time.monotonic()
        if trouble != last or now_s - since_s >= _SAME_TROUBLE_S:
            self._trouble = (trouble, now_s)
            self._log("not_connected", why=trouble)

    def _on_log_durable(self, key: AttemptKey) -> None:
        self._perform(self._ledger.on_log_durable(key))

    # What the ledger wants.

    def _perform(self, outputs: list[Output]) -> None:
        orders: list[frames.FromSession] = []
        for output in outputs:
            match output:
                case SendToController(message):
                    if self._connection is not None:
                        self._connection.send(message)
                case Disconnect(reason):
                    if self._connection is not None:
                        self._connection.hang_up(reason)
                case SaveEpoch(epoch, commit):
                    self._commit = commit
                    save_epoch(self._host_dir, epoch, commit)
                case SaveCommit(commit):
                    self._commit = commit
                    self._save_soon()
                case _:
                    orders += self._orders(output)
        if orders:
            self._pipe.send(orders)

    def _orders(
        self, output: StartProcess | ReleaseProcess | StopProcess | TellTasks | SetLease | Forget | PingKeeper
    ) -> list[frames.FromSession]:
        match output:
            case StartProcess(job=job):
                self._spares = max(self._spares - 1, 0)
                start = start_frame(output, self._address)
                if job.job_id in self._jobs_told:
                    return [start]
                self._jobs_told.add(job.job_id)
                return [job_frame(output, self._place.cluster, tpu_environment(self._place)), start]
            case ReleaseProcess():
                return [release_frame(output, multislice_environment(self._place, output))]
            case StopProcess(key, reason):
                return [frames.Stop(str(key), reason)]
            case TellTasks(kind, message, deadline_s):
                return [frames.Notice(kind, message, deadline_s)]
            case SetLease(deadline_s, lease_s, orphan_timeout_s, suspect_after_s):
                return [frames.Lease(deadline_s, lease_s, orphan_timeout_s, suspect_after_s)]
            case PingKeeper(sequence):
                return [frames.Ping(sequence)]
            case Forget(keys, jobs):
                return [self._forget(keys, jobs)]

    def _forget(self, keys: tuple[AttemptKey, ...], jobs: tuple[str, ...]) -> frames.Forget:
        """Remove the attempts' files; the keeper forgets those at once that had next to none."""
        self._jobs_told.difference_update(jobs)
        self._progress.set()
        done = []
        spares = []
        for key in keys:
            self._shipper.drop(key)
            retired = self._files.retire(key, spare=self._spares < _MOST_SPARES)
            if retired is Retired.NOT_YET:
                task = asyncio.ensure_future(self._remove(key))
                self._removals.add(task)
                task.add_done_callback(self._removals.discard)
                continue
            done.append(str(key))
            if retired is Retired.SPARE:
                spares.append(key.directory)
        self._spares += len(spares)
        return frames.Forget(done, list(jobs), spares)

    async def _remove(self, key: AttemptKey) -> None:
        """Remove what a task left, which may be a lot, beside everything else."""
        try:
            await asyncio.to_thread(self._files.remove_tree, key)
        except OSError as error:
            # It stays until the host's directory goes.
            self._log("not_removed", attempt=str(key), error=str(error))
        self._pipe.send([frames.Forget([str(key)], [], [])])

    def _save_soon(self) -> None:
        if self._save_timer is None:
            loop = asyncio.get_running_loop()
            self._save_timer = loop.call_later(_SAVE_COMMIT_S, self._save_commit)

    def _save_commit(self) -> None:
        self._save_timer = None
        try:
            save_epoch(self._host_dir, self._ledger.highest_epoch, self._commit)
        except OSError as error:
            # The epoch is there already, and the next commit number does as well.
            self._log("commit_not_saved", error=str(error))
