"""What works, and is probably not meant."""

import pytest

from iris_config import ConfigError
from tests.config.samples import load, local_group

TPU = """\
name: demo
controller: {CONTROLLER}
scale_groups:
  tpus:
    provider: {tpu: {project_id: my-project}}
    accelerator_type: v5e-16
    zones: [europe-west4-b]
"""
REACHED = TPU.replace("CONTROLLER", "advertise_address: iris.example.com")


def warnings(text: str) -> list[str]:
    return [problem.render("demo.yaml") for problem in load(text).warnings]


def test_an_ordinary_file_has_none() -> None:
    assert warnings(REACHED) == []
    assert warnings(local_group()) == []


@pytest.mark.parametrize(
    ("controller", "is_reached"),
    [
        ("", False),
        ("local: {}", False),
        ("advertise_address: localhost", False),
        ("advertise_address: '127.0.0.1:7070'", False),
        ("advertise_address: '[::1]:7070'", False),
        ("advertise_address: 10.0.0.7", True),
        ("advertise_address: 'iris.example.com:10400'", True),
        ("gcp: {project_id: my-project, zone: europe-west4-b}", True),
        ("manual: {host: bastion}", True),
    ],
)
def test_machines_on_a_cloud_have_to_reach_the_controller(controller: str, is_reached: bool) -> None:
    found = warnings(TPU.replace("CONTROLLER", controller))
    assert (found == []) is is_reached
    assert is_reached or "the machines of TPU groups such as tpus cannot reach a controller" in found[0]


def test_a_group_that_can_never_be_chosen() -> None:
    assert warnings(local_group("max_slices: 0")) == [
        "demo.yaml:5:17: warning: scale_groups.here.max_slices: nothing can ever run here while it is 0"
    ]


def test_no_groups_at_all() -> None:
    assert warnings("name: demo\n") == [
        "demo.yaml:1:1: warning: scale_groups: there are none; no job can run"
    ]


def test_spot_needs_a_fallback_of_the_same_type() -> None:
    spot = REACHED + "    capacity: spot\n"
    assert warnings(spot) == [
        (
            "demo.yaml:8:15: warning: scale_groups.tpus.capacity: spot without a fallback: when there is none,"
            " work for v5litepod-16 waits; a group of the same type with capacity: on_demand or reserved"
            " would take it"
        )
    ]
    other = """\
  steady:
    provider: {tpu: {project_id: my-project}}
    accelerator_type: v5litepod-TYPE
    zones: [europe-west4-b]
"""
    assert warnings(spot + other.replace("TYPE", "16")) == []
    assert len(warnings(spot + other.replace("TYPE", "32"))) == 1
    assert len(warnings(spot + other.replace("TYPE", "16") + "    capacity: spot\n")) == 2


def test_a_zone_that_is_not_known_to_have_it() -> None:
    assert warnings(REACHED.replace("europe-west4-b", "europe-west4-z")) == [
        (
            "demo.yaml:7:13: warning: scale_groups.tpus.zones[0]: as far as we know europe-west4-z does not"
            " offer v5e; see: iris config accelerators"
        )
    ]


def test_secrets_in_plain_text() -> None:
    env = "{HF_TOKEN: abc, db_password: '', MY_API_KEY: x, OPENAI_APIKEY: y, A_SECRET: '${S:-z}', LOG: info}"
    found = warnings(local_group() + f"bootstrap: {{container: {{image: a/b, env: {env}}}}}\n")
    assert [line.partition("warning: ")[2].partition(":")[0].rpartition(".")[2] for line in found] == [
        "HF_TOKEN",
        "db_password",
        "MY_API_KEY",
        "OPENAI_APIKEY",
    ]
    assert found[0] == (
        "demo.yaml:5:53: warning: bootstrap.container.env.HF_TOKEN: a secret in plain text?"
        " Write ${HF_TOKEN} and set it where iris runs"
    )


def test_errors_come_with_the_warnings_that_would_be_left() -> None:
    with pytest.raises(ConfigError) as caught:
        load(local_group("max_slices: 0", "priority: x"))
    assert [problem.field for problem in caught.value.problems] == ["scale_groups.here.priority"]
    assert [problem.field for problem in caught.value.warnings] == ["scale_groups.here.max_slices"]
    assert all(problem.is_warning for problem in caught.value.warnings)
    assert "warning" not in str(caught.value)


def test_an_accelerator_that_only_has_a_name() -> None:
    assert warnings(local_group("accelerator_type: h100"))[0].startswith(
        "demo.yaml:5:23: warning: scale_groups.here.accelerator_type: not in the catalogue, so no more than a"
        " name: expected cpu or a TPU type"
    )
    assert warnings(local_group("accelerator_type: v5e-16")) == []
