"""The tasks that wait for a worker, in the order in which they shall get one.

Tasks of one shape are interchangeable, so they queue together: a shape that
does not fit anywhere is looked at once, however many tasks have it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from iris_controller.core.values import Shape, TaskId


class Turn(NamedTuple):
    """A waiting job's turn: earlier submissions come first."""

    order: int
    job_id: str


class PendingQueue:
    """Waiting tasks by shape, then job in order of submission, then index.

    `held` jobs wait too, but their turn does not come: what they wait with may
    still run somewhere.
    """

    def __init__(self) -> None:
        self._turns: dict[Shape, list[Turn]] = {}
        self._tasks: dict[str, deque[int]] = {}
        self.held: dict[str, None] = {}
        self._count = 0

    @property
    def turns(self) -> Mapping[Shape, Sequence[Turn]]:
        """The waiting jobs of each shape, in order."""
        return self._turns

    def waiting(self, job_id: str) -> Sequence[int]:
        """The indices of a job's waiting tasks, first turn first."""
        return self._tasks.get(job_id, ())

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def add(self, shape: Shape, turn: Turn, indices: Iterable[int]) -> None:
        """Queues tasks of a job; those that come back go before its others, a gang's in their order."""
        tasks = self._tasks.get(turn.job_id)
        if tasks is None:
            tasks = self._tasks[turn.job_id] = deque()
            if turn.job_id not in self.held:
                insort(self._turns.setdefault(shape, []), turn)
        new = list(indices)
        # Of one that was found in parts some have waited all the time.
        is_mixed = shape.together > 1 and bool(tasks and new) and new[-1] > tasks[0]
        tasks.extendleft(reversed(new))
        if is_mixed:
            self._tasks[turn.job_id] = deque(sorted(tasks))
        self._count += len(new)

    def remove(self, shape: Shape, turn: Turn, task: TaskId) -> None:
        """Takes one task out; cheap for the one whose turn it is."""
        tasks = self._tasks[task.job_id]
        if tasks[0] == task.task_index:
            tasks.popleft()
        else:
            tasks.remove(task.task_index)
        self._count -= 1
        if not tasks:
            self._drop(shape, turn)

    def remove_job(self, shape: Shape, turn: Turn) -> Sequence[int]:
        """Takes all of a job's tasks out and returns their indices."""
        indices = self._tasks.get(turn.job_id)
        if indices is None:
            return ()
        self._count -= len(indices)
        self._drop(shape, turn)
        return indices

    def hold(self, shape: Shape, turn: Turn) -> None:
        """Passes a job over until `unhold`."""
        if turn.job_id not in self.held:
            self.held[turn.job_id] = None
            if turn.job_id in self._tasks:
                self._drop_turn(shape, turn)

    def unhold(self, shape: Shape, turn: Turn) -> None:
        """Gives a job its turn back."""
        del self.held[turn.job_id]
        if turn.job_id in self._tasks:
            insort(self._turns.setdefault(shape, []), turn)

    def _drop(self, shape: Shape, turn: Turn) -> None:
        del self._tasks[turn.job_id]
        if turn.job_id not in self.held:
            self._drop_turn(shape, turn)

    def _drop_turn(self, shape: Shape, turn: Turn) -> None:
        turns = self._turns[shape]
        del turns[bisect_left(turns, turn)]
        if not turns:
            del self._turns[shape]
