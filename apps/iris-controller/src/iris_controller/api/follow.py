"""A job's logs as one stream: what is there, then what comes, until all has been sent.

Reads the view and the log files; knows nothing of agents.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from iris_controller.codec import views, wire
from iris_controller.core import states as s
from iris_controller.core.entities import Attempt, Job
from iris_controller.core.states import ATTEMPT_LIVE
from iris_controller.core.values import AttemptId, TaskId
from iris_controller.core.view import View
from iris_controller.shell.controller import Controller
from iris_controller.shell.logs import LogStore, Part
from iris_proto.v1 import controller_pb2

BLOCK_BYTES = 256 * 1024


@dataclass(slots=True)
class _Reader:
    """How far one task's logs have been sent: its attempts come one after the other."""

    task_id: TaskId
    done: dict[AttemptId, None] = field(default_factory=dict)
    offsets: dict[AttemptId, int] = field(default_factory=dict)
    # The attempts before that one.
    newest: AttemptId | None = None
    past: list[Attempt] = field(default_factory=list)

    async def current(self, controller: Controller) -> Attempt | None:
        """The oldest attempt whose log was not sent to its end."""
        latest = (await controller.view_with(self.task_id.job_id)).task(self.task_id).attempt
        if latest is None:
            return None
        if self.newest != latest.id:
            self.newest = latest.id
            # Read after the view was looked at, so there is none between them; the first has none before it.
            known = await controller.history.past_attempts(self.task_id) if latest.id.number > 1 else []
            self.past = [attempt for attempt in known if latest.id.is_newer_than(attempt.id)]
        return next((one for one in (*self.past, latest) if one.id not in self.done), None)

    def is_over(self, view: View) -> bool:
        """Whether all was sent, and nothing more can come."""
        task = view.task(self.task_id)
        return task.state.is_terminal and (task.attempt is None or task.attempt.id in self.done)


class Follower:
    """One StreamLogs call."""

    def __init__(
        self, controller: Controller, logs: LogStore, request: controller_pb2.StreamLogsRequest
    ) -> None:
        self._controller = controller
        self._logs = logs
        self._request = request
        self._start: Mapping[AttemptId, int] = {
            wire.attempt_id_from_proto(position.id): position.offset for position in getattr(request, "from")
        }
        if any(offset < 0 for offset in self._start.values()):
            raise ValueError("from: an offset is at least 0")
        self._view = controller.view
        self._read = 0
        self._known: dict[TaskId, None] = {}

    async def stream(self, job: Job) -> AsyncIterator[controller_pb2.StreamLogsResponse]:
        """Everything that was asked for; `finished` comes last."""
        readers: list[_Reader] = []
        with self._controller.hub.subscribe(job.job_id) as news:
            while True:
                news.clear()
                await self._controller.view_with(job.job_id)
                readers += self._new_readers(job)
                for reader in readers:
                    async for response in self._catch_up(reader):
                        yield response
                view = await self._controller.view_with(job.job_id)
                readers = [reader for reader in readers if not reader.is_over(view)]
                if not self._request.follow or (
                    not readers and self._has_ended(view, job) and not self._has_new(job)
                ):
                    break
                if not news.is_set():
                    await news.wait()
        view = self._controller.view
        finished = controller_pb2.LogsFinished(
            state=views.JOB_STATES[view.statuses[job.job_id].state],
            arriving=sum(view.task(reader.task_id).state.is_terminal for reader in readers),
        )
        yield controller_pb2.StreamLogsResponse(finished=finished)

    def _has_ended(self, view: View, job: Job) -> bool:
        if self._request.HasField("task_index"):
            return view.task(TaskId(job.job_id, self._request.task_index)).state.is_terminal
        return view.statuses[job.job_id].state.is_terminal

    def _has_new(self, job: Job) -> bool:
        return self._view is not self._controller.view or self._read < len(
            self._view.started.get(job.job_id, ())
        )

    def _new_readers(self, job: Job) -> list[_Reader]:
        """Readers of tasks that had their first attempt since the last call."""
        if self._view is not self._controller.view:
            # Loaded again after a failed commit: in another order, perhaps.
            self._view, self._read = self._controller.view, 0
        started = self._view.started.get(job.job_id, [])
        fresh = [t for t in started[self._read :] if self._is_wanted(t) and t not in self._known]
        self._read = len(started)
        self._known.update(dict.fromkeys(fresh))
        return [_Reader(task_id) for task_id in fresh]

    def _is_wanted(self, task_id: TaskId) -> bool:
        return not self._request.HasField("task_index") or task_id.task_index == self._request.task_index

    async def _catch_up(self, reader: _Reader) -> AsyncIterator[controller_pb2.StreamLogsResponse]:
        """What is on disk of a task's logs and was not sent yet."""
        while (attempt := await reader.current(self._controller)) is not None:
            offset = await self._offset(reader, attempt.id)
            # The state is read before the bytes: an end seen now has all of them.
            end, truncated = _end_of(self._controller.view, attempt, self._logs.length(attempt.id))
            part = await asyncio.to_thread(self._logs.read_on, attempt.id, offset, BLOCK_BYTES, end)
            if part.data or part.offset > offset:
                reader.offsets[attempt.id] = part.offset + len(part.data)
                yield _log_data(attempt, part, dropped=part.offset > offset)
            elif end is not None and offset >= end:
                reader.done[attempt.id] = None
                yield _log_end(attempt, end, truncated)
            else:
                return

    async def _offset(self, reader: _Reader, attempt_id: AttemptId) -> int:
        offset = reader.offsets.get(attempt_id)
        if offset is None:
            offset = self._start.get(attempt_id)
            if offset is None and self._request.HasField("tail_lines"):
                lines = self._request.tail_lines
                offset = await asyncio.to_thread(self._logs.tail_offset, attempt_id, lines)
            reader.offsets[attempt_id] = offset = offset or 0
        return offset


def _end_of(view: View, attempt: Attempt, stored: int) -> tuple[int | None, bool]:
    """Where an attempt's log ends, None while more may come; and whether bytes were lost."""
    match attempt.state:
        case s.AttemptSucceeded(_, end) | s.AttemptFailed(_, end) | s.AttemptKilled(_, end):
            length = end.log_bytes or 0
            if stored >= length:
                return length, False
            slice_ = view.slices.get(attempt.place.slice_name)
            # All of it was here once, or it can come no more: what is missing is lost.
            if attempt.log_stored or slice_ is None or isinstance(slice_.state, s.SliceGone):
                return stored, True
            return None, False
        case state if isinstance(state, ATTEMPT_LIVE):
            return None, False
        case _:
            return stored, True


def _log_data(attempt: Attempt, part: Part, *, dropped: bool) -> controller_pb2.StreamLogsResponse:
    """Bytes of a log; or none, to say that what was before their offset is gone."""
    data = controller_pb2.LogData(
        id=wire.attempt_id_to_proto(attempt.id),
        offset=part.offset,
        data=part.data,
        dropped_before=part.offset if dropped else 0,
    )
    return controller_pb2.StreamLogsResponse(data=data)


def _log_end(attempt: Attempt, length: int, truncated: bool) -> controller_pb2.StreamLogsResponse:
    return controller_pb2.StreamLogsResponse(
        end=controller_pb2.LogEnd(
            id=wire.attempt_id_to_proto(attempt.id),
            length=length,
            state=views.attempt_state(attempt.state),
            truncated=truncated,
        )
    )
