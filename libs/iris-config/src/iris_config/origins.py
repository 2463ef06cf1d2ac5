"""Where each value of an effective configuration came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from iris_config.environment import names_a_secret
from iris_config.fleets import Fleets
from iris_config.normalise import Normalised
from iris_config.problems import FieldPath


@dataclass(frozen=True)
class Origins:
    """Answers for one configuration that was read from a file."""

    source: str
    tree: Normalised
    fleets: Fleets
    derived: Mapping[FieldPath, str]

    def is_secret(self, path: FieldPath) -> bool:
        """Whether a value is, or has in it, what a variable with a secret's name holds."""
        written = self.fleets.source(path)
        found = (names for where, names in self.tree.variables.items() if where[: len(written)] == written)
        return any(names_a_secret(name) for names in found for name in names)

    def words(self, path: FieldPath) -> str:
        """`demo.yaml:7`, `${ZONE} in demo.yaml:7`, `default`, or what it follows from."""
        written = self.fleets.source(path)
        if self.tree.is_written(written):
            place = f"{self.source}:{self.tree.position(written).line}"
            names = ", ".join(f"${{{name}}}" for name in self.tree.variables.get(written, ()))
            return f"{names} in {place}" if names else place
        return f"default, from {self.derived[path]}" if path in self.derived else "default"
