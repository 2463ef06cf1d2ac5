"""Every message that a file's author can meet."""

import re
from pathlib import Path

import pytest

from iris_config import ConfigError, load_config
from iris_config.files import MAX_BYTES
from tests.config.samples import REQUIREMENT, load, local_group, problems

GROUP = "scale_groups.here"
A_NAME = "expected at most 63 lower-case letters, digits and -, beginning with a letter, such as name: demo"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "acelerator_type: cpu",  # B3
            "5:5: error: acelerator_type: unknown key; did you mean accelerator_type?",
        ),
        ("max_slices: many", "5:17: error: max_slices: expected a whole number, found 'many'"),
        ("max_slices: 1.5", "5:17: error: max_slices: expected a whole number, found '1.5'"),
        ("max_slices: 010", "5:17: error: max_slices: expected a whole number, found '010'"),
        (
            "max_slices: 3000000000",
            "5:17: error: max_slices: expected a number of at most 2147483647, found '3000000000'",
        ),
        ("max_slices: [1]", "5:5: error: max_slices: expected a single value, found a list"),
        ("max_slices:", "5:16: error: max_slices: has no value; give one or leave the key out"),
        ("max_slices: -1", "5:17: error: max_slices: expected a number of at least 0, found '-1'"),
        ("min_slices: 2", "5:17: error: min_slices: 2 is more than max_slices, which is 1"),
        ("slice_size: 0", "5:17: error: slice_size: expected a number of at least 1, found '0'"),
        ("priority: -1", "5:15: error: priority: expected a number of at least 0, found '-1'"),
        ("zones: local", "5:12: error: zones: expected a list such as [a, b], found 'local'"),
        ("zones: [a, b]", "5:5: error: zones: a local group has exactly one zone, found 2"),
        (
            "zones: ['a b']",
            "5:13: error: zones[0]: expected a zone of letters, digits, -, _ and ., found 'a b'",
        ),
        (
            "idle_timeout: 90",
            "5:19: error: idle_timeout: expected a duration such as 90s, 10m or 1h30m, found '90'; did you mean 90s or 90m?",
        ),
        (
            "idle_timeout: 1m1h",
            (
                "5:19: error: idle_timeout: expected a duration with each unit once, the largest first,"
                " such as 1h30m, found '1m1h'"
            ),
        ),
        ("idle_timeout: 0s", "5:19: error: idle_timeout: expected a duration longer than 0s, found '0s'"),
        (
            "task_lease: 15s\nX",
            "5:17: error: task_lease: expected at least two beats (20s)",
        ),
        (
            "host_resources: {memory: 8Gi}",
            (
                "5:30: error: host_resources.memory: expected a size such as 8GiB, 500GB or a number"
                " of bytes, found '8Gi'; did you mean 8GiB?"
            ),
        ),
        (
            "host_resources: {memory: 0.3B}",
            "5:30: error: host_resources.memory: expected a whole number of bytes, found '0.3B'",
        ),
        ("host_resources: {cpu: .inf}", "5:27: error: host_resources.cpu: expected a number, found '.inf'"),
        (
            "host_resources: {cpu: 0}",
            "5:27: error: host_resources.cpu: expected a number of at least 0.001, found '0'",
        ),
        ("host_resources: 4", "5:21: error: host_resources: expected a mapping, found '4'"),
        (
            "host_resources:",
            "5:20: error: host_resources: expected a mapping, found nothing; write {} for its defaults",
        ),
        ("name: there", "5:11: error: name: expected the group's key here or nothing, found 'there'"),
        ("max_slices: 1\n    max_slices: 2", "6:5: error: max_slices: written twice; first on line 5"),
        ("<<: {max_slices: 2}", "5:5: error: <<: merge keys are not understood here; write the fields out"),
        ("? [a]\n    : b", "5:7: error: : expected a plain word as the key"),
    ],
)
def test_one_mistake_in_a_group(line: str, message: str) -> None:
    text = local_group(line.removesuffix("\nX"))
    if line.endswith("\nX"):
        text += "timeouts: {beat_interval: 10s}\n"
    place, _, rest = message.partition(" error: ")
    dot = "" if rest.startswith(":") else "."
    assert problems(text) == [f"demo.yaml:{place} error: {GROUP}{dot}{rest}"]


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (
            "{}",
            ("4:5: error: scale_groups.here.provider: missing; expected one of tpu, manual, local"),
        ),
        (
            "{local: {}, tpu: {project_id: p}}",
            "4:27: error: scale_groups.here.provider.tpu: expected only one of local and tpu",
        ),
        (
            "{local: }",
            (
                "4:23: error: scale_groups.here.provider.local: expected a mapping, found nothing;"
                " write {} for its defaults"
            ),
        ),
        ("{locla: {}}", "4:16: error: scale_groups.here.provider.locla: unknown key; did you mean local?"),
        (
            "{local: {size: 3}}",
            "4:24: error: scale_groups.here.provider.local.size: unknown key; known here: none",
        ),
        (
            "{manual: {hosts: [a, a]}}",
            "4:36: error: scale_groups.here.provider.manual.hosts[1]: a is listed twice",
        ),
        (
            "{manual: {hosts: ['']}}",
            (
                "4:33: error: scale_groups.here.provider.manual.hosts[0]:"
                " expected a host name or address, found ''"
            ),
        ),
        (
            "{manual: {hosts: [a], ssh_port: 70000}}",
            (
                "4:47: error: scale_groups.here.provider.manual.ssh_port:"
                " expected a number from 1 to 65535, found '70000'"
            ),
        ),
    ],
)
def test_one_mistake_in_a_provider(provider: str, message: str) -> None:
    found = problems(local_group().replace("{local: {}}", provider))
    assert found[0] == f"demo.yaml:{message}"


