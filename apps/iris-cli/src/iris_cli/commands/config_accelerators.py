"""`iris config accelerators`."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Iterable

from iris_cli.exits import USAGE, CliError
from iris_cli.output import Output
from iris_config.accelerators import (
    GENERATIONS,
    Accelerator,
    all_accelerators,
    find_accelerator,
    is_known_zone,
)
from iris_config.units import format_size

HEADERS = ("TYPE", "GENERATION", "CHIPS", "HOSTS", "CHIPS/HOST", "TOPOLOGY")
# CPU and memory are of one host.
WIDE_HEADERS = (*HEADERS, "CPU", "MEMORY", "RUNTIME", "ZONES")


def run(options: Namespace) -> int:
    """List accelerator types."""
    output = Output(options)
    found = _wanted(options.types)
    if options.zone is not None:
        found = [accelerator for accelerator in found if is_known_zone(accelerator, options.zone)]
    if output.structured:
        output.document({"accelerators": [_record(accelerator) for accelerator in found]})
    else:
        rows = [_row(accelerator, output.wide) for accelerator in found]
        headers = WIDE_HEADERS if output.wide else HEADERS
        output.table(headers, rows, f"none of these is known to be offered in {options.zone}")
    return 0


def _wanted(words: Iterable[str]) -> list[Accelerator]:
    """What the words name, each once; everything where there are none."""
    # A dict, for its order.
    found = {accelerator: None for word in words for accelerator in _named(word)}
    return list(found or all_accelerators())


def _named(word: str) -> list[Accelerator]:
    name = word.strip().lower()
    for generation in GENERATIONS.values():
        if name in (generation.name, *generation.aliases):
            return [one for one in all_accelerators() if one.generation == generation.name]
    if name == "cpu":
        raise CliError(USAGE, "cpu is no TPU type: it stands for hosts without accelerators")
    try:
        return [find_accelerator(word)]
    except ValueError as error:
        # The list is part of this program, so a word that is not in it is a wrong
        # word, as it is in a configuration; no cluster was asked for it.
        raise CliError(USAGE, f"{word}: {error}", hint="see: iris config accelerators") from error


def _zones(accelerator: Accelerator) -> tuple[str, ...]:
    return GENERATIONS[accelerator.generation].zones


def _record(accelerator: Accelerator) -> dict[str, object]:
    return {**dataclasses.asdict(accelerator), "zones": list(_zones(accelerator))}


def _row(accelerator: Accelerator, wide: bool) -> tuple[str, ...]:
    row = (
        accelerator.accelerator_type,
        accelerator.generation,
        str(accelerator.chips),
        str(accelerator.hosts),
        str(accelerator.chips_per_host),
        accelerator.topology,
    )
    if not wide:
        return row
    return (
        *row,
        str(accelerator.host_cpu),
        format_size(accelerator.host_memory),
        accelerator.runtime_version,
        ",".join(_zones(accelerator)),
    )
