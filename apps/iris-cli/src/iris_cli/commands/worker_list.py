"""`iris worker list`."""

from __future__ import annotations

import time
from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.listings import list_workers
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.text import cpus, duration, seconds_of, short_name, size, why_words
from iris_proto.v1.controller_pb2 import Worker, WorkerState

HEADERS = ("SLICE", "WORKER", "GROUP", "STATE", "TASKS", "CPU", "MEMORY", "CONTACT", "REASON")
WIDE_HEADERS = (*HEADERS, "ZONE", "VERSION", "BOOT")


def run(options: Namespace) -> int:
    """List workers."""
    output = Output(options)
    with Controller(find_cluster(options)).connect() as connection:
        response = list_workers(connection)
    if output.structured:
        output.message(response)
        return 0
    now = time.time()
    rows = [_row(worker, now, output.wide) for worker in response.workers]
    output.table(WIDE_HEADERS if output.wide else HEADERS, rows, "no workers")
    return 0


def _row(worker: Worker, now: float, wide: bool) -> tuple[str, ...]:
    state = short_name(WorkerState, worker.state)
    why = why_words(state, worker.reason, worker.message)
    row = (
        worker.place.slice_name,
        str(worker.place.worker_index),
        worker.scale_group,
        state,
        str(worker.live_attempts),
        cpu_words(worker),
        memory_words(worker),
        contact_words(worker, now),
        why,
    )
    return (*row, worker.zone, worker.version, worker.boot_id) if wide else row


def cpu_words(worker: Worker) -> str:
    """`0.5/4`: used, and offered."""
    return f"{cpus(worker.used.cpu_millis)}/{cpus(worker.capacity.cpu_millis)}"


def memory_words(worker: Worker) -> str:
    """`1 GiB/8 GiB`: used, and offered."""
    if not worker.capacity.memory_bytes:
        return "not accounted"
    return f"{size(worker.used.memory_bytes)}/{size(worker.capacity.memory_bytes)}"


def contact_words(worker: Worker, now: float) -> str:
    """How long ago it was last heard."""
    if not worker.HasField("last_contact_at"):
        return "never"
    return f"{duration(now - seconds_of(worker.last_contact_at))} ago"