def test_missing_parts_of_providers_in_one_run() -> None:  # B2
    text = """\
name: demo
scale_groups:
  bare:
    accelerator_type: cpu
  tpu:
    provider: {tpu: {}}
    accelerator_type: v5litepod-16
    zones: [europe-west4-b]
  own:
    provider:
      manual: {ssh_user: ray}
"""
    assert problems(text) == [
        (
            "demo.yaml:3:3: error: scale_groups.bare.provider: missing; expected one of tpu, manual,"
            " local, such as provider: {local: {}}"
        ),
        (
            "demo.yaml:6:16: error: scale_groups.tpu.provider.tpu.project_id: missing; expected a"
            " project id such as my-project"
        ),
        (
            "demo.yaml:11:7: error: scale_groups.own.provider.manual.hosts: missing; expected a list with"
            " a host name or address"
        ),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    zones: [europe-west4-b]\n", "", "zones: missing; a TPU group needs at least one"),
        ("accelerator_type: v5litepod-16", "accelerator_type: cpu", "expected a TPU type such as"),
        ("[europe-west4-b]", "[a, a]", "zones[1]: a is listed twice"),
        ("zones: [local]", "zones: [a, b]", "a manual group has exactly one zone, found 2"),
        ("zones: [local]", "slice_size: 3", "slice_size: 3 hosts to a slice, but only 2 listed"),
        ("zones: [local]", "max_slices: 3", "max_slices: 2 hosts make at most 2 slices"),
    ],
)
def test_rules_of_clouds_and_manual_hosts(old: str, new: str, message: str) -> None:
    (found,) = problems(REQUIREMENT.replace(old, new))
    assert message in found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("''", f"{A_NAME}, found ''"),
        ("Demo", f"{A_NAME}, found 'Demo'"),
        ("9x", f"{A_NAME}, found '9x'"),
        ("demo-local", "names that end in -local are kept for rehearsals, found 'demo-local'"),
        ("a" * 64, f"{A_NAME}, found '{'a' * 37}...'"),
    ],
)
def test_names_of_clusters(name: str, message: str) -> None:
    assert problems(local_group(name=name)) == [f"demo.yaml:1:7: error: name: {message}"]


def test_a_missing_name_is_at_the_beginning() -> None:
    assert problems("scale_groups: {}") == [f"demo.yaml:1:1: error: name: missing; {A_NAME}"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Here", "found 'Here'"),
        ("9", "found '9'"),
        ("a" * 25, "found 'aaaaaaaaaaaaaaaaaaaaaaaaa'"),
    ],
)
def test_names_of_groups(name: str, message: str) -> None:
    expected = "at most 24 lower-case letters, digits, - and _, beginning with a letter"
    text = local_group().replace("here", name)
    assert problems(text) == [
        f"demo.yaml:3:3: error: scale_groups.{name}: expected a name of {expected}, {message}"
    ]


