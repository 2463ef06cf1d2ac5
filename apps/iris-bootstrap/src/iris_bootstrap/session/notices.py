"""Hears from the metadata server that this machine is to go.

On threads of its own, which wait for a change most of the time: nothing here is ever
in the way of a beat. https://cloud.google.com/compute/docs/instances/preemptible
"""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from iris_platform.metadata import Answer, MetadataError, MetadataServer

# A question is asked anew after so long without a change.
WAIT_S = 300.0
# Between questions: where there was no answer, where there is no such value, and at the least.
TROUBLE_S = 5.0
ABSENT_S = 60.0
LEAST_S = 0.5

PREEMPTED = "instance/preempted"
MAINTENANCE = "instance/maintenance-event"


@dataclass(frozen=True)
class Heard:
    """A notice, and how long Google says that the machine has from now; `kind` as in worker.proto."""

    kind: str
    message: str
    left_s: float


def notice_of(path: str, value: str) -> Heard | None:
    """What a value of the metadata server means; None for what ends nothing.

    A machine that is to move on alive (MIGRATE_ON_HOST_MAINTENANCE) goes on. How long is
    left is the least that Google's documentation gives: 30 s from a preemption to
    the machine's end, 60 s from a notice to the maintenance.
    """
    if path == PREEMPTED and value == "TRUE":
        return Heard("preempted", "Google preempts this machine", 30.0)
    if path == MAINTENANCE and value.startswith(("TERMINATE", "SHUTDOWN")):
        return Heard("maintenance", f"Google ends this machine for maintenance ({value})", 60.0)
    return None


async def hear_notices(server: MetadataServer) -> AsyncIterator[Heard]:
    """Each notice when it comes; never ends by itself."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[Heard] = asyncio.Queue()

    def tell(notice: Heard) -> None:
        # The session may be gone by then.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(heard.put_nowait, notice)

    for path in (PREEMPTED, MAINTENANCE):
        # Not of a pool: whoever ends would wait for its threads, which may wait for minutes.
        threading.Thread(target=_watch, args=(server, path, tell), name=path, daemon=True).start()
    while True:
        yield await heard.get()


def _watch(server: MetadataServer, path: str, tell: Callable[[Heard], None]) -> None:
    last: Answer | None = None
    while True:
        pause_s = LEAST_S
        try:
            found = server.get(path) if last is None else server.wait(path, last, WAIT_S)
            if found is None:
                pause_s = ABSENT_S
            elif last is None or found.text != last.text:
                notice = notice_of(path, found.text.strip())
                if notice is not None:
                    tell(notice)
            last = found
        except MetadataError:
            pause_s = TROUBLE_S
        select.select([], [], [], pause_s)
