"""`iris worker show`."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from iris_cli.client import Connection, Controller
from iris_cli.commands.job_show import task_row
from iris_cli.commands.worker_list import contact_words, cpu_words, memory_words
from iris_cli.documents import message_to_dict
from iris_cli.exits import NOT_FOUND, USAGE, CliError
from iris_cli.hostlog import HostWords, read_host_log
from iris_cli.listings import list_events, list_slices, list_tasks_at, list_workers
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import duration, moment_text, plural, safe, seconds_of, short_name, why_words
from iris_proto.v1.controller_pb2 import (
    Event,
    GetClusterStatusRequest,
    GetClusterStatusResponse,
    Slice,
    SliceState,
    Worker,
    WorkerState,
)
from iris_proto.v1.job_pb2 import Place, Task

TASK_HEADERS = ("JOB", "TASK", "STATE", "ATTEMPTS", "RAN", "REASON")
EVENT_HEADERS = ("TIME", "KIND", "WHAT", "REASON")
# The newest are what people look for.
MOST_EVENTS = 20
MOST_NAMED = 10


@dataclass(frozen=True)
class Shown:
    """A worker and all that is told of it.

    A host whose agent has not come, or not any more, is a worker without a state.
    """

    worker: Worker
    slice: Slice
    accelerator_type: str
    tasks: Sequence[Task]
    events: Sequence[Event]


def run(options: Namespace) -> int:
    """Show one worker."""
    output = Output(options)
    cluster = find_cluster(options)
    with Controller(cluster).connect() as connection:
        status = connection.call(connection.stub.GetClusterStatus, GetClusterStatusRequest())
        shown = _ask(connection, status, *_place_of(options))
    log = read_host_log(cluster, status.cluster_id, shown.slice, shown.worker.place)
    if output.structured:
        output.document(_document(shown, log))
        return 0
    now = time.time()
    output.fields(worker_fields(shown, log, now))
    if shown.tasks:
        output.line("")
        output.table(TASK_HEADERS, [_task_row(task, now) for task in shown.tasks], "")
    if shown.events:
        output.line("")
        output.table(EVENT_HEADERS, [_event_row(event) for event in shown.events], "")
    output.line("")
    for line in log_lines(log):
        output.line(line)
    return 0


def _place_of(options: Namespace) -> tuple[str, int | None]:
    """The slice and the index that were typed; None where no index was."""
    name, _, word = options.place.partition("/")
    if not word:
        return name, options.index
    if options.index is not None or not (word.isascii() and word.isdigit() and len(word) < 10):
        raise CliError(USAGE, f"{options.place!r}: expected SLICE/INDEX", hint="see: iris worker show --help")
    return name, int(word)


def _ask(connection: Connection, status: GetClusterStatusResponse, name: str, index: int | None) -> Shown:
    workers = list_workers(connection).workers
    # What failed to start is gone soon, and this is where people ask why.
    slices = list_slices(connection, gone=True).slices
    entry = next((entry for entry in slices if entry.name == name), None)
    if index is None and entry is not None and entry.hosts == 1:
        index = 0
    if entry is None or index is None or index >= entry.hosts:
        raise _not_found(name, index, entry, slices)
    place = Place(slice_name=name, worker_index=index)
    worker = next((worker for worker in workers if worker.place == place), _without_agent(entry, place))
    return Shown(
        worker,
        entry,
        status.config.scale_groups[entry.scale_group].accelerator_type,
        list_tasks_at(connection, place, worker.live_attempts),
        _recent(list_events(connection).events, place),
    )


def _not_found(name: str, index: int | None, entry: Slice | None, slices: Iterable[Slice]) -> CliError:
    """The error that says what there is."""
    if entry is not None:
        wanted = f"slice {name} has {plural(entry.hosts, 'host')}"
        message = f"{wanted}; which one?" if index is None else f"there is no worker {name}/{index}: {wanted}"
        there = [entry]
    else:
        message = f"there is no slice {name}"
        there = [entry for entry in slices if entry.state != SliceState.SLICE_STATE_GONE]
    names = [f"{entry.name}/{number}" for entry in there for number in range(entry.hosts)]
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return CliError(NOT_FOUND, message, hint=f"there are: {', '.join(names[:MOST_NAMED]) or 'none'}{more}")


def _without_agent(entry: Slice, place: Place) -> Worker:
    worker = Worker(
        place=place,
        scale_group=entry.scale_group,
        zone=entry.zone,
        reason=entry.reason,
        message=entry.message,
    )
    # There in every document.
    worker.capacity.SetInParent()
    worker.used.SetInParent()
    return worker


def _recent(events: Iterable[Event], place: Place) -> list[Event]:
    """The last events about a worker or its slice, oldest first."""
    about = {("worker", f"{place.slice_name}/{place.worker_index}"), ("slice", place.slice_name)}
    return [event for event in events if (event.kind, event.subject) in about][-MOST_EVENTS:]


def _document(shown: Shown, log: HostWords) -> dict[str, object]:
    """The worker's own fields, and beside them what else is known."""
    return {
        **message_to_dict(shown.worker),
        "address": log.address,
        "accelerator_type": shown.accelerator_type,
        "slice_state": SliceState.Name(shown.slice.state),
        "since": moment.ToJsonString() if (moment := _since(shown)) else "",
        "tasks": [message_to_dict(task) for task in shown.tasks],
        "events": [message_to_dict(event) for event in shown.events],
        "log_tail": log.text,
        "log_error": log.error,
    }


