"""The ControllerService: each request becomes an event or a look at the view.

Handlers never touch the world. A write waits until its outcome is durable.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio

from iris_controller import __version__
from iris_controller.api.follow import Follower
from iris_controller.api.watch import JobWatch
from iris_controller.codec import views, wire
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.entities import Job, Settings
from iris_controller.core.explain import no_such_job
from iris_controller.core.states import JobState, WorkerState
from iris_controller.core.values import Reason, TaskId
from iris_controller.shell.certificates import CertificateDesk, NotIssued
from iris_controller.shell.clock import now
from iris_controller.shell.controller import Controller, NotCommitted, Overloaded
from iris_controller.shell.hub import EVENTS
from iris_controller.shell.logs import LogStore
from iris_controller.shell.peers import OPERATOR, USER, Context, peer_of
from iris_proto.v1 import config_pb2, controller_pb2, controller_pb2_grpc

T = TypeVar("T")

PAGE_DEFAULT = 100
PAGE_MOST = 1_000
REQUEST_ID_MOST = 64
# Without vowels and look-alikes, so that ids spell nothing and read well.
ID_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
ID_LENGTH = 10

_STATUS_OF = {
    fx.RefusalKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    fx.RefusalKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    fx.RefusalKind.NOT_NOW: grpc.StatusCode.FAILED_PRECONDITION,
}

_ROLES = {
    controller_pb2.CERTIFICATE_ROLE_UNSPECIFIED: None,
    controller_pb2.CERTIFICATE_ROLE_OPERATOR: OPERATOR,
    controller_pb2.CERTIFICATE_ROLE_USER: USER,
}


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What does not change while this controller runs."""

    name: str
    cluster_id: str
    config: config_pb2.IrisClusterConfig
    settings: Settings
    started_ms: int


