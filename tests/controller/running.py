"""A controller that runs in the test's own event loop, on a real store, under a clock that stands still.

Platforms are played by the test: what the controller wants done is in `delivered`.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from iris_controller.codec.rows import RowWrite
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import GroupPolicy, Settings
from iris_controller.core.values import AttemptId, JobSpec, Now, Place, TaskId
from iris_controller.shell.controller import Controller
from iris_controller.shell.memory import Memory
from iris_controller.shell.store import Store
from iris_platform.base import SliceCloudState, VmState
from tests.controller.agents import REPORTED, spec
from tests.controller.stores import CIPHER
from tests.controller.worlds import CLUSTER_ID, EPOCH, START, group, info, settings

# Far beyond what anything here takes, so that a hang fails and a slow machine does not.
PATIENCE_S = 90.0


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs an asynchronous test to its end."""

    async def bounded() -> None:
        await asyncio.wait_for(test(), PATIENCE_S)

    asyncio.run(bounded())


class SlowStore(Store):
    """A store whose commits can be held up; `commits` are the sizes of its batches."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.commits: list[int] = []
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.is_committing = threading.Event()

    def commit(self, writes: list[RowWrite], number: int = 0) -> int:  # type: ignore[override]
        self.is_committing.set()
        assert self.may_commit.wait(PATIENCE_S)
        number = super().commit(writes, number)
        self.commits.append(len(writes))
        return number

    def fill_the_disk(self) -> None:
        """SQLite's own limit: every commit that needs another page fails as on a full disk."""
        (pages,) = self.db.execute("PRAGMA page_count").fetchone()
        self.db.execute(f"PRAGMA max_page_count={pages}")

    def free_the_disk(self) -> None:
        self.db.execute("PRAGMA max_page_count=1000000")


class Running:
    """One controller and what it wanted done."""

    def __init__(self, home: Path, its_settings: Settings) -> None:
        self.store = SlowStore(home / "iris.db")
        self.store.open()
        self.store.unlock(CIPHER)
        self.memory = Memory(self.store, home / "pki")
        self.now = START
        self.delivered: list[fx.Effect] = []
        epoch = self.memory.begin(EPOCH, 0)
        self.controller = Controller(its_settings, epoch, self.memory, self.clock, self.deliver)
        self._requests = itertools.count(1)
        self._sessions = itertools.count(1)

    def clock(self) -> Now:
        return self.now

    def deliver(self, effect: fx.Effect) -> None:
        self.delivered.append(effect)

    def wanted(self, kind: type[Any]) -> list[Any]:
        """The effects of one kind so far."""
        return [effect for effect in self.delivered if isinstance(effect, kind)]

    async def happens(self, *events: e.Event) -> None:
        """Posts events and waits until they are committed and published."""
        for event in events:
            self.controller.post(event)
        await self.controller.ask(e.ShutdownEnded())

    async def submit(self, wanted: JobSpec | None = None, request: str = "") -> str:
        number = next(self._requests)
        answer = await self.controller.ask(
            e.JobSubmitted(request or f"r{number}", f"j{number}", wanted or spec())
        )
        assert isinstance(answer, fx.JobAnswer)
        return answer.job_id

    async def boots(self) -> int:
        """The slice that was asked for last comes up; returns its first host's session."""
        name = self.wanted(fx.CreateSlice)[-1].slice_name
        row = self.controller.view.slices[name]
        await self.happens(
            e.SliceLooked(name, info(name, [VmState.RUNNING] * row.hosts, SliceCloudState.RUNNING))
        )
        sessions = [next(self._sessions) for _ in range(row.hosts)]
        await self.happens(*(self.hello(Place(name, i), session) for i, session in enumerate(sessions)))
        return sessions[0]

    def hello(self, place: Place, session: int, *seen: e.ObservedAttempt) -> e.AgentHello:
        offer = next(iter(self.controller.world.settings.groups.values())).host_resources
        return e.AgentHello(session, CLUSTER_ID, place, "boot", "", 0, offer, "1", seen)

    async def says(self, session: int, attempt: AttemptId, *states: REPORTED) -> None:
        reports = tuple(e.AttemptReport(attempt, state) for state in states)
        await self.happens(e.AgentReports(session, 1, reports))

    async def gone(self, name: str) -> None:
        """A slice is found dead, and then not at all."""
        await self.happens(e.SliceLooked(name, None))
        await self.happens(e.SliceLooked(name, None))

    def attempt(self, job_id: str, index: int = 0) -> AttemptId:
        """The latest attempt that readers are shown."""
        attempt = self.controller.view.task(TaskId(job_id, index)).attempt
        assert attempt is not None
        return attempt.id

    def state(self, job_id: str) -> str:
        return self.controller.view.statuses[job_id].state.name


@asynccontextmanager
async def running(home: Path, *groups: GroupPolicy) -> AsyncIterator[Running]:
    """A controller whose loop runs; closed at the end."""
    it = Running(home, settings(*(groups or (group(),))))
    loop = asyncio.create_task(it.controller.run())
    try:
        yield it
    finally:
        it.store.may_commit.set()
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await it.controller.close()
