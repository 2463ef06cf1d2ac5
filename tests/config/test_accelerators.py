"""The accelerator catalogue, against tables written down apart from it.

The tables are those of Google's pages where nothing else is said, looked up on
2026-11-22 in stored copies; the columns are type, chips, hosts (the pages say VMs
where a host is shared) and topology.
"""

import math
import re
from itertools import pairwise

import pytest

from iris_config.accelerators import (
    GENERATIONS,
    Accelerator,
    accelerator_of,
    all_accelerators,
    find_accelerator,
    is_known_zone,
)
from iris_config.units import parse_size

# docs.cloud.google.com/tpu/docs/v2 has the types; topologies after those of v3.
PUBLISHED_V2 = """
v2-8     4    1  2x2
v2-32   16    4  4x4
v2-128  64   16  8x8
v2-256 128   32  8x16
v2-512 256   64  16x16
"""

# docs.cloud.google.com/tpu/docs/regions-zones has the types; topologies as GKE's.
PUBLISHED_V3 = """
v3-8       4    1  2x2
v3-32     16    4  4x4
v3-64     32    8  4x8
v3-128    64   16  8x8
v3-256   128   32  8x16
v3-512   256   64  16x16
v3-1024  512  128  16x32
v3-2048 1024  256  32x32
"""

# AI-Hypercomputer/xpk, system_characteristics.py; v4-384 from MaxText.
PUBLISHED_V4 = """
v4-8       4    1  2x2x1
v4-16      8    2  2x2x2
v4-32     16    4  2x2x4
v4-64     32    8  2x4x4
v4-128    64   16  4x4x4
v4-256   128   32  4x4x8
v4-384   192   48  4x4x12
v4-512   256   64  4x8x8
v4-1024  512  128  8x8x8
v4-1536  768  192  8x8x12
v4-2048 1024  256  8x8x16
v4-4096 2048  512  8x16x16
"""

# docs.cloud.google.com/tpu/docs/v5e, "Configurations" and "VM types".
PUBLISHED_V5E = """
v5litepod-1     1   1  1x1
v5litepod-4     4   1  2x2
v5litepod-8     8   1  2x4
v5litepod-16   16   4  4x4
v5litepod-32   32   8  4x8
v5litepod-64   64  16  8x8
v5litepod-128 128  32  8x16
v5litepod-256 256  64  16x16
"""

# docs.cloud.google.com/tpu/docs/v5p, "Configurations"; v5p-32, -384, -640 and
# -6912 from AI-Hypercomputer/xpk.
PUBLISHED_V5P = """
v5p-8        4    1  2x2x1
v5p-16       8    2  2x2x2
v5p-32      16    4  2x2x4
v5p-64      32    8  2x4x4
v5p-128     64   16  4x4x4
v5p-256    128   32  4x4x8
v5p-384    192   48  4x4x12
v5p-512    256   64  4x8x8
v5p-640    320   80  4x4x20
v5p-1024   512  128  8x8x8
v5p-2048  1024  256  8x8x16
v5p-4096  2048  512  8x16x16
v5p-6912  3456  864  12x12x24
v5p-8192  4096 1024  16x16x16
v5p-12288 6144 1536  16x16x24
"""

# docs.cloud.google.com/tpu/docs/v6e, "Supported configurations", the column VMs;
# v6e-8 on two VMs is for GKE only.
PUBLISHED_V6E = """
v6e-1     1   1  1x1
v6e-4     4   1  2x2
v6e-8     8   1  2x4
v6e-16   16   4  4x4
v6e-32   32   8  4x8
v6e-64   64  16  8x8
v6e-128 128  32  8x16
v6e-256 256  64  16x16
"""

PUBLISHED = [
    tuple(row.split())
    for table in (PUBLISHED_V2, PUBLISHED_V3, PUBLISHED_V4, PUBLISHED_V5E, PUBLISHED_V5P, PUBLISHED_V6E)
    for row in table.strip().splitlines()
]
EVERY = pytest.mark.parametrize("accelerator", all_accelerators(), ids=lambda a: a.accelerator_type)


@pytest.mark.parametrize(("name", "chips", "hosts", "topology"), PUBLISHED)
def test_published_slices(name: str, chips: str, hosts: str, topology: str) -> None:
    found = find_accelerator(name)
    assert found.accelerator_type == name
    assert (found.chips, found.hosts, found.topology) == (int(chips), int(hosts), topology)


