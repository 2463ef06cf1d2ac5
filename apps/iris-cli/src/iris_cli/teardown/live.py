"""Stopping with a live controller: it drains and deletes, we watch."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from iris_cli.client import Controller, RpcFailed
from iris_cli.listings import list_slices
from iris_cli.text import duration, reason_words, safe, short_name
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
TROUBLES_EVERY_S = 1.0
# Beyond twice the tasks' grace: agents have to be told, and machines to go.
MARGIN_S = 60.0
# A cloud takes minutes to delete a slice; some take days, and those are left and named.
CLOUD_S = 900.0
# A stop that waits says so at least as often.
SILENT_S = 30.0
# So many of what it waits for are named.
NAMED = 3
# Where nothing else is left than what cannot be deleted, and each try says so.
HOPELESS_S = 20.0


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
        groups = self.status.config.scale_groups.values()
        on_clouds = any(group.provider.HasField("tpu") for group in groups)
        return 2 * (grace.seconds + grace.nanos / 1e9) + (CLOUD_S if on_clouds else MARGIN_S)


def ask_controller(controller: Controller, note: Callable[[str], None]) -> Believed | None:
    """What the controller says; None where none lives or it does not answer."""
    try:
        return believed_by(controller)
    except RpcFailed as error:
        note(f"{error.message}; the slices are looked for without it")
        return None


def believed_by(controller: Controller) -> Believed:
    """What the controller says.

    Raises:
        RpcFailed: none lives, or it does not answer.
    """
    with controller.connect() as connection:
        method = connection.stub.GetClusterStatus
        status = connection.call(method, GetClusterStatusRequest(), LOOK_TIMEOUT_S)
        return Believed(status, tuple(list_slices(connection).slices))


def shut_down(
    controller: Controller, believed: Believed, zones: Sequence[str], note: Callable[[str], None]
) -> tuple[Slice, ...]:
    """Let the controller delete every slice, or those in `zones`; returns those that it last said are left.

    Some are where it stopped answering or took too long: the caller then
    deletes what is left without it.
    """

    def meant(slices: Iterable[Slice]) -> tuple[Slice, ...]:
        return tuple(entry for entry in slices if not zones or entry.zone in zones)

    left = meant(believed.slices)
    stuck = Stuck()
    teller = SliceTeller(words_of(left))
    waits = WaitTeller(believed.patience_s)
    troubles = TroubleTeller()
    began = time.monotonic()
    deadline = began + believed.patience_s
    pause = threading.Event()
    try:
        with controller.connect() as connection:
            request = BeginShutdownRequest(reason="iris cluster stop", zones=zones)
            connection.call(connection.stub.BeginShutdown, request)
            note("the controller deletes the slices" if left else "the controller has no slices to delete")
            while time.monotonic() < deadline:
                left = meant(list_slices(connection).slices)
                lines = teller.lines(words_of(left))
                if left and troubles.due(time.monotonic()):
                    status = connection.call(connection.stub.GetClusterStatus, GetClusterStatusRequest())
                    lines += troubles.lines(status.problems)
                    stuck.look(left, status.problems, time.monotonic())
                lines = waits.lines(lines, words_of(left), time.monotonic() - began)
                for line in lines:
                    note(f"{duration(time.monotonic() - began):>8}  {line}")
                if not left:
                    return ()
                if stuck.is_hopeless(time.monotonic()):
                    note("what is left cannot be deleted now; going on without the controller")
                    return left
                pause.wait(POLL_S)
    except RpcFailed as error:
        note(f"{error.message}; going on without it")
        return left
    note(f"slices are left after {duration(believed.patience_s)}; going on without the controller")
    return left


class WaitTeller:
    """Says what is waited for, and for how long yet, when nothing else was told for a while. Pure."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._told_s = 0.0

    def lines(self, news: Sequence[str], waited_for: Mapping[str, str], after_s: float) -> list[str]:
        """The news; without any, at times what is waited for: the words for each slice, by its name."""
        if news or not waited_for:
            self._told_s = after_s
        if news or after_s - self._told_s < SILENT_S:
            return list(news)
        self._told_s = after_s
        some = ", ".join(f"slice {name} ({words})" for name, words in list(waited_for.items())[:NAMED])
        more = f" and {len(waited_for) - NAMED} more" if len(waited_for) > NAMED else ""
        return [f"waiting for {some}{more}, {duration(self._limit_s - after_s)} more at most"]


# A wait in a problem's words: it is the same problem a second later.
_DURATION = re.compile(r"\b(?:\d+(?:ms|[hms]))+\b")


class TroubleTeller:
    """Tells the controller's problems while a stop waits, each once; not all the time."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._due_s = 0.0

    def due(self, now_s: float) -> bool:
        """Whether it is time to ask again."""
        if now_s < self._due_s:
            return False
        self._due_s = now_s + TROUBLES_EVERY_S
        return True

    def lines(self, problems: Iterable[str]) -> list[str]:
        """Those that were not told before."""
        fresh = {_DURATION.sub("", problem): problem for problem in problems}
        lines = [f"problem: {safe(problem)}" for key, problem in fresh.items() if key not in self._told]
        self._told.update(fresh)
        return lines


class Stuck:
    """Whether the controller has been failing for long to delete every slice that is left. Pure."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def look(self, left: Iterable[Slice], problems: Iterable[str], now_s: float) -> None:
        """What is left, and what the controller's problems are."""
        failing = [problem for problem in problems if problem.startswith("cannot delete slice ")]
        if all(any(entry.name in problem for problem in failing) for entry in left):
            self._since_s = now_s if self._since_s is None else self._since_s
        else:
            self._since_s = None

    def is_hopeless(self, now_s: float) -> bool:
        """Whether waiting longer is of no use."""
        return self._since_s is not None and now_s - self._since_s > HOPELESS_S


class SliceTeller:
    """Tells what becomes of slices, a line for each change: from the words for each, by its name. Pure."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words

    def lines(self, now: Mapping[str, str]) -> list[str]:
        """What is new since the last time."""
        found = [f"slice {name}: {words}" for name, words in now.items() if words != self._words.get(name)]
        found += [f"slice {name}: GONE" for name in self._words if name not in now]
        self._words = now
        return found


def words_of(slices: Iterable[Slice]) -> dict[str, str]:
    """The controller's words for each slice, by its name."""
    return {entry.name: _words(entry) for entry in slices}


def _words(entry: Slice) -> str:
    state = short_name(SliceState, entry.state)
    why = reason_words(entry.reason, entry.message)
    return f"{state}: {why}" if why else state
