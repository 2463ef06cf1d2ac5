"""The mutants by name; the other modules here add theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

Patch = pytest.MonkeyPatch


class Mutant(NamedTuple):
    """A broken rule, and a seed that noticed it once."""

    apply: Callable[[Patch], None]
    seed: int


MUTANTS: dict[str, Mutant] = {}


def breaks_a_rule(seed: int) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Adds a mutant."""

    def add(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS[apply.__name__] = Mutant(apply, seed)
        return apply

    return add
