"""The controller's calls to its providers: they take time, fail, lose their answers, or land late.

Like `shell.perform`: calls about one slice are made one after the other, in
order; one that is already waiting its turn is not queued twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.events import CallFailed
from iris_platform.base import Failure, NoCapacity, QuotaExceeded, SliceInfo
from tests.simulation.cloud import LONGEST_LAG_MS, Cloud
from tests.simulation.stage import Stage
from tests.simulation.story import Objection

PlatformEffect: TypeAlias = fx.CreateSlice | fx.DeleteSlice | fx.LookAtSlice | fx.ListZone

# More calls about one slice in this time mean that something asks in a circle.
WINDOW_MS = 10_000
MOST_CALLS = 60
# What the provider was asked for may happen so long after the caller gave up.
LATEST_MS = 100_000

_LOST = CallFailed(Failure.UNREACHABLE, "no answer within the deadline")


class Calls:
    """The calls of one run of the controller; `post` gets the answers."""

    def __init__(self, stage: Stage, cloud: Cloud, post: Callable[[e.Event], None], run: int) -> None:
        self._stage = stage
        self._cloud = cloud
        self._post = post
        self._random = stage.random(f"calls/{run}")
        self._queues: dict[str, deque[PlatformEffect]] = {}
        self._recent: dict[str, deque[int]] = {}
        self._dead = False

    def perform(self, effect: PlatformEffect) -> None:
        """Queues a call."""
        line = f"{effect.provider}/{effect.zone}" if isinstance(effect, fx.ListZone) else effect.slice_name
        queue = self._queues.get(line)
        if queue is None:
            self._queues[line] = deque([effect])
            self._begin(line)
        elif effect not in queue:
            queue.append(effect)

    def crash(self) -> None:
        """The controller is gone; what it sent may still arrive."""
        self._dead = True

    def _begin(self, line: str) -> None:
        self._check_pace(line)
        slow = self._stage.faults.hits("call_slow")
        there_ms = self._random.randint(1, 200) + (self._slowly() if slow else 0)
        self._stage.engine.after(there_ms, lambda: self._arrive(line))

    def _slowly(self) -> int:
        return self._stage.faults.between("call_slow", 1_000, 20_000)

    def _check_pace(self, line: str) -> None:
        now_ms = self._stage.engine.now_ms
        recent = self._recent.setdefault(line, deque())
        recent.append(now_ms)
        while recent[0] < now_ms - WINDOW_MS:
            recent.popleft()
        if len(recent) > MOST_CALLS:
            words = f"{len(recent)} calls about {line} within {WINDOW_MS / 1000:g} s"
            raise Objection("hot_loop", words, [line])

    def _arrive(self, line: str) -> None:
        """The call has reached the provider."""
        if self._dead and not self._stage.faults.hits("call_outlives_crash"):
            return
        effect = self._queues[line][0]
        if self._dead and isinstance(effect, fx.CreateSlice):
            self._cloud.lands_late[effect.slice_name] = None
        answer = self._carry_out(effect)
        back_ms = self._random.randint(1, 100)
        if self._stage.faults.hits("call_slow"):
            back_ms += self._slowly()
        self._stage.engine.after(back_ms, lambda: self._answer(line, answer))

    def _answer(self, line: str, answer: e.Event) -> None:
        if self._dead:
            return
        queue = self._queues[line]
        queue.popleft()
        if queue:
            self._begin(line)
        else:
            del self._queues[line]
        if isinstance(answer, e.ZoneListed) and not isinstance(answer.seen, CallFailed):
            self._cloud.on_listed(answer.provider, answer.zone, answer.seen)
        self._post(answer)

    def _carry_out(self, effect: PlatformEffect) -> e.Event:
        unreachable = self._stage.engine.now_ms < self._cloud.unreachable_until_ms
        match effect:
            case fx.CreateSlice(name):
                return e.CreateAnswered(name, _LOST if unreachable else self._create(effect))
            case fx.DeleteSlice(name):
                return e.DeleteAnswered(name, _LOST if unreachable else self._delete(name))
            case fx.LookAtSlice(name):
                if unreachable or self._stage.faults.hits("look_fails"):
                    return e.SliceLooked(name, _LOST)
                return e.SliceLooked(name, self._cloud.get(name))
            case fx.ListZone(provider, zone):
                if unreachable or self._stage.faults.hits("list_fails"):
                    return e.ZoneListed(provider, zone, _LOST)
                return e.ZoneListed(provider, zone, self._list(provider, zone))

    def _create(self, effect: fx.CreateSlice) -> CallFailed | None:
        hits = self._stage.faults.hits
        if hits("create_lost_before"):
            return _LOST
        if hits("create_refused"):
            return CallFailed(Failure.REFUSED, "the request is wrong")
        if hits("create_not_allowed"):
            return CallFailed(Failure.PERMISSION, "the account lacks a permission")
        if hits("create_over_quota"):
            return CallFailed(Failure.QUOTA, "over quota")
        if hits("create_rate_limited"):
            return CallFailed(Failure.RATE_LIMIT, "too many requests")
        if hits("create_lands_late"):
            self._cloud.lands_late[effect.slice_name] = None
            self._late("create_lands_late", lambda: self._try_create(effect))
            return _LOST
        failed = self._try_create(effect)
        return failed or (_LOST if hits("create_lost_after") else None)

    def _try_create(self, effect: fx.CreateSlice) -> CallFailed | None:
        try:
            self._cloud.create(effect.slice_name, effect.group, effect.zone)
        except (NoCapacity, QuotaExceeded) as error:
            return CallFailed(error.failure, str(error))
        return None

    def _delete(self, name: str) -> CallFailed | None:
        hits = self._stage.faults.hits
        if hits("delete_lost_before"):
            return _LOST
        if hits("delete_rate_limited"):
            return CallFailed(Failure.RATE_LIMIT, "too many requests")
        if hits("delete_comes_to_nothing"):
            return None
        if hits("delete_lands_late"):
            self._late("delete_lands_late", lambda: self._cloud.delete(name))
            return _LOST
        self._cloud.delete(name)
        return _LOST if hits("delete_lost_after") else None

    def _list(self, provider: str, zone: str) -> tuple[SliceInfo, ...]:
        """A list as providers give them: of a moment ago, and not always with everything."""
        faults = self._stage.faults
        lag_ms = faults.between("list_lags", 0, LONGEST_LAG_MS) if faults.hits("list_lags") else 0
        seen = self._cloud.listing(provider, zone, lag_ms)
        if seen and faults.hits("list_misses"):
            return seen[: faults.pick("list_misses", len(seen))]
        return seen

    def _late(self, name: str, action: Callable[[], object]) -> None:
        def land() -> None:
            action()

        self._stage.engine.after(self._stage.faults.between(name, 500, LATEST_MS), land)
