"""What the controller's machine has: its store with its mirror, and its clocks; it survives every run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from iris_controller.codec.rows import RowWrite
from iris_controller.core.entities import Row
from iris_controller.core.values import Now
from iris_controller.shell import memory
from iris_controller.shell.store import Store as RealStore
from iris_platform.identity import Mirror
from tests.simulation.oracle import Oracle
from tests.simulation.scene import FIRST_WALL_MS
from tests.simulation.stage import Stage
from tests.simulation.store import Store

# Copies of the store that are kept.
COPIES_KEPT = 4


class Machine:
    """Its boot clock does not survive its own reboot."""

    def __init__(self, stage: Stage, oracle: Oracle) -> None:
        self.stage = stage
        self.store = Store()
        self.mirror: Mirror | None = None
        self.last_commit = 0
        self.oracle = oracle
        self._copies: list[Store] = []
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

    # -- the store that is not the last one --------------------------------------

    def copy_store(self) -> None:
        """Somebody makes a backup."""
        self._copies = [*self._copies, self.store.copy()][-COPIES_KEPT:]

    def lose_store(self) -> None:
        """The state directory is gone; mirror and keys are not."""
        self._replace(Store())

    @property
    def has_older_copy(self) -> bool:
        """Whether there is a copy of whose age the mirror can tell."""
        return bool(self._older_copies())

    def restore_store(self, pick: int) -> None:
        """Brings a copy back."""
        old = self._older_copies()
        self._replace(old[pick % len(old)].copy())

    def _older_copies(self) -> list[Store]:
        mirror = self.mirror or Mirror(0, 0)
        return [
            copy
            for copy in self._copies
            if copy.get_meta("epoch") < mirror.epoch or copy.commit_number < self.last_commit
        ]

    def _replace(self, store: Store) -> None:
        self.store = store
        self.oracle.on_store_replaced(store.load())

    def on_loaded(self, jobs: Iterable[str], epoch: int) -> None:
        """A controller has read the store, and knows these jobs."""
        self.oracle.on_loaded(jobs, epoch)


class Memory(memory.Memory):
    """The real one on the simulated machine; commits happen before the oracle's eyes."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        super().__init__(cast(RealStore, machine.store), Path("nowhere"))
        self.block = machine.stage.scene.commit_block

    def _read_mirror(self) -> Mirror | None:
        return self._machine.mirror

    def _write_mirror(self, mirror: Mirror) -> None:
        self._machine.mirror = mirror

    def _last_commit(self) -> int:
        return self._machine.last_commit

    def _note_commit(self, number: int) -> None:
        self._machine.last_commit = number

    def put(self, rows: list[RowWrite], meant: Sequence[Row | None], decided_ms: int, above: int) -> None:
        """Commits a batch that was decided at that time."""
        self.commit(rows, above)
        self._machine.oracle.on_commit(rows, meant, decided_ms)
