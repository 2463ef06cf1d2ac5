"""What is known of each TPU generation: sizes, default topologies, hosts, zones.

Only data; `iris_config.accelerators` reads it. Facts as published, looked up on
2026-11-22 in stored copies of the pages, so a zone may have come or gone since:

- sizes: "TPU v2", "TPU v5e", "TPU v5p" and "TPU v6e" of the Cloud TPU documentation
  (docs.cloud.google.com/tpu/docs/v2 ...), for v3 "TPU regions and zones", and for
  all what the API lists (skypilot-org/skypilot-catalog, catalogs/v8/gcp/vms.csv);
- topologies: the same pages of v5e, v5p and v6e; for v4 and the rest of v5p
  AI-Hypercomputer/xpk, src/xpk/core/system_characteristics.py;
- vCPUs and memory: "TPU v5e" and "TPU v5p"; for v3, v4 and v6e the machine types
  ct3, ct4p and ct6e as the GKE cluster autoscaler has them;
- runtime versions: "TPU software versions" (docs.cloud.google.com/tpu/docs/runtimes);
- zones: "TPU regions and zones" (docs.cloud.google.com/tpu/docs/regions-zones),
  those for single tenants included, and the zones in which the API lists the
  type (the SkyPilot catalogue again).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

# The pages write GB. Taken as GiB, which is what "Plan TPUs in GKE" is quoted to
# have over the same figures of v6e.
GIB = 1024**3


@dataclass(frozen=True)
class HostShape:
    """One machine with TPU chips. What its kernel leaves to programs is some 2% less memory."""

    chips: int
    cpu: int  # vCPUs
    memory: int  # bytes


@dataclass(frozen=True)
class Generation:
    """A generation of TPUs, as slices of it are named and built."""

    name: str  # "v5e": what people say
    aliases: tuple[str, ...]  # further prefixes that are understood
    api_prefix: str  # "v5litepod": what Google's API takes
    counts: Literal["chips", "cores"]  # what the suffix counts; two TensorCores are one chip
    sizes: tuple[int, ...]  # the suffixes that exist, ascending
    topologies: tuple[str, ...]  # the default one of each size
    # A slice of as many chips as a shape has is one such host; larger slices
    # are made of hosts with four chips.
    host_shapes: tuple[HostShape, ...]
    runtime_version: str
    zones: tuple[str, ...]  # sorted; not every size is in every zone


# No page of Google's that was found has the topologies of v2 and v3: these are
# the squares and double squares that GKE offers of v3.
_V2_TOPOLOGIES = {8: "2x2", 32: "4x4", 128: "8x8", 256: "8x16", 512: "16x16"}
_V3_TOPOLOGIES = {
    8: "2x2",
    32: "4x4",
    64: "4x8",
    128: "8x8",
    256: "8x16",
    512: "16x16",
    1024: "16x32",
    2048: "32x32",
}
# v5e and v6e, which count chips.
_FLAT_TOPOLOGIES = {
    1: "1x1",
    4: "2x2",
    8: "2x4",
    16: "4x4",
    32: "4x8",
    64: "8x8",
    128: "8x16",
    256: "16x16",
}

# v4 and v5p, which count cores: less than a cube of 64 chips, then whole cubes.
_PARTS_OF_A_CUBE = {8: "2x2x1", 16: "2x2x2", 32: "2x2x4", 64: "2x4x4"}
# Of the shapes of a size, the default is the one nearest to a cube ("TPU types
# and topologies"). Numbers of cubes that are missing would be longer than 256 chips.
# fmt: off
_CUBES = {
    1: "4x4x4", 2: "4x4x8", 3: "4x4x12", 4: "4x8x8",
    5: "4x4x20", 6: "4x8x12", 7: "4x4x28", 8: "8x8x8",
    9: "4x12x12", 10: "4x8x20", 11: "4x4x44", 12: "8x8x12",
    13: "4x4x52", 14: "4x8x28", 15: "4x12x20", 16: "8x8x16",
    17: "4x4x68", 18: "8x12x12", 19: "4x4x76", 20: "8x8x20",
    21: "4x12x28", 22: "4x8x44", 23: "4x4x92", 24: "8x12x16",
    25: "4x20x20", 26: "4x8x52", 27: "12x12x12", 28: "8x8x28",
    29: "4x4x116", 30: "8x12x20", 31: "4x4x124", 32: "8x16x16",
    33: "4x12x44", 34: "4x8x68", 35: "4x20x28", 36: "12x12x16",
    37: "4x4x148", 38: "4x8x76", 39: "4x12x52", 40: "8x16x20",
    41: "4x4x164", 42: "8x12x28", 43: "4x4x172", 44: "8x8x44",
    45: "12x12x20", 46: "4x8x92", 47: "4x4x188", 48: "12x16x16",
    49: "4x28x28", 50: "8x20x20", 51: "4x12x68", 52: "8x8x52",
    53: "4x4x212", 54: "12x12x24", 55: "4x20x44", 56: "8x16x28",
    57: "4x12x76", 58: "4x8x116", 59: "4x4x236", 60: "12x16x20",
    61: "4x4x244", 62: "4x8x124", 63: "12x12x28", 64: "16x16x16",
    65: "4x20x52", 66: "8x12x44", 68: "8x8x68", 69: "4x12x92",
    70: "8x20x28", 72: "12x16x24", 74: "4x8x148", 75: "12x20x20",
    76: "8x8x76", 77: "4x28x44", 78: "8x12x52", 80: "16x16x20",
    81: "12x12x36", 82: "4x8x164", 84: "12x16x28", 85: "4x20x68",
    86: "4x8x172", 87: "4x12x116", 88: "8x16x44", 90: "12x20x24",
    91: "4x28x52", 92: "8x8x92", 93: "4x12x124", 94: "4x8x188",
    95: "4x20x76", 96: "16x16x24",
}
# fmt: on
_CORES_PER_CUBE = 128
_MOST_V4_CUBES = 48


def _in_cubes(most: int) -> dict[int, str]:
    whole = {count * _CORES_PER_CUBE: topology for count, topology in _CUBES.items() if count <= most}
    return _PARTS_OF_A_CUBE | whole


_V4_TOPOLOGIES = _in_cubes(_MOST_V4_CUBES)
_V5P_TOPOLOGIES = _in_cubes(max(_CUBES))

_V2 = Generation(
    name="v2",
    aliases=(),
    api_prefix="v2",
    counts="cores",
    sizes=tuple(_V2_TOPOLOGIES),
    topologies=tuple(_V2_TOPOLOGIES.values()),
    # No page has them: taken to be as those of v3.
    host_shapes=(HostShape(chips=4, cpu=96, memory=340 * GIB),),
    runtime_version="tpu-ubuntu2204-base",
    zones=(
        "asia-east1-c",
        "europe-west4-a",
        "us-central1-a",
        "us-central1-b",
        "us-central1-c",
        "us-central1-f",
    ),
)

_V3 = Generation(
    name="v3",
    aliases=(),
    api_prefix="v3",
    counts="cores",
    sizes=tuple(_V3_TOPOLOGIES),
    topologies=tuple(_V3_TOPOLOGIES.values()),
    # ct3-hightpu-4t. GKE makes larger slices of ct3p, which has 48 vCPUs; of the
    # hosts that the TPU API makes, only those of a v3-8 are described.
    host_shapes=(HostShape(chips=4, cpu=96, memory=340 * GIB),),
    runtime_version="tpu-ubuntu2204-base",
    zones=("europe-west4-a", "us-central1-a", "us-central1-b", "us-central1-f", "us-east1-d"),
)

_V4 = Generation(
    name="v4",
    aliases=(),
    api_prefix="v4",
    counts="cores",
    sizes=tuple(_V4_TOPOLOGIES),
    topologies=tuple(_V4_TOPOLOGIES.values()),
    host_shapes=(HostShape(chips=4, cpu=240, memory=407 * GIB),),  # ct4p-hightpu-4t
    runtime_version="tpu-ubuntu2204-base",
    zones=("us-central2-b",),
)

_V5E = Generation(
    name="v5e",
    aliases=("v5litepod", "v5lite"),
    api_prefix="v5litepod",
    counts="chips",
    sizes=tuple(_FLAT_TOPOLOGIES),
    topologies=tuple(_FLAT_TOPOLOGIES.values()),
    host_shapes=(
        HostShape(chips=1, cpu=24, memory=48 * GIB),  # ct5lp-hightpu-1t
        HostShape(chips=4, cpu=112, memory=192 * GIB),
        HostShape(chips=8, cpu=224, memory=384 * GIB),
    ),
    runtime_version="v2-alpha-tpuv5-lite",
    zones=(
        "asia-east1-a",
        "asia-east1-b",
        "asia-east1-c",
        "asia-northeast1-b",
        "asia-southeast1-b",
        "europe-north1-a",
        "europe-north1-c",
        "europe-west1-b",
        "europe-west1-c",
        "europe-west3-c",
        "europe-west4-a",
        "europe-west4-b",
        "northamerica-northeast1-b",
        "southamerica-west1-b",
        "southamerica-west1-c",
        "us-central1-a",
        "us-east1-b",
        "us-east1-c",
        "us-east4-b",
        "us-east5-a",
        "us-east5-b",
        "us-east5-c",
        "us-south1-a",
        "us-south1-b",
        "us-west1-c",
        "us-west4-a",
        "us-west4-b",
    ),
)

_V5P = Generation(
    name="v5p",
    aliases=(),
    api_prefix="v5p",
    counts="cores",
    sizes=tuple(_V5P_TOPOLOGIES),
    topologies=tuple(_V5P_TOPOLOGIES.values()),
    host_shapes=(HostShape(chips=4, cpu=208, memory=448 * GIB),),  # ct5p-hightpu-4t
    runtime_version="v2-alpha-tpuv5",
    zones=(
        "europe-west1-b",
        "europe-west1-d",
        "europe-west4-b",
        "us-central1-a",
        "us-east1-d",
        "us-east5-a",
        "us-east5-b",
        "us-east5-c",
        "us-south1-a",
        "us-south1-b",
        "us-south1-c",
    ),
)

_V6E = Generation(
    name="v6e",
    aliases=(),
    api_prefix="v6e",
    counts="chips",
    sizes=tuple(_FLAT_TOPOLOGIES),
    topologies=tuple(_FLAT_TOPOLOGIES.values()),
    host_shapes=(
        HostShape(chips=1, cpu=44, memory=176 * GIB),  # ct6e-standard-1t
        HostShape(chips=4, cpu=180, memory=720 * GIB),
        HostShape(chips=8, cpu=180, memory=1440 * GIB),
    ),
    runtime_version="v2-alpha-tpuv6e",
    zones=(
        "asia-east1-c",
        "asia-northeast1-b",
        "asia-south1-b",
        "asia-south1-c",
        "asia-southeast1-b",
        "europe-west4-a",
        "southamerica-east1-c",
        "southamerica-west1-a",
        "us-central1-a",
        "us-central1-b",
        "us-central1-c",
        "us-central2-b",
        "us-east1-d",
        "us-east4-a",
        "us-east4-b",
        "us-east5-a",
        "us-east5-b",
        "us-east5-c",
        "us-south1-a",
        "us-south1-ai1b",
        "us-south1-c",
        "us-west1-c",
    ),
)

# The oldest first.
GENERATIONS: Mapping[str, Generation] = MappingProxyType(
    {generation.name: generation for generation in (_V2, _V3, _V4, _V5E, _V5P, _V6E)}
)