def test_groups_whose_names_would_collide() -> None:
    text = local_group().replace("here", "a_b") + "  a-b:\n    provider: {local: {}}\n"
    assert problems(text) == [
        (
            "demo.yaml:3:3: error: scale_groups.a_b: a_b and a-b would make the same slice names"
            " (_ becomes - there)"
        )
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("controller: {local: {port: 70000}}", "expected a number from 0 to 65535, found '70000'"),
        ("autoscaler: {max_creates_per_minute: 0}", "expected a number of at least 1, found '0'"),
        ("timeouts: {beat_interval: 20s}", "expected at least two beats (40s)"),
        ("scale_groups: [a]", "expected a mapping of names, found a list"),
        ("logs: {max_size: 1MB}", "logs.max_size: expected a number of at least 1MiB, found '1MB'"),
        ("logs: {max_size: 0}", "logs.max_size: expected a number of at least 1MiB, found '0'"),
        ("logs: {max_size: -1}", "expected a size such as 8GiB, 500GB or a number of bytes, found '-1'"),
        ("controler: {}", "unknown key; did you mean controller?"),
        (
            "xyz: {}",
            (
                "unknown key; known here: name, controller, scale_groups, autoscaler, bootstrap, ssh,"
                " storage, timeouts, logs, fleets, endpoints"
            ),
        ),
    ],
)
def test_one_mistake_at_the_top(text: str, message: str) -> None:
    (found,) = problems(f"name: demo\n{text}\n")
    assert found.startswith("demo.yaml:")
    assert found.endswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "demo.yaml:1:1: error: the configuration is empty"),
        ("# nothing\n", "demo.yaml:1:1: error: the configuration is empty"),
        ("[a]", "demo.yaml:1:1: error: expected a mapping, lines such as name: demo"),
        ("a: b: c", "demo.yaml:1:5: error: not valid YAML: mapping values are not allowed"),
        ("a: 1\n---\nb: 1", "demo.yaml:2:1: error: not usable YAML: expected a single document"),
        ("a: *x", "demo.yaml:1:4: error: not usable YAML: there is no &x before this alias"),
        ("a: b\nc: \x01", "demo.yaml:2:4: error: not valid YAML: character U+0001 is not allowed"),
        ("a: \ud800", "demo.yaml:1:4: error: not valid YAML:"),
        ("[" * 100_000, "demo.yaml:1:33: error: not usable YAML: nested more than 32 levels deep"),
        ("- " * 50_000, "demo.yaml:1:65: error: not usable YAML: nested more than 32 levels deep"),
        ("a" * (MAX_BYTES + 1), "demo.yaml: error: larger than 4 MiB"),
    ],
)
def test_what_is_no_configuration_at_all(text: str, message: str) -> None:
    (found,) = problems(text)
    assert found.startswith(message)