class ControllerService(controller_pb2_grpc.ControllerServiceServicer):
    """See controller.proto."""

    def __init__(
        self,
        facts: ClusterFacts,
        controller: Controller,
        logs: LogStore,
        platform_troubles: Callable[[], Sequence[str]],
        desk: CertificateDesk | None = None,
    ) -> None:
        """`desk` issues certificates, where the cluster has any."""
        self._desk = desk
        self._facts = facts
        self._controller = controller
        self._logs = logs
        self._platform_troubles = platform_troubles

    # -- jobs ------------------------------------------------------------

    async def SubmitJob(
        self, request: controller_pb2.SubmitJobRequest, context: Context
    ) -> controller_pb2.SubmitJobResponse:
        """Accepts a job, once for each `request_id`."""
        if not 0 < len(request.request_id) <= REQUEST_ID_MOST:
            words = f"request_id: expected 1 to {REQUEST_ID_MOST} characters"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)
        try:
            spec = wire.job_spec_from_proto(request.spec)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        answer = await self._ask(e.JobSubmitted(request.request_id, _new_job_id(), spec), context)
        assert isinstance(answer, fx.JobAnswer)
        view = self._controller.view
        return controller_pb2.SubmitJobResponse(job=views.job(view, view.jobs[answer.job_id]))

    async def GetJob(
        self, request: controller_pb2.GetJobRequest, context: Context
    ) -> controller_pb2.GetJobResponse:
        """One job."""
        job = await self._job(request.job_id, context)
        return controller_pb2.GetJobResponse(job=views.job(self._controller.view, job))

    async def ListJobs(
        self, request: controller_pb2.ListJobsRequest, context: Context
    ) -> controller_pb2.ListJobsResponse:
        """Newest first."""
        view = self._controller.view
        jobs = [
            job
            for job in reversed(view.jobs.values())
            if not (request.active_only and view.statuses[job.job_id].state.is_terminal)
        ]
        page, token = await _page(jobs, request.page_size, request.page_token, context)
        return controller_pb2.ListJobsResponse(jobs=[views.job(view, j) for j in page], next_page_token=token)

    async def StopJob(
        self, request: controller_pb2.StopJobRequest, context: Context
    ) -> controller_pb2.StopJobResponse:
        """Ends a job; again: the same answer."""
        await self._ask(e.JobStopRequested(request.job_id), context)
        view = self._controller.view
        return controller_pb2.StopJobResponse(job=views.job(view, view.jobs[request.job_id]))

    async def ListTasks(
        self, request: controller_pb2.ListTasksRequest, context: Context
    ) -> controller_pb2.ListTasksResponse:
        """By index."""
        job = await self._job(request.job_id, context)
        view = await self._controller.view_with(job.job_id)
        indices = view.task_indices(job)
        page, token = await _page(indices, request.page_size, request.page_token, context)
        tasks = [views.task(view, view.task(TaskId(job.job_id, index))) for index in page]
        return controller_pb2.ListTasksResponse(tasks=tasks, next_page_token=token)

    async def WatchJob(
        self, request: controller_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[controller_pb2.WatchJobResponse]:
        """The job now, then at every change."""
        job = await self._job(request.job_id, context)
        watch = JobWatch(job, PAGE_MOST)
        with self._controller.hub.subscribe(job.job_id) as news:
            while True:
                news.clear()
                view = await self._controller.view_with(job.job_id)
                response = watch.news(view)
                # Before the yield: the view goes on while the response is being sent.
                ended = view.statuses[job.job_id].state.is_terminal
                if response is not None:
                    yield response
                if ended:
                    return
                await news.wait()
                # A large job changes all the time; looking costs with its size.
                await asyncio.sleep(watch.pause_s)

    async def StreamLogs(
        self, request: controller_pb2.StreamLogsRequest, context: Context
    ) -> AsyncIterator[controller_pb2.StreamLogsResponse]:
        """Log bytes of a job's tasks."""
        job = await self._job(request.job_id, context)
        if request.HasField("task_index") and not 0 <= request.task_index < job.spec.replicas:
            words = f"job {job.job_id} has tasks 0 to {job.spec.replicas - 1}, no task {request.task_index}"
            await context.abort(grpc.StatusCode.NOT_FOUND, words)
        try:
            follower = Follower(self._controller, self._logs, request)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        async for response in follower.stream(job):
            yield response

    # -- cluster ---------------------------------------------------------

    async def GetClusterStatus(
        self, request: controller_pb2.GetClusterStatusRequest, context: Context
    ) -> controller_pb2.GetClusterStatusResponse:
        """The cluster at a glance."""
        view, facts = self._controller.view, self._facts
        stopping = view.cluster.stopping is not None
        phase = controller_pb2.CLUSTER_PHASE_STOPPING if stopping else controller_pb2.CLUSTER_PHASE_RUNNING
        return controller_pb2.GetClusterStatusResponse(
            name=facts.name,
            cluster_id=facts.cluster_id,
            version=__version__,
            epoch=view.epoch,
            phase=phase,
            started_at=views.timestamp(facts.started_ms),
            config=facts.config,
            jobs_pending=view.job_counts[JobState.PENDING],
            jobs_running=view.job_counts[JobState.RUNNING],
            slices=sum(1 for v in view.slices.values() if not isinstance(v.state, s.SliceGone)),
            workers_healthy=sum(1 for w in view.workers.values() if w.state is WorkerState.HEALTHY),
            problems=self._problems(),
            paused_zones=view.cluster.paused_zones,
        )

    def _problems(self) -> list[str]:
        view = self._controller.view
        troubled = [
            f"scale group {name}: {reason.message}"
            for name, (availability, reason) in view.findings.availability.items()
            if availability in ("BACKOFF", "QUOTA_EXCEEDED")
        ]
        suspects = [
            f"worker {w.place.slice_name}/{w.place.worker_index}: {w.reason.message}"
            for w in view.workers.values()
            if w.state is WorkerState.SUSPECT
        ]
        store = [self._controller.store_trouble] if self._controller.store_trouble else []
        return [*store, *view.findings.notices, *self._platform_troubles(), *troubled, *suspects]

    async def ListScaleGroups(
        self, request: controller_pb2.ListScaleGroupsRequest, context: Context
    ) -> controller_pb2.ListScaleGroupsResponse:
        """By name."""
        view = self._controller.view
        groups = [views.scale_group(view, policy) for policy in self._facts.settings.groups.values()]
        return controller_pb2.ListScaleGroupsResponse(scale_groups=groups)

    async def ListSlices(
        self, request: controller_pb2.ListSlicesRequest, context: Context
    ) -> controller_pb2.ListSlicesResponse:
        """Oldest first."""
        view = self._controller.view
        rows = [v for v in view.slices.values() if request.all or not isinstance(v.state, s.SliceGone)]
        page, token = await _page(rows, request.page_size, request.page_token, context)
        slices = [views.slice_(view, row) for row in page]
        return controller_pb2.ListSlicesResponse(slices=slices, next_page_token=token)

    async def ListWorkers(
        self, request: controller_pb2.ListWorkersRequest, context: Context
    ) -> controller_pb2.ListWorkersResponse:
        """Workers of slices that are not gone, by slice and index."""
        view = self._controller.view
        rows = [w for w in view.workers.values() if w.state not in (WorkerState.LOST, WorkerState.LEFT)]
        page, token = await _page(rows, request.page_size, request.page_token, context)
        moment = now()
        workers = [views.worker(view, row, moment) for row in page]
        return controller_pb2.ListWorkersResponse(workers=workers, next_page_token=token)

    async def ListEvents(
        self, request: controller_pb2.ListEventsRequest, context: Context
    ) -> controller_pb2.ListEventsResponse:
        """Oldest first."""
        size = await _page_size(request.page_size, context)
        records = await self._controller.history.records(request.after_event_id, size + 1)
        events = [views.event(record) for record in records[:size]]
        return controller_pb2.ListEventsResponse(events=events, more=len(records) > size)

    async def WatchEvents(
        self, request: controller_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[controller_pb2.WatchEventsResponse]:
        """What is kept, then what happens."""
        after = request.after_event_id
        with self._controller.hub.subscribe(EVENTS) as news:
            while True:
                news.clear()
                records = await self._controller.history.records(after, PAGE_MOST)
                if records:
                    after = records[-1].event_id
                    yield controller_pb2.WatchEventsResponse(events=[views.event(r) for r in records])
                if len(records) < PAGE_MOST:
                    await news.wait()

    async def BeginShutdown(
        self, request: controller_pb2.BeginShutdownRequest, context: Context
    ) -> controller_pb2.BeginShutdownResponse:
        """Gives back every slice, or those of some zones; unfinished jobs stay."""
        zones = tuple(dict.fromkeys(request.zones))
        known = {zone for group in self._facts.settings.groups.values() for zone in group.zones}
        if strange := sorted(set(zones) - known - {v.zone for v in self._controller.view.slices.values()}):
            words = f"zones: there is no zone {strange[0]}; there are {', '.join(sorted(known))}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)
        why = Reason("cluster_stop", request.reason or "the cluster is being stopped")
        await self._ask(e.ShutdownBegun(why, zones), context)
        view = self._controller.view
        present = [
            v
            for v in view.slices.values()
            if not isinstance(v.state, s.SliceGone) and (not zones or v.zone in zones)
        ]
        kept = sum(count for state, count in view.job_counts.items() if not state.is_terminal)
        return controller_pb2.BeginShutdownResponse(
            slices=[views.slice_(view, row) for row in present], jobs_kept=kept
        )

    async def IssueCertificate(
        self, request: controller_pb2.IssueCertificateRequest, context: Context
    ) -> controller_pb2.IssueCertificateResponse:
        """A person's certificate, for a week."""
        if self._desk is None:
            words = "this cluster never leaves its machine, and has no certificates"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, words)
        if request.role not in _ROLES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "role: expected operator or user")
        peer = peer_of(context, self._facts.cluster_id)
        try:
            issued = self._desk.issue(peer, request.csr, _ROLES[request.role], request.name)
        except NotIssued as error:
            code = grpc.StatusCode.INVALID_ARGUMENT if error.allowed else grpc.StatusCode.PERMISSION_DENIED
            await context.abort(code, str(error))
        return controller_pb2.IssueCertificateResponse(
            certificate_chain=issued.chain,
            ca=issued.ca,
            cluster_id=issued.cluster_id,
            expires_at=views.timestamp(issued.expires_ms),
        )

    # -- shared ----------------------------------------------------------

    async def _ask(self, event: e.Event, context: Context) -> fx.Answer:
        try:
            answer = await self._controller.ask(event)
        except Overloaded as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the controller is busy: {error}")
        except NotCommitted as error:
            words = f"the controller could not write its store ({error}); nothing was changed"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, words)
        if isinstance(answer, fx.Refusal):
            code = "" if answer.kind is fx.RefusalKind.NOT_FOUND else f"{answer.reason.code}: "
            await context.abort(_STATUS_OF[answer.kind], code + answer.reason.message)
        return answer

    async def _job(self, job_id: str, context: Context) -> Job:
        job = self._controller.view.jobs.get(job_id)
        if job is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, no_such_job(job_id))
        return job


def _new_job_id() -> str:
    number, letters = secrets.randbelow(len(ID_ALPHABET) ** (ID_LENGTH - 1)), []
    for _ in range(ID_LENGTH - 1):
        number, at = divmod(number, len(ID_ALPHABET))
        letters.append(ID_ALPHABET[at])
    return "j" + "".join(letters)


async def _page_size(asked: int, context: Context) -> int:
    if not 0 <= asked <= PAGE_MOST:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"page_size: expected 0 to {PAGE_MOST:,}")
    return asked or PAGE_DEFAULT


async def _page(rows: Sequence[T], asked: int, token: str, context: Context) -> tuple[Sequence[T], str]:
    """One page of rows; the token is where the next one begins."""
    size = await _page_size(asked, context)
    if token and not token.isdecimal():
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "page_token: not one from here")
    start = int(token or 0)
    page = rows[start : start + size]
    return page, str(start + size) if start + size < len(rows) else ""
