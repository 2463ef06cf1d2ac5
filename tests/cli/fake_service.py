"""A ControllerService with behaviour but without machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NoReturn

import grpc

from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1.config_pb2 import IrisClusterConfig
from iris_proto.v1.controller_pb2_grpc import ControllerServiceServicer
from iris_proto.v1.job_pb2 import JobSpec
from tests.cli.fake_jobs import PROGRAMS, FakeJob, Log

# Small, so that lists have several pages and logs several messages.
LARGEST_PAGE = 3
CHUNK = 1000
LOOK_S = 0.02


class FakeService(ControllerServiceServicer):
    """What the fake controller remembers, across its restarts."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.jobs: dict[str, FakeJob] = {}
        self.requests: dict[str, str] = {}
        self.submits = 0
        # How many submissions are carried out but not answered.
        self.lost_answers = 0
        self.slices: list[pb.Slice] = []
        self.workers: list[pb.Worker] = []
        self.groups: list[pb.ScaleGroup] = []
        self.events: list[pb.Event] = []
        self.config = IrisClusterConfig(name="demo")
        self.phase = pb.ClusterPhase.CLUSTER_PHASE_RUNNING
        # Ends every stream: "break" as a lost connection, "end" as if all was said.
        self.streams_end: str | None = None
        self.streams_opened = 0
        self.cluster_id = "abcdefghij"

    def add_job(self, *command: str, replicas: int = 1) -> FakeJob:
        """A job that is there already."""
        with self.changed:
            return self._new_job(JobSpec(name=command[0], command=command, replicas=replicas))

    def wait_for_job(self) -> FakeJob:
        """The first job, once it was submitted."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(self.jobs), 20)
            return next(iter(self.jobs.values()))

    def wait_for_streams(self, count: int) -> None:
        """Until so many streams were opened in all."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.streams_opened >= count, 20)

    def SubmitJob(self, request: pb.SubmitJobRequest, context: grpc.ServicerContext) -> pb.SubmitJobResponse:
        with self.changed:
            self.submits += 1
            job_id = self.requests.get(request.request_id)
            if job_id is None:
                job = self._new_job(request.spec)
                self.requests[request.request_id] = job.job.job_id
                PROGRAMS[request.spec.command[0]](job)
            else:
                job = self.jobs[job_id]
            if self.lost_answers:
                self.lost_answers -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
            return pb.SubmitJobResponse(job=job.job)

    def GetJob(self, request: pb.GetJobRequest, context: grpc.ServicerContext) -> pb.GetJobResponse:
        with self.changed:
            return pb.GetJobResponse(job=self._job(request.job_id, context).job)

    def ListJobs(self, request: pb.ListJobsRequest, context: grpc.ServicerContext) -> pb.ListJobsResponse:
        with self.changed:
            jobs = [job.job for job in reversed(self.jobs.values())]
        first, following = _page(request.page_token, len(jobs))
        return pb.ListJobsResponse(jobs=jobs[first : first + LARGEST_PAGE], next_page_token=following)

    def StopJob(self, request: pb.StopJobRequest, context: grpc.ServicerContext) -> pb.StopJobResponse:
        with self.changed:
            job = self._job(request.job_id, context)
            job.stop()
            return pb.StopJobResponse(job=job.job)

    def ListTasks(self, request: pb.ListTasksRequest, context: grpc.ServicerContext) -> pb.ListTasksResponse:
        with self.changed:
            tasks = self._job(request.job_id, context).tasks
        first, following = _page(request.page_token, len(tasks))
        return pb.ListTasksResponse(tasks=tasks[first : first + LARGEST_PAGE], next_page_token=following)

    def WatchJob(
        self, request: pb.WatchJobRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchJobResponse]:
        job = self._job(request.job_id, context)
        self._opened()
        version = -1
        while True:
            with self.changed:
                if job.version == version:
                    self.changed.wait(LOOK_S)
                fresh = job.version != version
                version = job.version
                response = pb.WatchJobResponse(job=job.job, tasks=job.tasks)
                over = job.over
            if fresh:
                yield response
            if over or self._cut(context):
                return

    def StreamLogs(
        self, request: pb.StreamLogsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.StreamLogsResponse]:
        job = self._job(request.job_id, context)
        self._opened()
        offsets = {_key(entry): entry.offset for entry in getattr(request, "from")}
        told: set[tuple[int, int]] = set()
        while True:
            with self.changed:
                wanted = [
                    log
                    for log in job.logs
                    if not request.HasField("task_index") or log.id.task_index == request.task_index
                ]
                messages = [message for log in wanted for message in _new_of(log, offsets, told, request)]
                finished = job.over or not request.follow
                if not messages and not finished:
                    self.changed.wait(LOOK_S)
            yield from messages
            if self._cut(context):
                return
            if finished and not messages:
                yield pb.StreamLogsResponse(finished=pb.LogsFinished(state=job.job.state))
                return

    def GetClusterStatus(
        self, request: pb.GetClusterStatusRequest, context: grpc.ServicerContext
    ) -> pb.GetClusterStatusResponse:
        response = pb.GetClusterStatusResponse(
            name="demo",
            cluster_id=self.cluster_id,
            version="0.1.0",
            epoch=1_700_000_000_000,
            phase=self.phase,
            config=self.config,
            slices=len(self.slices),
            problems=["the moon is full"],
        )
        response.started_at.FromSeconds(1_700_000_000)
        return response

    def ListScaleGroups(
        self, request: pb.ListScaleGroupsRequest, context: grpc.ServicerContext
    ) -> pb.ListScaleGroupsResponse:
        return pb.ListScaleGroupsResponse(scale_groups=self.groups)

    def ListSlices(
        self, request: pb.ListSlicesRequest, context: grpc.ServicerContext
    ) -> pb.ListSlicesResponse:
        first, following = _page(request.page_token, len(self.slices))
        page = self.slices[first : first + LARGEST_PAGE]
        return pb.ListSlicesResponse(slices=page, next_page_token=following)

    def ListWorkers(
        self, request: pb.ListWorkersRequest, context: grpc.ServicerContext
    ) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse(workers=self.workers)

    def ListEvents(
        self, request: pb.ListEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListEventsResponse:
        with self.changed:
            later = [event for event in self.events if event.event_id > request.after_event_id]
        return pb.ListEventsResponse(events=later[:LARGEST_PAGE], more=len(later) > LARGEST_PAGE)

    def WatchEvents(
        self, request: pb.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchEventsResponse]:
        self._opened()
        seen = request.after_event_id
        while not self._cut(context):
            with self.changed:
                later = [event for event in self.events if event.event_id > seen]
                if not later:
                    self.changed.wait(LOOK_S)
            if later:
                seen = later[-1].event_id
                yield pb.WatchEventsResponse(events=later)

    def BeginShutdown(
        self, request: pb.BeginShutdownRequest, context: grpc.ServicerContext
    ) -> pb.BeginShutdownResponse:
        with self.changed:
            self.phase = pb.ClusterPhase.CLUSTER_PHASE_STOPPING
            going, self.slices = self.slices, []
        return pb.BeginShutdownResponse(slices=going)

    def IssueCertificate(
        self, request: pb.IssueCertificateRequest, context: grpc.ServicerContext
    ) -> pb.IssueCertificateResponse:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this cluster has no certificates")

    def add_event(self, what: str, kind: str = "slice", subject: str = "s-1") -> None:
        """Something happened."""
        with self.changed:
            event = pb.Event(
                event_id=len(self.events) + 1, kind=kind, subject=subject, what=what, reason="demand"
            )
            event.at.FromSeconds(1_700_000_000)
            self.events.append(event)
            self.changed.notify_all()

    def _new_job(self, spec: JobSpec) -> FakeJob:
        job = FakeJob(f"job-{len(self.jobs) + 1}", spec, self.changed)
        self.jobs[job.job.job_id] = job
        self.changed.notify_all()
        return job

    def _job(self, job_id: str, context: grpc.ServicerContext) -> FakeJob:
        if job_id not in self.jobs:
            _abort(context, grpc.StatusCode.NOT_FOUND, f"there is no job {job_id}")
        return self.jobs[job_id]

    def _opened(self) -> None:
        with self.changed:
            self.streams_opened += 1
            self.changed.notify_all()

    def _cut(self, context: grpc.ServicerContext) -> bool:
        if self.streams_end == "break":
            _abort(context, grpc.StatusCode.UNAVAILABLE, "going away")
        return self.streams_end == "end" or not context.is_active()


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, details: str) -> NoReturn:
    context.abort(code, details)
    raise AssertionError("abort raises")


