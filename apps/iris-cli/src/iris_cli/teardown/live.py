"""Stopping with a live controller: it drains and deletes, we watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from iris_cli.client import Controller, RpcFailed
from iris_cli.listings import list_slices
from iris_cli.text import duration, reason_words, short_name
from iris_proto.v1.controller_pb2 import (
    BeginShutdownRequest,
    GetClusterStatusRequest,
    GetClusterStatusResponse,
    Slice,
    SliceState,
)

# A controller that does not answer within this is treated as one that is dead.
LOOK_TIMEOUT_S = 5.0
POLL_S = 0.2
# Beyond twice the tasks' grace: agents have to be told, and machines to go.
MARGIN_S = 60.0


@dataclass(frozen=True)
class Believed:
    """What a live controller says there is."""

    status: GetClusterStatusResponse
    slices: tuple[Slice, ...]

    @property
    def unfinished_jobs(self) -> int:
        """Jobs that a stop keeps for the next start."""
        return self.status.jobs_pending + self.status.jobs_running

    @property
    def patience_s(self) -> float:
        """How long its slices may take to go."""
        grace = self.status.config.timeouts.stop_grace
        return 2 * (grace.seconds + grace.nanos / 1e9) + MARGIN_S


def ask_controller(controller: Controller, note: Callable[[str], None]) -> Believed | None:
    """What the controller says; None where none lives or it does not answer."""
    try:
        with controller.connect() as connection:
            method = connection.stub.GetClusterStatus
            status = connection.call(method, GetClusterStatusRequest(), LOOK_TIMEOUT_S)
            return Believed(status, tuple(list_slices(connection).slices))
    except RpcFailed as error:
        note(f"{error.message}; the slices are looked for without it")
        return None


def shut_down(controller: Controller, believed: Believed, note: Callable[[str], None]) -> bool:
    """Let the controller delete every slice; returns whether it did.

    False where it stopped answering or took too long: the caller then deletes
    what is left without it.
    """
    teller = SliceTeller(believed.slices)
    began = time.monotonic()
    deadline = began + believed.patience_s
    pause = threading.Event()
    try:
        with controller.connect() as connection:
            request = BeginShutdownRequest(reason="iris cluster stop")
            connection.call(connection.stub.BeginShutdown, request)
            note("the controller deletes the slices")
            while time.monotonic() < deadline:
                slices = list_slices(connection).slices
                for line in teller.lines(slices):
                    note(f"{duration(time.monotonic() - began):>8}  {line}")
                if not slices:
                    return True
                pause.wait(POLL_S)
    except RpcFailed as error:
        note(f"{error.message}; going on without it")
        return False
    note(f"slices are left after {duration(believed.patience_s)}; going on without the controller")
    return False


class SliceTeller:
    """Tells what becomes of slices, a line for each change. Pure."""

    def __init__(self, slices: Iterable[Slice]) -> None:
        self._states: Mapping[str, str] = _states(slices)

    def lines(self, slices: Iterable[Slice]) -> list[str]:
        """What is new since the last time."""
        now = list(slices)
        states = _states(now)
        found = [
            f"slice {entry.name}: {_words(entry)}"
            for entry in now
            if states[entry.name] != self._states.get(entry.name)
        ]
        found += [f"slice {name}: GONE" for name in self._states if name not in states]
        self._states = states
        return found


def _states(slices: Iterable[Slice]) -> dict[str, str]:
    return {entry.name: short_name(SliceState, entry.state) for entry in slices}


def _words(entry: Slice) -> str:
    state = short_name(SliceState, entry.state)
    why = reason_words(entry.reason, entry.message)
    return f"{state}: {why}" if why else state
