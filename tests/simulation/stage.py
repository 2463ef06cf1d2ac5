"""What every part of a simulation stands on: time, faults, chance, the scene and the story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.simulation.engine import Engine
from tests.simulation.faults import Faults, Single
from tests.simulation.scene import Scene, make_scene
from tests.simulation.story import Story


@dataclass(frozen=True)
class Stage:
    """Shared by all parts; none of them draws from another's stream of chance."""

    engine: Engine
    faults: Faults
    scene: Scene
    story: Story

    def random(self, name: str) -> Random:
        """A stream of chance for one part."""
        return Random(f"{self.scene.seed}/{name}")


def make_stage(seed: int, say: Callable[[str], None] | None = None, single: Single | None = None) -> Stage:
    """The stage of a seed; `say` gets every line of the story at once, `single` is its only fault."""
    engine = Engine()
    return Stage(engine, Faults(seed, single), make_scene(seed), Story(engine, say))