def _page(token: str, rows: int) -> tuple[int, str]:
    """Where the page of a token begins, and the token of the next one."""
    first = int(token or 0)
    following = first + LARGEST_PAGE
    return first, str(following) if following < rows else ""


def _key(entry: pb.LogPosition | Log) -> tuple[int, int]:
    return entry.id.task_index, entry.id.number


def _new_of(
    log: Log, offsets: dict[tuple[int, int], int], told: set[tuple[int, int]], request: pb.StreamLogsRequest
) -> Iterator[pb.StreamLogsResponse]:
    """What one attempt's log has for this reader; moves the reader on."""
    key = _key(log)
    begin = log.dropped_before
    if request.HasField("tail_lines") and key not in offsets:
        lines = bytes(log.data).splitlines(keepends=True)
        begin = len(log.data) - sum(map(len, lines[len(lines) - request.tail_lines :]))
    offset = offsets.get(key, begin)
    while offset < len(log.data):
        data = bytes(log.data[offset : offset + CHUNK])
        yield pb.StreamLogsResponse(
            data=pb.LogData(id=log.id, offset=offset, data=data, dropped_before=log.dropped_before)
        )
        offset += len(data)
    offsets[key] = offset
    if log.ended and key not in told:
        told.add(key)
        yield pb.StreamLogsResponse(end=pb.LogEnd(id=log.id, length=len(log.data), state=log.state))
