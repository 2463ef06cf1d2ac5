"""What the controller's machine has: its store and its clocks; and the runs of the controller on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from iris_controller.codec.rows import RowWrite
from iris_controller.core.entities import Row
from iris_controller.core.values import Now
from tests.simulation.oracle import Oracle
from tests.simulation.scene import FIRST_WALL_MS
from tests.simulation.stage import Stage
from tests.simulation.store import Store


class Machine:
    """Survives every run of the controller; its boot clock does not survive its own reboot."""

    def __init__(self, stage: Stage, oracle: Oracle) -> None:
        self.stage = stage
        self.store = Store()
        self._oracle = oracle
        self._booted_ms = -3_600_000
        self._wall_shift_ms = 0
        self.stalled_until_ms = 0

    def now(self) -> Now:
        """This moment on its clocks."""
        now_ms = self.stage.engine.now_ms
        return Now(now_ms - self._booted_ms, FIRST_WALL_MS + now_ms + self._wall_shift_ms)

    def reboot(self) -> None:
        """The boot clock begins anew."""
        self._booted_ms = self.stage.engine.now_ms - 10_000

    def shift_wall(self, by_ms: int) -> None:
        """Somebody sets the wall clock."""
        self._wall_shift_ms += by_ms

    def next_epoch(self, highest_seen: int) -> int:
        """Commits the number of a new run; see `shell.memory`."""
        self.store.epoch = max(self.now().wall_ms, self.store.epoch, highest_seen) + 1
        return self.store.epoch

    def on_loaded(self, jobs: Iterable[str]) -> None:
        """A controller has read the store, and knows these jobs."""
        self._oracle.on_loaded(jobs)

    def commit(self, rows: list[RowWrite], meant: Sequence[Row | None], decided_ms: int) -> None:
        """Puts a batch into the store, before the oracle's eyes."""
        self.store.commit(rows)
        self._oracle.on_commit(rows, meant, decided_ms)
