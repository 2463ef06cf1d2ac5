"""What happened, line by line, for the reader of a seed that failed; and its digest.

Two runs that tell the same story, word for word, are the same run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b

from tests.simulation.engine import Engine

LINES_KEPT = 50_000
LAST_LINES = 25


class Objection(Exception):
    """Something that must never be so. `about` names whom it concerns."""

    def __init__(self, code: str, words: str, about: Iterable[object] = ()) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
        self.about = [str(who) for who in about]


class Story:
    """The lines so far; `say` gets each at once."""

    def __init__(self, engine: Engine, say: Callable[[str], None] | None = None) -> None:
        self._engine = engine
        self._say = say
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._hash = blake2b(digest_size=16)

    def tell(self, who: str, what: str) -> None:
        """Adds a line about somebody."""
        line = f"{self._engine.now_ms / 1000:10.3f}  {who}: {what}"
        self._hash.update(line.encode())
        self._lines.append(line)
        if self._say is not None:
            self._say(line)

    @property
    def digest(self) -> str:
        """Stands for every line so far."""
        return self._hash.hexdigest()

    def about(self, names: Iterable[str]) -> list[str]:
        """The lines that mention any of these."""
        wanted = list(names)
        return [line for line in self._lines if any(name in line for name in wanted)]

    def last(self) -> list[str]:
        """The end of the story."""
        return list(self._lines)[-LAST_LINES:]
