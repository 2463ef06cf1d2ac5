"""Carries out platform effects on bounded threads; each comes back as an event.

Makes no choice. Effects on one slice are carried out one after the other, in
order; an effect that is already waiting its turn is not queued twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_platform import Platform, VmManager
from iris_platform.base import (
    HOST_LOG_BYTES,
    LOG_FOLLOWS,
    BeingDeleted,
    Failure,
    PlatformError,
    SliceInfo,
)
from iris_platform.files import last_lines

log = logging.getLogger(__name__)

PlatformEffect: TypeAlias = fx.CreateSlice | fx.DeleteSlice | fx.LookAtSlice | fx.ListZone

PlatformAnswer: TypeAlias = e.CreateAnswered | e.DeleteAnswered | e.SliceLooked | e.ZoneListed

# Calls that may be under way at once in each zone of a platform: of two projects, or two zones
# of one, that which hangs does not hold up the other.
THREADS_PER_ZONE = 8


@dataclass(frozen=True, slots=True)
class _Found:
    """What one platform answered to one effect."""

    error: e.CallFailed | None = None
    seen: SliceInfo | None = None
    listed: tuple[SliceInfo, ...] = ()
    logs: str = ""


_Act: TypeAlias = Callable[[], _Found]


class Performer:
    """Platform calls of one controller. Belongs to the event loop's thread."""

    def __init__(
        self,
        managers: Mapping[str, VmManager],
        platform_of: Mapping[str, Platform],
        platforms: Mapping[str, Sequence[Platform]],
        post: Callable[[e.Event], None],
    ) -> None:
        """`managers` and `platform_of` by scale group, `platforms` by provider: each pool of hosts is one."""
        self._managers = managers
        self._platform_of = platform_of
        self._platforms = platforms
        self._post = post
        self._troubles: dict[str, str] = {}
        self._queues: dict[str, deque[PlatformEffect]] = {}
        # By platform and zone, from the first call there on.
        self._pools: dict[tuple[int, str], ThreadPoolExecutor] = {}

    def perform(self, effect: PlatformEffect) -> None:
        """Queues an effect; its answer is posted as an event."""
        line = f"{effect.provider}/{effect.zone}" if isinstance(effect, fx.ListZone) else effect.slice_name
        queue = self._queues.get(line)
        if queue is None:
            self._queues[line] = deque([effect])
            asyncio.get_running_loop().create_task(self._work(line), name=f"perform {line}")
        elif effect not in queue:
            queue.append(effect)

    async def _work(self, line: str) -> None:
        queue = self._queues[line]
        while queue:
            answer = await self._ask(queue[0])
            queue.popleft()
            self._note(line, answer)
            self._post(answer)
        del self._queues[line]

    async def _ask(self, effect: PlatformEffect) -> PlatformAnswer:
        """Every platform that may have it, side by side, as one answer."""
        acts = self._acts(effect)
        if acts is None:
            why = "no configured provider has its zone"
            return _answer(effect, _Found(e.CallFailed(Failure.UNREACHABLE, why)))
        loop = asyncio.get_running_loop()
        zone = effect.zone
        calls = [loop.run_in_executor(self._pool(it, zone), _call, effect, act) for it, act in acts]
        return _answer(effect, _together(await asyncio.gather(*calls)))

    def _pool(self, platform: Platform, zone: str) -> ThreadPoolExecutor:
        pool = self._pools.get((id(platform), zone))
        if pool is None:
            pool = ThreadPoolExecutor(THREADS_PER_ZONE, f"platform-{zone}-{len(self._pools)}")
            self._pools[id(platform), zone] = pool
        return pool

    @property
    def troubles(self) -> list[str]:
        """What failed when it was last tried: a line for each slice and zone."""
        return list(self._troubles.values())

    def _note(self, line: str, answer: PlatformAnswer) -> None:
        """Remembers a failure until a call about the same thing succeeds."""
        what, outcome = _outcome(answer)
        if isinstance(outcome, e.CallFailed):
            # Behind it may stand the end of a log, which the slice keeps.
            why = outcome.message.partition("\n")[0].removesuffix(LOG_FOLLOWS)
            self._troubles[line] = f"{what}: {why}"
        else:
            self._troubles.pop(line, None)

    def _acts(self, effect: PlatformEffect) -> list[tuple[Platform, _Act]] | None:
        """What is to be done by which platform; None where nobody is known to have it."""
        match effect:
            case fx.ListZone(provider, zone):
                return [(place, partial(_list, place, zone)) for place in self._in_zone(provider, zone)]
            case fx.CreateSlice(name, group, zone):
                manager = self._managers.get(group)
                return (
                    [(self._platform_of[group], partial(_create, manager, name, zone))] if manager else None
                )
            case fx.DeleteSlice(name, group, zone):
                keepers = self._keepers(group, zone)
                return [(place, partial(_delete, it, name, zone)) for place, it in keepers] or None
            case fx.LookAtSlice(name, group, zone, logs_of):
                keepers = self._keepers(group, zone)
                return [(place, partial(_look, it, name, zone, logs_of)) for place, it in keepers] or None

    def _keepers(self, group: str, zone: str) -> list[tuple[Platform, VmManager | Platform]]:
        """Who may have the slices of a group, each with its platform.

        Those of one that the configuration dropped are where they were made: each platform
        of the first provider with their zone may have them.
        """
        manager = self._managers.get(group)
        if manager is not None:
            return [(self._platform_of[group], manager)]
        places = (self._in_zone(provider, zone) for provider in self._platforms)
        return [(place, place) for place in next(filter(None, places), ())]

    def _in_zone(self, provider: str, zone: str) -> list[Platform]:
        return [platform for platform in self._platforms[provider] if zone in platform.zones()]

    def close(self) -> None:
        """Starts nothing more; what is under way ends by its own deadline."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


def _ends_of_logs(keeper: VmManager | Platform, name: str, zone: str, hosts: Sequence[int]) -> str:
    """The last lines of each host's log behind its index, or why they cannot be had."""
    lines: list[str] = []
    for index in hosts:
        try:
            text = keeper.host_log(name, index, zone).text
        except PlatformError as problem:
            text = str(problem)
        share = last_lines(text, HOST_LOG_BYTES // len(hosts))
        lines += [f"[{index}] {line}" for line in share.splitlines()]
    return "\n".join(lines)


def _create(manager: VmManager, name: str, zone: str) -> _Found:
    manager.create_slice(name, zone)
    return _Found()


def _delete(keeper: VmManager | Platform, name: str, zone: str) -> _Found:
    keeper.delete_slice(name, zone)
    return _Found()


def _look(keeper: VmManager | Platform, name: str, zone: str, logs_of: Sequence[int]) -> _Found:
    seen = keeper.get_slice(name, zone)
    logs = _ends_of_logs(keeper, name, zone, logs_of) if seen is not None else ""
    return _Found(seen=seen, logs=logs)


def _list(platform: Platform, zone: str) -> _Found:
    return _Found(listed=tuple(platform.list_slices({}, zone)))


def _call(effect: PlatformEffect, act: _Act) -> _Found:
    """One platform call; the catch-all around an effect (STYLE)."""
    try:
        return act()
    except BeingDeleted as problem:
        # As it should be, and no trouble to be told.
        log.info("%s ended: %s", effect, problem)
        return _Found()
    except PlatformError as problem:
        log.warning("%s failed: %s", effect, problem)
        return _Found(e.CallFailed(problem.failure, str(problem)))
    except Exception as problem:
        # A bug in a platform must not end the controller; what happened is not known.
        log.exception("%s raised", effect)
        return _Found(e.CallFailed(Failure.UNREACHABLE, f"{type(problem).__name__}: {problem}"))


def _together(found: Sequence[_Found]) -> _Found:
    """What several platforms answered: one that failed leaves the rest unknown, but for what was seen."""
    there = next((one for one in found if one.seen is not None), None)
    if there is not None:
        return there
    error = next((one.error for one in found if one.error is not None), None)
    return _Found(error, listed=tuple(info for one in found for info in one.listed))


def _answer(effect: PlatformEffect, found: _Found) -> PlatformAnswer:
    """The event that an effect comes back as."""
    match effect:
        case fx.CreateSlice(name):
            return e.CreateAnswered(name, found.error)
        case fx.DeleteSlice(name):
            return e.DeleteAnswered(name, found.error)
        case fx.LookAtSlice(name):
            return e.SliceLooked(name, found.error or found.seen, found.logs)
        case fx.ListZone(provider, zone):
            return e.ZoneListed(provider, zone, found.error or found.listed)


def _outcome(answer: PlatformAnswer) -> tuple[str, object]:
    """What was tried, in words, and its result or failure."""
    match answer:
        case e.CreateAnswered(name, error):
            return f"cannot create slice {name}", error
        case e.DeleteAnswered(name, error):
            return f"cannot delete slice {name}", error
        case e.SliceLooked(name, seen):
            return f"cannot look at slice {name}", seen
        case e.ZoneListed(provider, zone, listed):
            return f"cannot list zone {zone} of {provider}", listed
