"""Answers to slow questions: asked once for all who want them at the same time, and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from iris_platform.base import Unreachable

MOST_KEPT = 1000
# What could not be had is asked for again this soon.
FAILED_S = 2.0

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Kept(Generic[Answer]):
    asked_s: float
    coming: asyncio.Future[Answer]


class Shared(Generic[Key, Answer]):
    """For one event loop; the question is asked on a thread of `pool`."""

    def __init__(
        self,
        ask: Callable[[Key], Answer],
        pool: ThreadPoolExecutor,
        clock_s: Callable[[], float],
        *,
        keep_s: float,
        deadline_s: float,
    ) -> None:
        """What `ask` raises has to be a `PlatformError`; it is kept for `FAILED_S`."""
        self._ask = ask
        self._pool = pool
        self._clock_s = clock_s
        self._keep_s = keep_s
        self._deadline_s = deadline_s
        self._kept: dict[Key, _Kept[Answer]] = {}

    async def get(self, key: Key, newer_than_s: float = -1.0) -> tuple[Answer, float]:
        """The answer, asked for after `newer_than_s`; and when it was asked for.

        Raises:
            PlatformError: the question's own, or no answer came in time.
        """
        now_s = self._clock_s()
        kept = self._kept.get(key)
        if kept is None or now_s - kept.asked_s >= self._life_s(kept) or kept.asked_s <= newer_than_s:
            kept = self._kept[key] = _Kept(now_s, self._begin(key))
            self._forget(now_s)
        try:
            # Others may wait for the same.
            return await asyncio.wait_for(asyncio.shield(kept.coming), self._deadline_s), kept.asked_s
        except TimeoutError as error:
            raise Unreachable(f"no answer within {self._deadline_s:g} s") from error

    def _life_s(self, kept: _Kept[Answer]) -> float:
        has_failed = (
            kept.coming.done() and not kept.coming.cancelled() and kept.coming.exception() is not None
        )
        return min(FAILED_S, self._keep_s) if has_failed else self._keep_s

    def _begin(self, key: Key) -> asyncio.Future[Answer]:
        coming = asyncio.get_running_loop().run_in_executor(self._pool, self._ask, key)
        # Whoever waited may be gone by then; it is no defect that nobody hears of it.
        coming.add_done_callback(lambda done: done.cancelled() or done.exception())
        return coming

    def _forget(self, now_s: float) -> None:
        if len(self._kept) > MOST_KEPT:
            self._kept = {k: v for k, v in self._kept.items() if now_s - v.asked_s < self._keep_s}
