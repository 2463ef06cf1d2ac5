"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# A field's place in the configuration: names, map keys and list indexes.
FieldPath = tuple[str | int, ...]
# What a rule has to say of a field: knows no positions.
Finding = tuple[FieldPath, str]


class Position(NamedTuple):
    """A place in a file; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """One mistake. `message` says what was expected and what was found.

    `position` is None where the text as a whole is meant; `field` is empty
    where it is not even YAML. A warning is about something that works.
    """

    position: Position | None
    field: str
    message: str
    is_warning: bool = False

    def render(self, source: str) -> str:
        """The line that people and their editors read."""
        source = _visible(source)
        where = f"{source}:{self.position.line}:{self.position.column}" if self.position else source
        words = ("warning" if self.is_warning else "error", self.field, self.message)
        return ": ".join((where, *filter(None, words)))


class ConfigError(ValueError):
    """A configuration that cannot be used; lists every problem, by position.

    `warnings` is what would be left to say if these were mended.
    """

    def __init__(self, source: str, problems: Iterable[Problem], warnings: Iterable[Problem] = ()) -> None:
        self.source = source
        self.problems = in_order(problems)
        self.warnings = in_order(warnings)
        super().__init__("\n".join(problem.render(source) for problem in self.problems))


def field_name(path: FieldPath) -> str:
    """A path as it is printed: `scale_groups.here.zones[0]`."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            words += f".{_visible(part)}" if words else _visible(part)
    return words


def _visible(text: str) -> str:
    """What would move the terminal's cursor, or begin a line of its own, is escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def listed_twice(path: FieldPath, values: Sequence[object]) -> Iterator[Finding]:
    """Findings about the values of a list that were there before."""
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            yield (*path, index), f"{value} is listed twice"
        seen.add(value)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems as they stand in the file, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=_order))


def _order(problem: Problem) -> tuple[Position, str, str]:
    return problem.position or Position(0, 0), problem.field, problem.message