def test_all_problems_at_once_in_order_of_position() -> None:
    text = """\
name: Demo
scale_groups:
  here:
    provider: {local: {}}
    acelerator_type: cpu
    idle_timeout: 10
    min_slices: 3
    host_resources: {cpu: 4, memory: 8Gib}
colour: red
"""
    found = problems(text)
    places = [tuple(map(int, re.findall(r":(\d+):(\d+):", line)[0])) for line in found]
    assert places == [(1, 7), (5, 5), (6, 19), (7, 17), (8, 38), (9, 1)]
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert [problem.field for problem in caught.value.problems][:2] == [
        "name",
        "scale_groups.here.acelerator_type",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    with pytest.raises(ConfigError, match=f"^{path}: error: cannot read: No such file"):
        load_config(path)
    with pytest.raises(ConfigError, match=f"^{tmp_path}: error: expected a file, found a directory"):
        load_config(tmp_path)
    path.write_bytes(b"name: demo\na: \xff")
    with pytest.raises(ConfigError, match=f"^{path}:2:4: error: not UTF-8 text"):
        load_config(path)


def test_a_misspelt_key_is_read_as_what_was_meant() -> None:
    """So that one run tells of all mistakes."""
    text = """\
nme: Demo
scale_groups:
  tpu:
    provider: {tpu: {project: p}}
    acelerator_type: v5litpod-16
    zones: [europe-west4-b]
    max_slces: many
"""
    assert problems(text) == [
        "demo.yaml:1:1: error: nme: unknown key; did you mean name?",
        f"demo.yaml:1:6: error: name: {A_NAME}, found 'Demo'",
        "demo.yaml:4:22: error: scale_groups.tpu.provider.tpu.project: unknown key; did you mean project_id?",
        "demo.yaml:5:5: error: scale_groups.tpu.acelerator_type: unknown key; did you mean accelerator_type?",
        (
            "demo.yaml:5:22: error: scale_groups.tpu.accelerator_type: expected cpu or a TPU type such as"
            " v5litepod-16; known generations: v2, v3, v4, v5e, v5p, v6e; did you mean v5litepod-16?"
        ),
        "demo.yaml:7:5: error: scale_groups.tpu.max_slces: unknown key; did you mean max_slices?",
        "demo.yaml:7:16: error: scale_groups.tpu.max_slices: expected a whole number, found 'many'",
    ]


def test_a_misspelt_key_beside_the_right_one_is_not_read() -> None:
    assert problems(local_group("max_slices: 1", "max_slice: x")) == [
        f"demo.yaml:6:5: error: {GROUP}.max_slice: unknown key; did you mean max_slices?"
    ]


def test_there_is_an_end_to_problems() -> None:
    found = problems("name: demo\n" + "".join(f"key{n}: 1\n" for n in range(2000)))
    assert len(found) == 501
    assert "too many problems; the rest was not read" in found[-1] + found[-2]


@pytest.mark.parametrize("tag", ["!env", "!!python/object:os.system", "!!binary", "!!null"])
def test_tags(tag: str) -> None:
    (found,) = problems(f"name: {tag} demo\n")
    assert found.startswith("demo.yaml:1:7: error: not usable YAML: the tag ")
    assert problems("name: !!str demo\n") == []


def test_a_tab() -> None:
    (found,) = problems("name: demo\nscale_groups:\n\there: {}\n")
    assert found == "demo.yaml:3:1: error: not valid YAML: a tab; YAML is indented with spaces"


def test_nothing_in_a_file_forges_a_line() -> None:
    (found,) = problems('name: demo\n"a\\e[31mb\\nFAKE.yaml:1:1: error: forged": 1\n')
    assert found.startswith(r"demo.yaml:2:1: error: a\x1b[31mb\nFAKE.yaml:1:1: error: forged: unknown key")


@pytest.mark.parametrize(
    ("line", "is_valid"),
    [
        ("hosts: [10.0.0.1, '::1', 'fe80::1', node-1.example.com, a]", True),
        ("hosts: ['-oProxyCommand=x']", False),
        ("hosts: ['h:22']", False),
        ("hosts: [a, ssh_user: 'x']", False),
        ("hosts: [a], ssh_user: 'root;id'", False),
        ("hosts: [a], ssh_user: '-x'", False),
        ("hosts: [a], ssh_jump_host: 'me@bastion:2222'", True),
        ("hosts: [a], ssh_jump_host: '[::1]:22'", True),
        ("hosts: [a], ssh_jump_host: 'h:port'", False),
        ("hosts: [a], ssh_jump_host: '$(id)'", False),
        ("hosts: [a], ssh_jump_host: '-oProxyCommand=x'", False),
        ("hosts: [a], ssh_jump_host: 'ssh://h'", False),
    ],
)
def test_what_is_handed_to_ssh(line: str, is_valid: bool) -> None:
    found = problems(local_group().replace("{local: {}}", f"{{manual: {{{line}}}}}"))
    assert (found == []) is is_valid


def test_a_local_group_of_a_controller_elsewhere_has_to_say_its_size() -> None:
    text = "controller: {manual: {host: h}}\n" + local_group()
    assert problems(text) == [
        (
            "demo.yaml:4:3: error: scale_groups.here.host_resources.cpu: missing; the group is on the"
            " controller's host, whose size is not known here"
        )
    ]
    assert problems("controller: {manual: {host: h}}\n" + local_group("host_resources: {cpu: 8}")) == []
