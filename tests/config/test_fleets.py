"""`This generation, in these sizes, in these zones`, written out as scale groups."""

import pytest

from iris_config import ConfigError
from iris_config.fleets import short_zone
from tests.config.samples import load, problems

FLEET = """\
name: demo
controller: { advertise_address: iris.example.com }
fleets:
  v5e:
    generation: v5e
    sizes: [4, 16]
    zones: [europe-west4-b, us-west4-a]
    template:
      provider: { tpu: { project_id: my-project } }
      max_slices: 8
      idle_timeout: 5m
"""


def test_a_group_for_each_size_that_tries_the_zones_in_order() -> None:
    config = load(FLEET)
    assert sorted(config.scale_groups) == ["v5e-16", "v5e-4"]
    group = config.scale_groups["v5e-16"]
    assert (group.name, group.accelerator_type, group.slice_size) == ("v5e-16", "v5litepod-16", 4)
    assert list(group.zones) == ["europe-west4-b", "us-west4-a"]
    assert (group.max_slices, group.idle_timeout.ToSeconds()) == (8, 300)
    assert group.provider.tpu.project_id == "my-project"
    assert not config.proto.fleets
    assert config.warnings == ()


def test_a_group_for_each_size_and_zone() -> None:
    config = load(FLEET.replace("    template", "    group_per_zone: true\n    template"))
    assert {name: list(group.zones) for name, group in config.scale_groups.items()} == {
        "v5e-4-euw4b": ["europe-west4-b"],
        "v5e-4-usw4a": ["us-west4-a"],
        "v5e-16-euw4b": ["europe-west4-b"],
        "v5e-16-usw4a": ["us-west4-a"],
    }


@pytest.mark.parametrize(
    ("zone", "short"),
    [
        ("europe-west4-b", "euw4b"),
        ("us-central2-b", "usc2b"),
        ("asia-northeast1-b", "asne1b"),
        ("northamerica-northeast1-b", "nane1b"),
        ("southamerica-east1-c", "sae1c"),
        ("me-west1-c", "mew1c"),
        ("us-central1-ai1a", "uscentral1ai1a"),
        ("rack_7", "rack7"),
    ],
)
def test_zones_for_short(zone: str, short: str) -> None:
    assert short_zone(zone) == short


def test_it_means_what_its_groups_mean_when_written_out() -> None:
    config = load(FLEET)
    assert load(config.to_yaml()) == config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sizes: [4, 16]",
            "sizes: [4, 15]",
            (
                "6:16: error: fleets.v5e.sizes[1]: there is no v5litepod-15; v5e comes in 1, 4, 8, 16, 32,"
                " 64, 128, 256; did you mean v5litepod-16?"
            ),
        ),
        ("sizes: [4, 16]", "sizes: [4, 4]", "6:16: error: fleets.v5e.sizes[1]: 4 is listed twice"),
        ("sizes: [4, 16]", "sizes: []", "6:5: error: fleets.v5e.sizes: empty; expected a list with sizes"),
        ("    sizes: [4, 16]\n", "", "4:3: error: fleets.v5e.sizes: missing; expected a list with sizes"),
        (
            "generation: v5e",
            "generation: v5a",
            (
                "5:17: error: fleets.v5e.generation: expected one of v2, v3, v4, v5e, v5p, v6e, found 'v5a';"
                " did you mean"
            ),
        ),
        (
            "max_slices: 8",
            "accelerator_type: v5e-4",
            "10:25: error: fleets.v5e.template.accelerator_type: follows from generation, sizes and zones",
        ),
        (
            "max_slices: 8",
            "max_slices: -8",
            "10:19: error: fleets.v5e.template.max_slices: expected a number of at least 0, found '-8'",
        ),
        (
            "max_slices: 8",
            "min_slices: 8",
            "10:19: error: fleets.v5e.template.min_slices: 8 is more than max_slices, which is 1",
        ),
        (
            "{ tpu: { project_id: my-project } }",
            "{ local: {} }",
            "9:7: error: fleets.v5e.template.provider: expected tpu, found local",
        ),
        (
            "us-west4-a]",
            "europe-west4-b]",
            "7:29: error: fleets.v5e.zones[1]: europe-west4-b is listed twice",
        ),
        ("  v5e:\n", "  V5e:\n", "4:3: error: fleets.V5e: expected a name of at most 22 lower-case"),
        (
            "  v5e:\n",
            "  a-very-long-name-for-i:\n",
            (
                "4:3: error: fleets.a-very-long-name-for-i: would make the group"
                " a-very-long-name-for-i-16; expected at most 24 characters, found 25"
            ),
        ),
    ],
)
def test_mistakes_are_found_where_they_were_written(old: str, new: str, message: str) -> None:
    found = problems(FLEET.replace(old, new))
    assert found[0].startswith(f"demo.yaml:{message}")
    # Not once for each group that it is in.
    assert len(found) == len(set(found))


