"""The same work on many hosts at once, with a bound and an answer for each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from iris_platform.base import PlatformError, Unreachable
from iris_platform.ssh.deadline import Deadline

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


def for_each(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    max_parallel: int,
    deadline_s: float,
    too_late: Callable[[Result], object] | None = None,
) -> dict[Item, Result | PlatformError]:
    """`work` on every item, at most `max_parallel` at a time, for `deadline_s` at most.

    Every item has an answer, in the order given: a result, the `PlatformError`
    that its work raised, or `Unreachable` where the time was over. Work that is
    not done by then goes on on its own until its own deadlines; `too_late` gets
    its result, to close a connection that nobody waits for any more.

    Raises:
        ValueError: `max_parallel` is below 1.
        Exception: what `work` raised that is no `PlatformError`, a mistake in
            the program; the first such, after all others have answered.
    """
    if max_parallel < 1:
        raise ValueError(f"max_parallel: {max_parallel} is below 1")
    wanted = list(dict.fromkeys(items))
    round_ = _Round(wanted, work, too_late, deadline_s)
    for _ in range(min(max_parallel, len(wanted))):
        # Daemons: what hangs in spite of its deadlines does not hold up the end of the process.
        threading.Thread(target=round_.work_off, name="ssh-fan-out", daemon=True).start()
    return round_.collect()


class _Round(Generic[Item, Result]):
    def __init__(
        self,
        items: list[Item],
        work: Callable[[Item], Result],
        too_late: Callable[[Result], object] | None,
        deadline_s: float,
    ) -> None:
        self._items = items
        self._work = work
        self._too_late = too_late
        self._deadline = Deadline(deadline_s)
        self._waiting = deque(items)
        self._begun: set[Item] = set()
        self._answers: dict[Item, Result | PlatformError] = {}
        self._mistake: Exception | None = None
        self._unanswered = len(items)
        self._closed = False
        self._changed = threading.Condition()

    def work_off(self) -> None:
        while (item := self._next()) is not None:
            self._answer(*item)

    def _next(self) -> tuple[Item] | None:
        with self._changed:
            if self._closed or not self._waiting:
                return None
            item = self._waiting.popleft()
            self._begun.add(item)
            return (item,)

    def _answer(self, item: Item) -> None:
        try:
            result = self._work(item)
        except PlatformError as error:
            self._take(item, error)
        except Exception as error:  # a mistake in the program: for whoever called, not for this thread
            with self._changed:
                self._mistake = self._mistake or error
                self._unanswered -= 1
                self._changed.notify_all()
        else:
            if not self._take(item, result) and self._too_late is not None:
                self._too_late(result)

    def _take(self, item: Item, answer: Result | PlatformError) -> bool:
        """Whether the answer was in time."""
        with self._changed:
            if self._closed:
                return False
            self._answers[item] = answer
            self._unanswered -= 1
            self._changed.notify_all()
            return True

    def collect(self) -> dict[Item, Result | PlatformError]:
        with self._changed:
            while self._unanswered and not self._deadline.has_passed:
                self._changed.wait(self._deadline.left())
            self._closed = True
            if self._mistake is not None:
                raise self._mistake
            return {
                item: self._answers[item] if item in self._answers else self._no_answer(item)
                for item in self._items
            }

    def _no_answer(self, item: Item) -> Unreachable:
        limit = f"{self._deadline.timeout_s:g} s"
        if item in self._begun:
            return Unreachable(f"{item}: no answer within {limit}; it is not known what happened there")
        return Unreachable(f"{item}: not tried: the {limit} were over before its turn")
