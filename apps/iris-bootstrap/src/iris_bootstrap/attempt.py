"""How both processes of the agent name attempts, and remember names for ever.

Knows nothing of what an attempt runs or how it is doing; standard library only.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# A job's id is part of paths below the host's directory.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class AttemptKey(NamedTuple):
    """One run of one task; `AttemptId` of the protos, hashable."""

    job_id: str
    task_index: int
    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.job_id}/{self.task_index}/{self.epoch}/{self.number}"

    @property
    def directory(self) -> str:
        """The name of the attempt's directory below `tasks/`."""
        return f"{self.job_id}-{self.task_index}-{self.epoch}-{self.number}"

    def check(self) -> None:
        """Refuse a key whose directory could be somewhere else.

        Raises:
            ValueError: saying which part is wrong.
        """
        if not _SAFE.fullmatch(self.job_id):
            raise ValueError(
                f"job id {self.job_id!r}: expected letters, digits, '.', '_' and '-', at most 128"
            )
        if min(self.task_index, self.epoch, self.number) < 0:
            raise ValueError(f"attempt {self}: expected no negative number")


def parse_key(text: str) -> AttemptKey:
    """The key that `str` made.

    Raises:
        ValueError: it made no such text.
    """
    job_id, *numbers = text.rsplit("/", 3)
    if len(numbers) != 3:
        raise ValueError(f"not an attempt: {text!r}")
    return AttemptKey(job_id, int(numbers[0]), int(numbers[1]), int(numbers[2]))


class SeenRange(NamedTuple):
    """Tasks `first` to `last` of a job, in one epoch and attempt number."""

    job_id: str
    epoch: int
    number: int
    first: int
    last: int


class SeenKeys:
    """Every key that was ever added; none is ever taken out.

    Kept as ranges of task indexes: an agent remembers each attempt for as long
    as its slice lives, and a job of a hundred thousand tasks is one line.
    """

    def __init__(self, ranges: Iterable[SeenRange] = ()) -> None:
        # The first and last indexes of the ranges of each group, both ascending.
        self._groups: dict[tuple[str, int, int], tuple[list[int], list[int]]] = {}
        for seen in ranges:
            self.add_range(seen)

    def __contains__(self, key: AttemptKey) -> bool:
        group = self._groups.get((key.job_id, key.epoch, key.number))
        if group is None:
            return False
        firsts, lasts = group
        at = bisect_right(firsts, key.task_index) - 1
        return at >= 0 and key.task_index <= lasts[at]

    def add(self, key: AttemptKey) -> None:
        """Remember a key; again is harmless."""
        self.add_range(SeenRange(key.job_id, key.epoch, key.number, key.task_index, key.task_index))

    def add_range(self, seen: SeenRange) -> None:
        """Remember all keys of a range; again is harmless."""
        firsts, lasts = self._groups.setdefault((seen.job_id, seen.epoch, seen.number), ([], []))
        first, last = seen.first, seen.last
        # The ranges from `low` up to `high` touch the new one and become one with it.
        low = bisect_left(lasts, first - 1)
        high = bisect_right(firsts, last + 1)
        if low < high:
            first, last = min(first, firsts[low]), max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]

    def ranges(self) -> Iterator[SeenRange]:
        """All keys, for `SeenKeys(ranges)` to take up again."""
        for (job_id, epoch, number), (firsts, lasts) in self._groups.items():
            for first, last in zip(firsts, lasts, strict=True):
                yield SeenRange(job_id, epoch, number, first, last)
