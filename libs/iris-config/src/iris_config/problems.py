"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

# A field's place in the configuration: names, map keys and list indexes.
FieldPath = tuple[str | int, ...]


class Position(NamedTuple):
    """A place in a file; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """One mistake. `message` says what was expected and what was found.

    `position` is None where the text as a whole is meant; `field` is empty
    where it is not even YAML.
    """

    position: Position | None
    field: str
    message: str

    def render(self, source: str) -> str:
        """The line that people and their editors read."""
        where = f"{source}:{self.position.line}:{self.position.column}" if self.position else source
        return (
            f"{where}: error: {self.field}: {self.message}"
            if self.field
            else f"{where}: error: {self.message}"
        )


class ConfigError(ValueError):
    """A configuration that cannot be used; lists every problem, by position."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=_order))
        super().__init__("\n".join(problem.render(source) for problem in self.problems))


def field_name(path: FieldPath) -> str:
    """A path as it is printed: `scale_groups.here.zones[0]`."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            words += f".{part}" if words else part
    return words


def _order(problem: Problem) -> tuple[Position, str]:
    return problem.position or Position(0, 0), problem.field
