"""Fleets: `this generation, in these sizes, in these zones`, written out as scale groups.

The controller knows groups alone; what is said of a group that came out of a
fleet is said of the fleet's own lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from iris_config.accelerators import GENERATIONS, Generation, accelerator_of
from iris_config.problems import FieldPath, Finding, listed_twice
from iris_config.scalars import did_you_mean, nearest
from iris_proto.v1 import config_pb2

T = TypeVar("T")

# Ten times what the largest fleets have.
MAX_GROUPS = 1000
# Google has fewer.
MAX_ZONES = 250

# What a fleet says by its generation, sizes and zones.
_NOT_IN_TEMPLATE = ("name", "accelerator_type", "zones", "slice_size")

# Google's zones: `europe-west4-b` is `euw4b` for short.
_ZONE = re.compile(r"([a-z]+)-([a-z]+)([0-9]+)-([a-z])")
_COMPASS = {
    "north": "n",
    "northeast": "ne",
    "east": "e",
    "southeast": "se",
    "south": "s",
    "southwest": "sw",
    "west": "w",
    "northwest": "nw",
    "central": "c",
}
_AREAS = {"northamerica": "na", "southamerica": "sa"}


class _Origin(NamedTuple):
    """Where a group comes from; `zone` is None where it has all of the fleet's."""

    fleet: str
    size: int
    zone: int | None


@dataclass
class Fleets:
    """What became of the fleets of a configuration."""

    findings: list[Finding] = field(default_factory=list)
    groups: dict[str, _Origin] = field(default_factory=dict)

    def source(self, path: FieldPath) -> FieldPath:
        """The field that was written for one of the effective configuration."""
        if len(path) < 2 or path[0] != "scale_groups" or path[1] not in self.groups:
            return path
        origin = self.groups[str(path[1])]
        fleet, rest = ("fleets", origin.fleet), path[2:]
        if rest[:1] == ("accelerator_type",):
            return (*fleet, "sizes", origin.size)
        if rest[:1] == ("zones",):
            return (*fleet, "zones", *(rest[1:] if origin.zone is None else (origin.zone,)))
        return (*fleet, "template", *rest) if rest else fleet


def expand_fleets(config: config_pb2.IrisClusterConfig) -> Fleets:
    """Write out, in place, the groups of every fleet."""
    result = Fleets()
    for key, fleet in config.fleets.items():
        result.findings += _template_findings(key, fleet)
        result.findings += listed_twice(("fleets", key, "zones"), fleet.zones)
        result.findings += listed_twice(("fleets", key, "sizes"), fleet.sizes)
        zones = len(set(fleet.zones))
        if zones > MAX_ZONES:
            words = f"expected at most {MAX_ZONES}, found {zones}"
            result.findings.append((("fleets", key, "zones"), words))
            continue
        count = len(set(fleet.sizes)) * (zones if fleet.group_per_zone else 1)
        if len(config.scale_groups) + count > MAX_GROUPS:
            words = f"would make {count} groups; a cluster has at most {MAX_GROUPS}"
            result.findings.append((("fleets", key), words))
            continue
        if fleet.template.provider.WhichOneof("provider") not in (None, "tpu"):
            continue
        generation = GENERATIONS.get(fleet.generation)
        if generation is None and fleet.generation:
            words = f"expected one of {', '.join(GENERATIONS)}, found {fleet.generation!r}"
            hint = did_you_mean(fleet.generation, GENERATIONS)
            result.findings.append((("fleets", key, "generation"), words + hint))
            # To say what else is wrong with it in one go.
            generation = GENERATIONS.get(nearest(fleet.generation, GENERATIONS))
        if generation is not None:
            for origin, group in _groups(key, fleet, generation, result):
                _add(config, origin, group, result)
    config.ClearField("fleets")
    return result


def short_zone(zone: str) -> str:
    """`europe-west4-b` as `euw4b`; a zone of another form without its marks."""
    match = _ZONE.fullmatch(zone)
    if match is None or match[2] not in _COMPASS:
        return re.sub(r"[^a-z0-9]", "", zone.lower())
    return _AREAS.get(match[1], match[1][:2]) + _COMPASS[match[2]] + match[3] + match[4]


def _groups(
    key: str, fleet: config_pb2.FleetConfig, generation: Generation, result: Fleets
) -> Iterator[tuple[_Origin, config_pb2.ScaleGroupConfig]]:
    each = [index for index, _ in _first(fleet.zones)]
    choices: Sequence[int | None] = each if fleet.group_per_zone else [None]
    for index, size in _first(fleet.sizes):
        try:
            accelerator_type = accelerator_of(generation, size).accelerator_type
        except ValueError as error:
            result.findings.append((("fleets", key, "sizes", index), str(error)))
            continue
        for zone in choices:
            group = config_pb2.ScaleGroupConfig()
            group.CopyFrom(fleet.template)
            group.name = f"{key}-{size}"
            group.accelerator_type = accelerator_type
            group.zones[:] = fleet.zones if zone is None else [fleet.zones[zone]]
            if zone is not None:
                group.name += f"-{short_zone(fleet.zones[zone])}"
            yield _Origin(key, index, zone), group


def _first(values: Sequence[T]) -> list[tuple[int, T]]:
    """Each value once, with its first index."""
    indexes = {value: index for index, value in reversed(list(enumerate(values)))}
    return sorted((index, value) for value, index in indexes.items())


def _add(
    config: config_pb2.IrisClusterConfig,
    origin: _Origin,
    group: config_pb2.ScaleGroupConfig,
    result: Fleets,
) -> None:
    if group.name in config.scale_groups:
        earlier = result.groups.get(group.name)
        owner = f"fleet {earlier.fleet}" if earlier else "scale_groups"
        words = f"would make the group {group.name}, which {owner} already has"
        result.findings.append((("fleets", origin.fleet, "sizes", origin.size), words))
        return
    result.groups[group.name] = origin
    config.scale_groups[group.name].CopyFrom(group)


def _template_findings(key: str, fleet: config_pb2.FleetConfig) -> Iterator[Finding]:
    path = ("fleets", key, "template")
    for field_, _ in fleet.template.ListFields():
        if field_.name in _NOT_IN_TEMPLATE:
            yield (*path, field_.name), "follows from generation, sizes and zones; leave it out"
    arm = fleet.template.provider.WhichOneof("provider")
    if arm not in (None, "tpu"):
        yield (*path, "provider"), f"expected tpu, found {arm}; a fleet is of TPU slices"
