"""One cloud: takes calls and the time, gives answers and orders. No I/O, no clock, no threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.harness.cloud import errors, rules
from tests.harness.cloud.faults import SPOILS, Fault, lateness
from tests.harness.cloud.instances import Instances
from tests.harness.cloud.journal import Call, Journal
from tests.harness.cloud.nodes import Nodes
from tests.harness.cloud.queued import QueuedResources
from tests.harness.cloud.settings import Settings
from tests.harness.cloud.tpu import Tpu
from tests.harness.cloud.world import World


@dataclass(frozen=True)
class Answer:
    """What the caller is to get: a reply, an error, or no answer at all (`cut`: hang or reset).

    Not before `late_ms` have passed, by the clock on the wall.
    """

    reply: Any = None
    error: errors.ApiError | None = None
    cut: str = ""
    late_ms: int = 0

    @property
    def status(self) -> str:
        return self.cut or (self.error.status if self.error else "OK")


@dataclass(frozen=True)
class About:
    """What a call is about, as faults and the journal see it."""

    method: str
    project: str
    zone: str
    name: str
    via: str
    credentials: bool


class Cloud:
    """`place(key, name)` has an address for each new VM."""

    def __init__(self, settings: Settings, now_ms: int, place: Callable[[str, str], str]) -> None:
        self.world = World.new(settings, now_ms, place)
        self.journal = Journal()
        self.nodes = Nodes(self.world)
        self.queued = QueuedResources(self.world, self.nodes)
        self.instances = Instances(self.world)
        self._tpu = Tpu(self.world, self.nodes, self.queued)

    def advance(self, now_ms: int) -> None:
        """Lets everything happen that is due until then."""
        self.world.timeline.advance(now_ms)

    def call_tpu(self, method: str, request: Any, via: str, *, credentials: bool) -> Answer:
        """One call of the TPU API, of operations or of locations."""
        if not hasattr(self._tpu, method):
            return Answer(error=errors.ApiError(12, f"Method not found: {method}"))
        about = self._about(method, request, via, credentials)
        return self.act(about, lambda faults: getattr(self._tpu, method)(request, faults))

    def act(self, about: About, act: Callable[[tuple[Fault, ...]], Any]) -> Answer:
        """Does what a call asks for, unless a fault or a limit is in the way; writes it down."""
        faults = self.world.faults.take(about.method, about.name, about.zone)
        before = next((f for f in faults if f.do in SPOILS and not f.after), None)
        after = next((f for f in faults if f.do in SPOILS and f.after), None)
        if before:
            answer, done = _spoiled(before), False
        else:
            answer = self._really(about, faults, act)
            done = answer.error is None
            if after:
                answer = _spoiled(after)
        self._note(about, answer, done, faults)
        return replace(answer, late_ms=lateness(faults))

    def _really(
        self, about: About, faults: tuple[Fault, ...], act: Callable[[tuple[Fault, ...]], Any]
    ) -> Answer:
        number = self.world.settings.projects.get(about.project, 0)
        now = self.world.timeline.now_ms
        try:
            self.world.limits.count_call(about.method, about.project, number, now)
            reply = act(faults)
        except errors.ApiError as error:
            return Answer(error=error)
        # What is due at this very moment is done before anybody hears of it.
        self.advance(now)
        return Answer(reply)

    def _note(self, about: About, answer: Answer, done: bool, faults: tuple[Fault, ...]) -> None:
        self.journal.calls.append(
            Call(
                at_ms=self.world.timeline.now_ms,
                method=about.method,
                project=about.project,
                zone=about.zone,
                name=about.name,
                via=about.via,
                status=answer.status,
                done=done,
                credentials=about.credentials,
                faults=tuple(fault.do for fault in faults),
            )
        )

    def _about(self, method: str, request: Any, via: str, credentials: bool) -> About:
        fields = request.DESCRIPTOR.fields_by_name
        full = request.parent if "parent" in fields else request.name if "name" in fields else ""
        if method == "UpdateNode":
            full = request.node.name
        for identifier in ("node_id", "queued_resource_id"):
            if identifier in fields:
                full = f"{full}/{identifier}/{getattr(request, identifier)}"
        parts = f"{full}////".split("/")
        name = full.split("/")[5] if full.count("/") >= 5 else ""
        if method.endswith("Operation"):
            name = self._target(full)
        return About(method, parts[1], parts[3], name, via, credentials)

    def _target(self, operation: str) -> str:
        try:
            return self.world.operations.find(operation).target.rpartition("/")[2]
        except errors.ApiError:
            return operation.rpartition("/")[2]

    def preempt(self, project: str, zone: str, names: list[str], notice_ms: int | None = None) -> None:
        """Takes nodes away, together. Raises ApiError NOT_FOUND."""
        for name in names:
            self.nodes.preempt(f"{rules.Place(project, zone)}/nodes/{name}", notice_ms)


def _spoiled(fault: Fault) -> Answer:
    if fault.do != "error":
        return Answer(cut=fault.do)
    error = errors.of_code(fault.code, fault.message)
    error.retry_after_s = fault.retry_after_s
    return Answer(error=error)
