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

# Platform calls that may be under way at once, for each provider.
THREADS_PER_PROVIDER = 8


class Performer:
    """Platform calls of one controller. Belongs to the event loop's thread."""

    def __init__(
        self,
        managers: Mapping[str, VmManager],
        provider_of: Mapping[str, str],
        platforms: Mapping[str, Sequence[Platform]],
        post: Callable[[e.Event], None],
    ) -> None:
        """`managers` and `provider_of` by scale group, `platforms` by provider: each pool of hosts is one."""
        self._managers = managers
        self._platforms = platforms
        self._post = post
        self._troubles: dict[str, str] = {}
        self._queues: dict[str, deque[PlatformEffect]] = {}
        self._pools = {
            provider: ThreadPoolExecutor(THREADS_PER_PROVIDER, thread_name_prefix=f"platform-{provider}")
            for provider in platforms
        }
        self._provider_of = provider_of

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
        loop = asyncio.get_running_loop()
        queue = self._queues[line]
        while queue:
            effect = queue[0]
            provider = self._provider(effect)
            if provider is None:
                answer = _answer(
                    effect, e.CallFailed(Failure.UNREACHABLE, "no configured provider has its zone")
                )
            else:
                answer = await loop.run_in_executor(self._pools[provider], self._call, effect, provider)
            queue.popleft()
            self._note(line, answer)
            self._post(answer)
        del self._queues[line]

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

    def _provider(self, effect: PlatformEffect) -> str | None:
        """Whom to ask. Slices of a group that the configuration dropped are where they were made."""
        if isinstance(effect, fx.ListZone):
            return effect.provider
        known = self._provider_of.get(effect.group)
        return known or next((name for name in self._platforms if self._in_zone(name, effect.zone)), None)

    def _in_zone(self, provider: str, zone: str) -> list[Platform]:
        return [platform for platform in self._platforms[provider] if zone in platform.zones()]

    def _keepers(self, group: str, provider: str, zone: str) -> Sequence[VmManager | Platform]:
        """Who may have the slices of a group: of one that the configuration dropped, each that has its zone."""
        manager = self._managers.get(group)
        return [manager] if manager is not None else self._in_zone(provider, zone)

    def _call(self, effect: PlatformEffect, provider: str) -> PlatformAnswer:
        """One platform call; the catch-all around an effect (STYLE)."""
        error: e.CallFailed | None = None
        seen: SliceInfo | None = None
        listed: tuple[SliceInfo, ...] = ()
        logs = ""
        try:
            match effect:
                case fx.CreateSlice(name, group, zone):
                    self._managers[group].create_slice(name, zone)
                case fx.DeleteSlice(name, group, zone):
                    for keeper in self._keepers(group, provider, zone):
                        keeper.delete_slice(name, zone)
                case fx.LookAtSlice(name, group, zone, logs_of):
                    keepers = self._keepers(group, provider, zone)
                    for keeper in keepers:
                        seen = keeper.get_slice(name, zone)
                        if seen is not None:
                            logs = _ends_of_logs(keeper, name, zone, logs_of)
                            break
                case fx.ListZone(_, zone):
                    places = self._in_zone(provider, zone)
                    listed = tuple(info for place in places for info in place.list_slices({}, zone))
        except BeingDeleted as problem:
            # As it should be, and no trouble to be told.
            log.info("%s ended: %s", effect, problem)
        except PlatformError as problem:
            log.warning("%s failed: %s", effect, problem)
            error = e.CallFailed(problem.failure, str(problem))
        except Exception as problem:
            # A bug in a platform must not end the controller; what happened is not known.
            log.exception("%s raised", effect)
            error = e.CallFailed(Failure.UNREACHABLE, f"{type(problem).__name__}: {problem}")
        return _answer(effect, error, seen, listed, logs)

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


def _answer(
    effect: PlatformEffect,
    error: e.CallFailed | None,
    seen: SliceInfo | None = None,
    listed: tuple[SliceInfo, ...] = (),
    logs: str = "",
) -> PlatformAnswer:
    """The event that an effect comes back as."""
    match effect:
        case fx.CreateSlice(name):
            return e.CreateAnswered(name, error)
        case fx.DeleteSlice(name):
            return e.DeleteAnswered(name, error)
        case fx.LookAtSlice(name):
            return e.SliceLooked(name, error or seen, logs)
        case fx.ListZone(provider, zone):
            return e.ZoneListed(provider, zone, error or listed)


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