def worker_fields(shown: Shown, log: HostWords, now: float) -> list[tuple[str, str]]:
    """What there is to say about a worker itself."""
    worker, place = shown.worker, shown.worker.place
    state, slice_state = _state(shown), short_name(SliceState, shown.slice.state)
    moment = _since(shown)
    since = f"{moment_text(moment)} ({duration(now - seconds_of(moment))})" if moment else ""
    fields = [
        ("worker", f"{place.slice_name}/{place.worker_index}"),
        ("group", worker.scale_group),
        ("zone", worker.zone),
        ("accelerator", shown.accelerator_type),
        ("address", log.address),
        ("state", state),
        # The lines behind the first are shown as its log.
        ("reason", why_words(state, worker.reason, _first_line(worker.message))),
        ("since", since),
        ("slice", slice_state),
    ]
    if worker.state:
        fields += [
            ("tasks", str(worker.live_attempts)),
            ("cpu", cpu_words(worker)),
            ("memory", memory_words(worker)),
        ]
    fields += [
        ("contact", contact_words(worker, now)),
        ("version", worker.version),
        ("boot", worker.boot_id),
    ]
    return [(name, value) for name, value in fields if value]


def _state(shown: Shown) -> str:
    """The worker's; of a host without an agent, its slice's."""
    if shown.worker.state:
        return short_name(WorkerState, shown.worker.state)
    return short_name(SliceState, shown.slice.state)


def _since(shown: Shown) -> Timestamp | None:
    """When it entered its state; None where no event says so any more."""
    if shown.worker.state:
        found = [event for event in shown.events if event.kind == "worker"]
        return found[-1].at if found and found[-1].what == _state(shown) else None
    return shown.slice.changed_at if shown.slice.HasField("changed_at") else None


def _task_row(task: Task, now: float) -> tuple[str, ...]:
    index, state, attempts, _, ran, _, why = task_row(task, now)
    return (task.job_id, index, state, attempts, ran, why)


def _event_row(event: Event) -> tuple[str, ...]:
    why = why_words(event.what, event.reason, _first_line(event.message))
    return (moment_text(event.at), event.kind, event.what, why)


def log_lines(log: HostWords) -> list[str]:
    """The log's lines behind a line that says what they are, or why there are none."""
    lines = [safe(line) for line in log.text.splitlines()]
    if log.error:
        why = [f"log: cannot be had: {safe(log.error)}"]
        return [*why, "what the start of the slice said:", *lines] if lines else why
    return ["log:", *lines] if lines else ["log: nothing was said yet"]


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