def test_a_group_of_that_name_exists() -> None:
    text = FLEET + "scale_groups: { v5e-4: { provider: { local: {} } } }\n"
    assert problems(text) == [
        (
            "demo.yaml:6:13: error: fleets.v5e.sizes[0]: would make the group v5e-4, which scale_groups"
            " already has"
        )
    ]


def test_two_fleets_that_make_the_same_group() -> None:
    text = FLEET.replace("  v5e:\n", "  tpu:\n")
    fleet = text[text.index("  tpu:\n") :].replace("  tpu:\n", "  tpu-4:\n").replace("[4, 16]", "[1]")
    again = fleet.replace("  tpu-4:", "  tpu:").replace("[1]", "[4]")
    assert "written twice" in problems(text + again)[0]
    assert problems(text + fleet) == []


def test_warnings_name_the_line_of_the_fleet_once() -> None:
    config = load(FLEET.replace("us-west4-a", "moon-east1-a").replace("max_slices: 8", "capacity: spot"))
    assert [problem.render("demo.yaml") for problem in config.warnings] == [
        (
            "demo.yaml:7:29: warning: fleets.v5e.zones[1]: as far as we know moon-east1-a does not offer"
            " v5e; see: iris config accelerators"
        ),
        (
            "demo.yaml:10:17: warning: fleets.v5e.template.capacity: spot without a fallback: when there is"
            " none, work for v5litepod-16 waits; a group of the same type with capacity: on_demand or"
            " reserved would take it"
        ),
        (
            "demo.yaml:10:17: warning: fleets.v5e.template.capacity: spot without a fallback: when there is"
            " none, work for v5litepod-4 waits; a group of the same type with capacity: on_demand or"
            " reserved would take it"
        ),
    ]


def test_origins_name_the_line_of_the_fleet() -> None:
    config = load(FLEET)
    assert config.origins is not None
    path = ("scale_groups", "v5e-16")
    assert config.origins.words((*path, "accelerator_type")) == "demo.yaml:6"
    assert config.origins.words((*path, "zones")) == "demo.yaml:7"
    assert config.origins.words((*path, "max_slices")) == "demo.yaml:10"
    assert config.origins.words((*path, "slice_size")) == "default, from v5litepod-16"
    assert config.origins.words((*path, "priority")) == "default"


def test_a_fleet_of_a_hundred_groups() -> None:
    letters = "abcdefghij"
    zones = ", ".join(f"us-west{n}-{letter}" for n, letter in enumerate(letters))
    text = FLEET.replace("europe-west4-b, us-west4-a", zones).replace(
        "sizes: [4, 16]", "sizes: [1, 4, 8, 16, 32, 64, 128, 256]"
    )
    config = load(text.replace("    template", "    group_per_zone: true\n    template"))
    assert len(config.scale_groups) == 80


def test_an_empty_template_is_told_what_it_lacks() -> None:
    text = FLEET[: FLEET.index("    template")] + "    template: {}\n"
    with pytest.raises(ConfigError, match=r"8:5: error: fleets\.v5e\.template\.provider: missing"):
        load(text)


def test_what_would_be_too_many_groups_is_not_written_out() -> None:
    sizes, zones = ", ".join(["8"] * 20_000), ", ".join(f"z{n}" for n in range(20_000))
    text = FLEET.replace("[4, 16]", f"[{sizes}]").replace("[europe-west4-b, us-west4-a]", f"[{zones}]")
    found = problems(text)
    assert "fleets.v5e.zones: expected at most 250, found 20000" in "\n".join(found)
    zones = ", ".join(f"z{n}" for n in range(200))
    text = FLEET.replace("[4, 16]", "[1, 4, 8, 16, 32, 64]").replace(
        "[europe-west4-b, us-west4-a]", f"[{zones}]"
    )
    (line,) = problems(text.replace("    template", "    group_per_zone: true\n    template"))
    assert line.endswith("fleets.v5e: would make 1200 groups; a cluster has at most 1000")


def test_a_misspelt_generation_is_read_as_the_nearest() -> None:
    found = problems(FLEET.replace("generation: v5e", "generation: v5ee").replace("[4, 16]", "[4, 12]"))
    assert ["generation" in found[0], "there is no v5litepod-12" in found[1], len(found)] == [True, True, 2]
