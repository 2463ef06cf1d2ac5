"""The accelerator catalogue: what `v5litepod-16` is, and how else people write it.

Knows Google's TPU slices by name, with the hosts that they are made of; the facts
are in `iris_config.tpu_generations`. Knows nothing of quotas, of what is to be had
today, or of `cpu`, which is the caller's to tell apart.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass

from iris_config.tpu_generations import GENERATIONS, Generation

__all__ = [
    "GENERATIONS",
    "Accelerator",
    "Generation",
    "accelerator_of",
    "all_accelerators",
    "find_accelerator",
    "is_known_zone",
]

_CORES_PER_CHIP = 2
_CHIPS_PER_HOST_OF_MANY = 4
_MOST_SIZES_IN_A_MESSAGE = 8

_NAME = re.compile(r"([a-z0-9]+)-([1-9][0-9]{0,8})")
_SIZE = re.compile(r"[0-9]{1,9}")
# Enough for a letter that lacks: `v5` is near to v5e and v5p, `v7` to nothing.
_NEAR = 0.75


@dataclass(frozen=True)
class Accelerator:
    """One TPU slice type."""

    accelerator_type: str  # canonical, as Google's API takes it: "v5litepod-16"
    generation: str  # "v5e": one of GENERATIONS
    chips: int
    hosts: int  # machines in a slice
    chips_per_host: int
    topology: str  # "4x4"; the default one for that size
    host_cpu: int  # vCPUs of one host
    host_memory: int  # bytes of one host
    runtime_version: str  # default of the generation


# Groups of one file name the same few.
@functools.lru_cache(maxsize=256)
def find_accelerator(text: str) -> Accelerator:
    """The slice type that `v5litepod-16`, `v5e-16` or `V5E-16` names.

    Raises:
        ValueError: no such type; says what was expected, with a near one.
    """
    match = _NAME.fullmatch(text.strip().lower())
    generation = _prefixes().get(match[1]) if match else None
    if match is None or generation is None:
        generations = ", ".join(GENERATIONS)
        raise ValueError(
            f"expected cpu or a TPU type such as v5litepod-16;"
            f" known generations: {generations}{_hint(_near_spelling(text))}"
        )
    return accelerator_of(generation, int(match[2]))


def accelerator_of(generation: Generation, size: int) -> Accelerator:
    """The slice type with this suffix.

    Raises:
        ValueError: the generation does not come in this size.
    """
    if size not in generation.sizes:
        raise ValueError(
            f"there is no {generation.api_prefix}-{size}; {generation.name} comes in"
            f" {_sizes_in_words(generation)}{_hint(_near_size(generation, size))}"
        )
    chips = size if generation.counts == "chips" else size // _CORES_PER_CHIP
    shapes = {shape.chips: shape for shape in generation.host_shapes}
    shape = shapes.get(chips) or shapes[_CHIPS_PER_HOST_OF_MANY]
    return Accelerator(
        accelerator_type=f"{generation.api_prefix}-{size}",
        generation=generation.name,
        chips=chips,
        hosts=chips // shape.chips,
        chips_per_host=shape.chips,
        topology=generation.topologies[generation.sizes.index(size)],
        host_cpu=shape.cpu,
        host_memory=shape.memory,
        runtime_version=generation.runtime_version,
    )


@functools.cache
def all_accelerators() -> tuple[Accelerator, ...]:
    """Every slice type, by generation and size."""
    return tuple(
        accelerator_of(generation, size) for generation in GENERATIONS.values() for size in generation.sizes
    )


def is_known_zone(accelerator: Accelerator, zone: str) -> bool:
    """Whether the catalogue knows the generation to be in this zone.

    Neither answer is final: not every size is everywhere, and Google opens zones
    before the catalogue hears of them.
    """
    return zone in GENERATIONS[accelerator.generation].zones


@functools.cache
def _prefixes() -> dict[str, Generation]:
    return {
        prefix: generation
        for generation in GENERATIONS.values()
        for prefix in (generation.name, *generation.aliases)
    }


def _sizes_in_words(generation: Generation) -> str:
    sizes = [str(size) for size in generation.sizes]
    if len(sizes) > _MOST_SIZES_IN_A_MESSAGE:
        sizes[_MOST_SIZES_IN_A_MESSAGE - 1 : -1] = ["..."]
    unit = " TensorCores, two to a chip" if generation.counts == "cores" else ""
    return ", ".join(sizes) + unit


def _hint(near: str) -> str:
    return f"; did you mean {near}?" if near else ""


def _near_size(generation: Generation, size: int) -> str:
    """The size that is off by the smallest factor; of two, the larger."""
    asked = max(size, 1)
    near = min(generation.sizes, key=lambda size: (max(size, asked) / min(size, asked), -size))
    return f"{generation.api_prefix}-{near}"


def _near_spelling(text: str) -> str:
    """What may have been meant: a type, two, `cpu` or nothing."""
    # Of `tpu-v4-8`, `v5e_16` or `v4 8`, what counts is in the letters and digits.
    letters = re.sub(r"[^a-z0-9]", "", text.lower()).removeprefix("tpu")
    if letters == "cpu":
        return letters
    for prefix, generation in _prefixes().items():
        size = letters.removeprefix(prefix)
        if size != letters and _SIZE.fullmatch(size):
            return _near_size(generation, int(size))
    match = _NAME.fullmatch(text.strip().lower())
    if match is None:
        return ""
    prefixes = difflib.get_close_matches(match[1], _prefixes(), cutoff=_NEAR)
    near = [_near_size(_prefixes()[prefix], int(match[2])) for prefix in prefixes]
    return " or ".join(dict.fromkeys(near))
