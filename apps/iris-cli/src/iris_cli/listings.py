"""The lists that the controller keeps, each as one response."""

from __future__ import annotations

from iris_cli.client import Connection
from iris_cli.paging import MOST_ROWS, PAGE_SIZE, all_pages
from iris_proto.v1.controller_pb2 import (
    ListEventsRequest,
    ListEventsResponse,
    ListJobsRequest,
    ListJobsResponse,
    ListSlicesRequest,
    ListSlicesResponse,
    ListTasksRequest,
    ListTasksResponse,
    ListWorkersRequest,
    ListWorkersResponse,
)
from iris_proto.v1.job_pb2 import AttemptState, Place, Task, TaskState

_PLACED = (
    *(TaskState.TASK_STATE_ASSIGNED, TaskState.TASK_STATE_PREPARING),
    TaskState.TASK_STATE_RUNNING,
)
_LIVE = (
    *(AttemptState.ATTEMPT_STATE_ASSIGNED, AttemptState.ATTEMPT_STATE_PREPARING),
    AttemptState.ATTEMPT_STATE_RUNNING,
)


def list_jobs(connection: Connection, *, active_only: bool = False) -> ListJobsResponse:
    """All jobs, newest first."""

    def ask(token: str) -> ListJobsResponse:
        request = ListJobsRequest(page_size=PAGE_SIZE, page_token=token, active_only=active_only)
        return connection.call(connection.stub.ListJobs, request)

    return all_pages(ask, lambda page: len(page.jobs))


def list_tasks(connection: Connection, job_id: str) -> ListTasksResponse:
    """All tasks of a job, by index."""

    def ask(token: str) -> ListTasksResponse:
        request = ListTasksRequest(job_id=job_id, page_size=PAGE_SIZE, page_token=token)
        return connection.call(connection.stub.ListTasks, request)

    return all_pages(ask, lambda page: len(page.tasks))


def list_tasks_at(connection: Connection, place: Place, count: int) -> list[Task]:
    """The tasks whose attempts live on a worker, which has `count` of them."""
    found: list[Task] = []
    for job in list_jobs(connection, active_only=True).jobs if count else ():
        if len(found) >= count:
            break
        if any(entry.count and entry.state in _PLACED for entry in job.task_counts):
            tasks = list_tasks(connection, job.job_id).tasks
            found += [task for task in tasks if task.attempt.place == place and task.attempt.state in _LIVE]
    return found


def list_slices(connection: Connection, *, gone: bool = False) -> ListSlicesResponse:
    """All slices; those that are gone too where `gone`."""

    def ask(token: str) -> ListSlicesResponse:
        request = ListSlicesRequest(page_size=PAGE_SIZE, page_token=token, all=gone)
        return connection.call(connection.stub.ListSlices, request)

    return all_pages(ask, lambda page: len(page.slices))


def list_workers(connection: Connection) -> ListWorkersResponse:
    """All workers."""

    def ask(token: str) -> ListWorkersResponse:
        request = ListWorkersRequest(page_size=PAGE_SIZE, page_token=token)
        return connection.call(connection.stub.ListWorkers, request)

    return all_pages(ask, lambda page: len(page.workers))


def list_events(connection: Connection) -> ListEventsResponse:
    """All events that are kept, oldest first."""
    whole = ListEventsResponse(more=True)
    while whole.more and len(whole.events) < MOST_ROWS:
        after = whole.events[-1].event_id if whole.events else 0
        request = ListEventsRequest(page_size=PAGE_SIZE, after_event_id=after)
        page = connection.call(connection.stub.ListEvents, request)
        whole.events.extend(page.events)
        # `more` with no event could go on for ever.
        whole.more = page.more and bool(page.events)
    return whole