@pytest.mark.parametrize(
    ("generation", "table"),
    [
        ("v2", PUBLISHED_V2),
        ("v3", PUBLISHED_V3),
        ("v5e", PUBLISHED_V5E),
        ("v6e", PUBLISHED_V6E),
    ],
)
def test_no_other_sizes(generation: str, table: str) -> None:
    published = [int(size) for size in re.findall(r"-(\d+)", table)]
    assert list(GENERATIONS[generation].sizes) == published


# docs.cloud.google.com/tpu/docs/v5e and v5p; v3, v4 and v6e from the GKE cluster
# autoscaler's table of machine types; v2 as v3.
@pytest.mark.parametrize(
    ("name", "cpu", "memory"),
    [
        ("v2-8", 96, "340GiB"),
        ("v3-8", 96, "340GiB"),
        ("v4-8", 240, "407GiB"),
        ("v4-4096", 240, "407GiB"),
        ("v5litepod-1", 24, "48GiB"),
        ("v5litepod-4", 112, "192GiB"),
        ("v5litepod-8", 224, "384GiB"),
        ("v5litepod-16", 112, "192GiB"),
        ("v5p-8", 208, "448GiB"),
        ("v5p-12288", 208, "448GiB"),
        ("v6e-1", 44, "176GiB"),
        ("v6e-4", 180, "720GiB"),
        ("v6e-8", 180, "1440GiB"),
        ("v6e-16", 180, "720GiB"),
    ],
)
def test_published_hosts(name: str, cpu: int, memory: str) -> None:
    found = find_accelerator(name)
    assert (found.host_cpu, found.host_memory) == (cpu, parse_size(memory))


# docs.cloud.google.com/tpu/docs/runtimes.
@pytest.mark.parametrize(
    ("name", "runtime_version"),
    [
        ("v2-8", "tpu-ubuntu2204-base"),
        ("v3-8", "tpu-ubuntu2204-base"),
        ("v4-8", "tpu-ubuntu2204-base"),
        ("v5e-16", "v2-alpha-tpuv5-lite"),
        ("v5p-8", "v2-alpha-tpuv5"),
        ("v6e-16", "v2-alpha-tpuv6e"),
    ],
)
def test_published_runtime_versions(name: str, runtime_version: str) -> None:
    assert find_accelerator(name).runtime_version == runtime_version


# docs.cloud.google.com/tpu/docs/regions-zones, of several dates; what is outside
# the US also from skypilot-org/skypilot-catalog.
@pytest.mark.parametrize(
    ("name", "zones"),
    [
        ("v2-8", "us-central1-b us-central1-c europe-west4-a asia-east1-c"),
        ("v3-8", "us-central1-a us-central1-b europe-west4-a"),
        ("v4-8", "us-central2-b"),
        ("v5e-16", "us-central1-a us-south1-a us-west1-c us-west4-a europe-west4-b us-east5-b"),
        ("v5p-8", "us-central1-a us-east5-a europe-west4-b"),
        (
            "v6e-16",
            (
                "us-central1-b us-east1-d us-east5-a us-east5-b us-south1-ai1b europe-west4-a"
                " asia-northeast1-b southamerica-west1-a"
            ),
        ),
    ],
)
def test_published_zones(name: str, zones: str) -> None:
    found = find_accelerator(name)
    assert [zone for zone in zones.split() if not is_known_zone(found, zone)] == []


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("v4-8", "us-central1-a"),
        ("v5e-16", "us-central2-b"),
        ("v5p-8", "europe-west4-a"),
        ("v6e-1", "europe-west4-b"),  # refused by the API in June 2026
        ("v6e-1", "europe-west4"),
        ("v6e-1", ""),
    ],
)
def test_unknown_zones(name: str, zone: str) -> None:
    assert not is_known_zone(find_accelerator(name), zone)


def test_the_generations() -> None:
    assert list(GENERATIONS) == ["v2", "v3", "v4", "v5e", "v5p", "v6e"]
    for name, generation in GENERATIONS.items():
        assert generation.name == name
        assert all(first < second for first, second in pairwise(generation.sizes))
        assert len(generation.topologies) == len(generation.sizes)
        assert list(generation.zones) == sorted(set(generation.zones))
        assert all(re.fullmatch(r"[a-z]+-[a-z]+\d-(ai\d)?[a-z]", zone) for zone in generation.zones)
        assert generation.api_prefix in (name, *generation.aliases)


