"""The loop: gathers events, applies them as a batch, commits, then lets effects go.

Nothing of a batch leaves before its commit: no answer, no acknowledgement, no
effect, no view. While a batch is being committed, the next one gathers.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from iris_controller.codec.rows import writes
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import JobStatus, Record, Settings, Slice, Task
from iris_controller.core.restore import restore
from iris_controller.core.states import SliceGone
from iris_controller.core.step import step
from iris_controller.core.values import Now, Reason
from iris_controller.core.view import View, findings, view_of
from iris_controller.core.world import Changes, World
from iris_controller.shell.hub import EVENTS, Hub
from iris_controller.shell.memory import Memory

log = logging.getLogger(__name__)

# Events in one batch at most, and waiting ones beyond which callers are held
# back or refused.
BATCH_EVENTS = 1_000
MOST_WAITING = 50_000
TICK_S = 0.25


class Overloaded(Exception):
    """More waits than can be handled soon; the caller may try again later."""


class NotCommitted(Exception):
    """The batch could not be written; nothing of it happened."""


class StoreBroken(Exception):
    """The disk failed under the store."""


class SteppedDown(Exception):
    """A newer controller of this cluster exists."""


@dataclass(slots=True)
class _Posted:
    event: e.Event
    answer: asyncio.Future[fx.Answer] | None = None


class Controller:
    """One world and its loop. Belongs to the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        epoch: int,
        memory: Memory,
        clock: Callable[[], Now],
        deliver: Callable[[fx.Effect], None],
    ) -> None:
        """`deliver` carries out one effect, without blocking, after its commit."""
        self._settings = settings
        self._epoch = epoch
        self._memory = memory
        self._clock = clock
        self._deliver = deliver
        self._inbox: deque[_Posted] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._store_thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self.hub = Hub()
        self.history = memory.history()
        self.last_batch_boot_ms = clock().boot_ms
        # Why the last commit failed; empty when it did not.
        self.store_trouble = ""
        self.world, self.view = self._load()
        if memory.incomplete:
            self.post(e.StoreFoundOlder(memory.incomplete))

    @property
    def epoch(self) -> int:
        """This start's number; larger than any before."""
        return self._epoch

    @property
    def commit_number(self) -> int:
        """The number of the last commit, for acknowledgements."""
        return self._memory.commit_number

    def _load(self) -> tuple[World, View]:
        world = restore(self._settings, self._epoch, self._memory.load(), self._clock())
        return world, view_of(world)

    def _reload(self) -> tuple[World, View]:
        """What is committed; what the last decision found goes on to be shown, until there is a next one."""
        found = self.view.findings
        world, view = self._load()
        view.findings = replace(
            view.findings,
            waits=found.waits,
            wanted=found.wanted,
            availability=found.availability,
            in_line=found.in_line,
        )
        return world, view

    async def view_with(self, job_id: str) -> View:
        """The view, and the tasks of this job are in it, however long ago it ended.

        Once they are there, they stay until the view is loaded again: ask
        again after every wait.
        """
        while job_id in self.view.archived:
            view, tasks = self.view, await self.history.tasks(job_id)
            view.recall(job_id, tasks)
        return self.view

    def post(self, event: e.Event) -> None:
        """Hands over what has happened already and cannot be refused."""
        self._inbox.append(_Posted(event))
        self._arrived.set()

    async def tell(self, event: e.Event) -> None:
        """Hands over an agent's message; waits while too much is waiting."""
        while len(self._inbox) >= MOST_WAITING:
            self._room.clear()
            await self._room.wait()
        self.post(event)

    async def ask(self, event: e.Event) -> fx.Answer:
        """Hands over a request and waits until its outcome is durable.

        Raises:
            Overloaded: too much is waiting.
            NotCommitted: the store refused the batch.
        """
        if len(self._inbox) >= MOST_WAITING:
            raise Overloaded(f"{len(self._inbox)} events are waiting")
        answer: asyncio.Future[fx.Answer] = asyncio.get_running_loop().create_future()
        self._inbox.append(_Posted(event, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Handles events until cancelled.

        Raises:
            SteppedDown: a newer controller exists.
        """
        while True:
            await self._arrived.wait()
            batch = self._take()
            if self.store_trouble and not await self._store_works():
                self._drop(batch, self.store_trouble)
            else:
                await self._handle(batch)

    async def tick(self) -> None:
        """Lets the core see time pass, until cancelled."""
        while True:
            self.post(e.Tick())
            await asyncio.sleep(TICK_S)

    def _take(self) -> list[_Posted]:
        count = min(len(self._inbox), BATCH_EVENTS)
        batch = [self._inbox.popleft() for _ in range(count)]
        if not self._inbox:
            self._arrived.clear()
        if len(self._inbox) < MOST_WAITING:
            self._room.set()
        return batch

    async def _handle(self, batch: list[_Posted]) -> None:
        now = self._clock()
        effects: list[fx.Effect] = []
        answers: list[tuple[asyncio.Future[fx.Answer], fx.Answer]] = []
        for posted in batch:
            outcome = step(self.world, posted.event, now)
            effects += outcome.effects
            if posted.answer is not None and outcome.answer is not None:
                answers.append((posted.answer, outcome.answer))
        effects += step(self.world, e.Decide(), now).effects
        changes = self.world.take_changes()
        if changes and not await self._commit(changes, batch, effects):
            return
        self._publish(changes)
        for future, answer in answers:
            if not future.done():
                future.set_result(answer)
        for effect in effects:
            if isinstance(effect, fx.StepDown):
                raise SteppedDown(effect.reason.message)
        for effect in effects:
            self._deliver(effect)
        self.last_batch_boot_ms = now.boot_ms

    async def _commit(self, changes: Changes, batch: list[_Posted], effects: Iterable[fx.Effect]) -> bool:
        rows = writes(changes)
        above = self.world.cluster.commits_lost
        trouble = await self._try(lambda: self._memory.commit(rows, above))
        if trouble:
            log.error("commit of %d rows failed, the batch is dropped: %s", len(rows), trouble)
            self.store_trouble = f"cannot write the store: {trouble}"
            self._drop(batch, self.store_trouble)
            # Those that the batch ended are open still, and nobody would answer them any more.
            ended = [effect.session_id for effect in effects if isinstance(effect, fx.RefuseSession)]
            for session_id in [*self.world.sessions, *ended]:
                self._refuse(session_id)
            self.world, self.view = self._reload()
            self.hub.notify_all()
        return not trouble

    async def _store_works(self) -> bool:
        """Whether a write succeeds again, after one that failed."""
        trouble = await self._try(self._memory.probe)
        self.store_trouble = f"cannot write the store: {trouble}" if trouble else ""
        if not trouble:
            log.info("the store can be written again")
        return not trouble

    async def _try(self, write: Callable[[], object]) -> str:
        """Writes on the store's thread; why it failed, or nothing.

        Raises:
            StoreBroken: what reached the disk is not known any more.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._store_thread, write)
        except (sqlite3.OperationalError, OSError) as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_IOERR"):
                # Only a new start can tell.
                raise StoreBroken(str(error)) from error
            return str(error)
        return ""

    def _drop(self, batch: list[_Posted], trouble: str) -> None:
        """Forgets a batch: its callers are told, agents dial again and report anew."""
        for posted in batch:
            if posted.answer is not None and not posted.answer.done():
                posted.answer.set_exception(NotCommitted(trouble))
            if isinstance(posted.event, e.AgentHello):
                self._refuse(posted.event.session_id)
        if self._memory.incomplete:
            # Not on record yet; it goes with the next batch, and before all else.
            self._inbox.appendleft(_Posted(e.StoreFoundOlder(self._memory.incomplete)))

    def _refuse(self, session_id: int) -> None:
        why = Reason("store", "the controller could not write its store")
        self._deliver(fx.RefuseSession(session_id, why))

    def _publish(self, changes: Changes) -> None:
        waits = self.view.findings.waits
        self.view.apply(changes)
        self.view.findings = findings(self.world)
        # What waits for a log hears that no more of it can come.
        gone = any(isinstance(row, Slice) and isinstance(row.state, SliceGone) for row in changes.values())
        if gone or self.view.findings.waits != waits:
            self.hub.notify_all()
            return
        topics: dict[str, None] = {}
        for row in changes.values():
            match row:
                case Task():
                    topics[row.id.job_id] = None
                case JobStatus():
                    topics[row.job_id] = None
                case Record():
                    topics[EVENTS] = None
                case _:
                    pass
        self.hub.notify(topics)

    async def close(self) -> None:
        """Ends the store's thread after the commit that is under way."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._store_thread, self._memory.close)
        self._store_thread.shutdown()
        await self.history.close()