@EVERY
def test_the_parts_make_the_whole(accelerator: Accelerator) -> None:
    generation = GENERATIONS[accelerator.generation]
    suffix = int(accelerator.accelerator_type.rpartition("-")[2])
    assert accelerator.chips == (suffix if generation.counts == "chips" else suffix // 2)
    assert accelerator.hosts * accelerator.chips_per_host == accelerator.chips
    assert accelerator.hosts == 1 or accelerator.chips_per_host == 4
    assert math.prod(int(side) for side in accelerator.topology.split("x")) == accelerator.chips


@EVERY
def test_a_name_is_read_back(accelerator: Accelerator) -> None:
    assert find_accelerator(accelerator.accelerator_type) == accelerator
    generation = GENERATIONS[accelerator.generation]
    size = accelerator.accelerator_type.rpartition("-")[2]
    for prefix in (generation.name, generation.api_prefix, *generation.aliases):
        assert find_accelerator(f"{prefix}-{size}") == accelerator
        assert find_accelerator(f" {prefix.upper()}-{size} ") == accelerator
    assert accelerator_of(generation, int(size)) == accelerator


def test_no_name_twice() -> None:
    names = [accelerator.accelerator_type for accelerator in all_accelerators()]
    assert len(names) == len(set(names))


def most_like_a_cube(chips: int) -> str:
    """The rule of "TPU types and topologies", for whole cubes of 4x4x4."""
    cubes = chips // 64
    sides = [
        (a, b, cubes // (a * b))
        for a in range(1, cubes + 1)
        for b in range(a, cubes + 1)
        if cubes % (a * b) == 0 and cubes // (a * b) >= b
    ]
    return "x".join(str(4 * side) for side in min(sides, key=sum))


@pytest.mark.parametrize("generation", ["v4", "v5p"])
def test_cubes_are_as_cubic_as_can_be(generation: str) -> None:
    whole = [a for a in all_accelerators() if a.generation == generation and a.chips >= 64]
    assert len(whole) > 40
    assert [a.topology for a in whole] == [most_like_a_cube(a.chips) for a in whole]


def test_which_cubes_there_are() -> None:
    # skypilot-org/skypilot-catalog, catalogs/v8/gcp/vms.csv: what the API lists.
    assert GENERATIONS["v4"].sizes[4:] == tuple(range(128, 6144 + 1, 128))
    missing = {8576, 9088, 9344, 10112, 10624, 11392}
    there = [size for size in range(128, 12288 + 1, 128) if size not in missing]
    assert list(GENERATIONS["v5p"].sizes[4:]) == there


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "v5litepod-15",
            (
                "there is no v5litepod-15; v5e comes in 1, 4, 8, 16, 32, 64, 128, 256;"
                " did you mean v5litepod-16?"
            ),
        ),
        (
            "V5E-512",
            (
                "there is no v5litepod-512; v5e comes in 1, 4, 8, 16, 32, 64, 128, 256;"
                " did you mean v5litepod-256?"
            ),
        ),
        (
            "v5p-4",
            (
                "there is no v5p-4; v5p comes in 8, 16, 32, 64, 128, 256, 384, ..., 12288"
                " TensorCores, two to a chip; did you mean v5p-8?"
            ),
        ),
        (
            "v3-16",
            (
                "there is no v3-16; v3 comes in 8, 32, 64, 128, 256, 512, 1024, 2048"
                " TensorCores, two to a chip; did you mean v3-32?"
            ),
        ),
        (
            "tpu-v4-8",
            (
                "expected cpu or a TPU type such as v5litepod-16;"
                " known generations: v2, v3, v4, v5e, v5p, v6e; did you mean v4-8?"
            ),
        ),
        (
            "v7-8",
            ("expected cpu or a TPU type such as v5litepod-16; known generations: v2, v3, v4, v5e, v5p, v6e"),
        ),
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        find_accelerator(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("v5e16", "v5litepod-16"),
        ("v5e_16", "v5litepod-16"),
        ("v5e 16", "v5litepod-16"),
        ("v5e--16", "v5litepod-16"),
        ("v5e-016", "v5litepod-16"),
        ("v5e-0", "v5litepod-1"),
        ("v5-lite-pod-16", "v5litepod-16"),
        ("TPU v5p-8", "v5p-8"),
        ("v5litpod-16", "v5litepod-16"),
        ("v6-16", "v6e-16"),
        ("v5-16", "v5p-16 or v5litepod-16"),
        ("Cpu", "cpu"),
    ],
)
def test_near_spellings(text: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"^expected cpu or a TPU type .*; did you mean {near}\\?$"):
        find_accelerator(text)


@pytest.mark.parametrize(
    "text",
    ["", "-", "v4", "v4-", "-8", "v4-8-8", "v4-٨", "v4-8\nv4-8", "v4-" + "9" * 5000, "h100-8", "v5e-1.5"],
)
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected cpu or a TPU type such as v5litepod-16; known "):
        find_accelerator(text)
