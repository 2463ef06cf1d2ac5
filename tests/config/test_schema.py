"""The JSON Schema says what the loader does, as far as a schema can."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from iris_config import ConfigError, IrisConfig, Problem, parse_config
from iris_config.schema import config_schema
from tests.config.mutations import Mutation, Place, Tree, add, delete, misname, parent_of, places, retype
from tests.config.samples import EXAMPLES, MACHINE, local_group
from tests.config.whole_files import GCP, WHOLE_FILES

SCHEMA: dict[str, Any] = config_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
EXAMPLE_FILES = sorted(EXAMPLES.glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema=../docs/config.schema.json"
# What the loader says where the shape itself is wrong.
SHAPE = re.compile(
    r"unknown key|expected (a mapping|a list|a single value|only one of)|has no value|empty"
    r"|missing; expected one of"
)


def accepts(tree: Tree) -> bool:
    return VALIDATOR.is_valid(tree)


def load(text: str) -> IrisConfig:
    return parse_config(text, source="demo.yaml", machine=MACHINE, environment={})


def problems(text: str) -> tuple[Problem, ...]:
    try:
        load(text)
    except ConfigError as error:
        return error.problems
    return ()


def as_text(tree: Tree) -> str:
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_everything_is_described() -> None:
    types = {"file": SCHEMA, **{name: t for name, t in SCHEMA["$defs"].items() if name[0].isupper()}}
    assert len(types) > 20
    bare = [name for name, one in types.items() if not one["description"]]
    bare += [
        f"{name}.{field}"
        for name, one in types.items()
        for field, schema in one.get("properties", {}).items()
        if not re.search(r"\w", schema["description"].partition("Default:")[0])
    ]
    assert not bare, "a comment is missing in the proto, or says no more than the default"
    assert not re.search(r": `|: $", types["Capacity"]["description"]), "a value without a comment"


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: path.name)
def test_examples_are_accepted_and_name_the_schema(path: Path) -> None:
    text = path.read_text()
    assert text.splitlines()[0] == MODELINE
    VALIDATOR.validate(yaml.safe_load(text))
    assert not problems(text)


@pytest.mark.parametrize("text", WHOLE_FILES)
def test_whole_files_are_accepted_by_both(text: str) -> None:
    VALIDATOR.validate(yaml.safe_load(text))
    assert not problems(text)


def test_whole_files_use_every_field() -> None:
    used: set[tuple[str, str]] = set()

    def walk(schema: dict[str, Any], tree: Tree, name: str) -> None:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = SCHEMA["$defs"][name]
        for key, child in tree.items() if isinstance(tree, dict) else ():
            if "properties" in schema:
                used.add((name, key))
                walk(schema["properties"][key], child, name)
            else:
                walk(schema["additionalProperties"], child, name)

    for text in WHOLE_FILES:
        walk(SCHEMA, yaml.safe_load(text), "file")
    types = {"file": SCHEMA, **SCHEMA["$defs"]}
    assert used == {(name, field) for name, one in types.items() for field in one.get("properties", ())}


@pytest.mark.parametrize("before_and_after", [("", ""), ("${NOT_SET:-", "}"), ("${NOT_SET:-}", "")])
def test_a_value_may_stand_in_quotes_or_come_from_the_environment(before_and_after: tuple[str, str]) -> None:
    for text in WHOLE_FILES:
        tree = yaml.load(text, yaml.BaseLoader)
        for place in places(tree):
            parent, key = parent_of(tree, place), place[-1]
            if isinstance(parent[key], str):
                parent[key] = parent[key].join(before_and_after)
        VALIDATOR.validate(tree)
        assert load(as_text(tree)).proto == load(text).proto


# Numbers and words that almost fit, and anything at all.
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 70_000)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["3", "-1", "1_000", "8GiB", "0.5GiB", "1h30m", "30m1h", "5", "spot", "local"])
    | st.sampled_from(["${X}", "${X:-3}", "$${X}", "true", "no", "1e3", ".5", "/a", "a@b", "x y", ""])
)
VALUES = st.recursive(
    LEAVES,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["local", "manual", "tpu", "host", "x", ""]), children, max_size=3)
    ),
    max_leaves=5,
)

NODES = [(text, place) for text in WHOLE_FILES for place in places(yaml.safe_load(text))]


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(NODES), st.sampled_from([delete, retype, misname, add]), VALUES)
def test_one_node_changed(node: tuple[str, Place], mutate: Mutation, value: Tree) -> None:
    original, place = node
    tree = yaml.safe_load(original)
    mutate(parent_of(tree, place), place[-1], value)
    text = as_text(tree)
    found = problems(text)
    if not accepts(yaml.safe_load(text)):
        assert found, "the schema rejects what the loader takes"
        assert all(problem.position for problem in found)
    elif wrong := [problem for problem in found if SHAPE.match(problem.message)]:
        pytest.fail(f"the schema accepts what has another shape: {wrong}")


WORDS = st.from_regex(r"[a-z][a-z0-9-]{0,15}", fullmatch=True)
COUNTS = st.integers(0, 3)
SPANS = st.sampled_from(["90s", "10m", "1h30m", "1.5h", "2d", "61000ms"])
SIZES = st.sampled_from(["64MiB", "8GiB", "0.5GiB", "500GB", "1.5 TB", 2**30])
COMMON = {
    "min_slices": COUNTS,
    "buffer_slices": COUNTS,
    "priority": st.integers(0, 1000),
    "host_resources": st.fixed_dictionaries({}, optional={"cpu": st.floats(0.001, 1e6), "memory": SIZES}),
    "idle_timeout": SPANS,
    "boot_timeout": SPANS,
    "task_lease": SPANS,
    "labels": st.dictionaries(st.sampled_from(["a", "b_c"]), WORDS | st.integers(0, 9), max_size=2),
}
LOCAL_GROUPS = st.fixed_dictionaries(
    {"provider": st.just({"local": {}}), "max_slices": st.just(3)},
    optional={**COMMON, "slice_size": st.integers(1, 9), "zones": st.lists(WORDS, min_size=1, max_size=1)},
)
TPU_GROUPS = st.fixed_dictionaries(
    {
        "provider": st.just({"tpu": {"project_id": "p"}}),
        "accelerator_type": st.sampled_from(["v5litepod-16", "v5e-4", "V4-8"]),
        "zones": st.lists(WORDS, min_size=1, max_size=3, unique=True),
        "max_slices": st.just(3),
    },
    optional={**COMMON, "capacity": st.sampled_from(["on_demand", "spot", "reserved"])},
)
FILES = st.fixed_dictionaries(
    {"name": WORDS.filter(lambda name: not name.endswith("-local"))},
    optional={
        "controller": st.sampled_from([{}, {"local": {}}, {"local": {"port": 7}}]),
        "scale_groups": st.dictionaries(WORDS, LOCAL_GROUPS | TPU_GROUPS, max_size=3),
        "logs": st.fixed_dictionaries({}, optional={"max_size": SIZES}),
        "autoscaler": st.fixed_dictionaries({}, optional={"evaluation_interval": SPANS}),
        "storage": st.just({"state_dir": "/s"}),
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(FILES)
def test_generated_files_are_accepted_by_both(tree: Tree) -> None:
    VALIDATOR.validate(tree)
    assert not problems(as_text(tree))


@pytest.mark.parametrize(
    "text",
    [
        local_group("capacty: spot"),
        local_group("capacity: SPOT"),
        local_group("idle_timeout: 90"),
        local_group("idle_timeout: 1m1h"),
        local_group("priority: -1"),
        local_group("host_resources: {memory: 8Gib}"),
        local_group("zones: here"),
        local_group().replace("here", "Here"),
        local_group().replace("{local: {}}", "{local: {}, manual: {hosts: [h]}}"),
        local_group().replace("{local: {}}", "{}"),
        local_group().replace("{local: {}}", "{local: }"),
        local_group().replace("{local: {}}", "{manual: {hosts: []}}"),
        local_group().replace("    provider: {local: {}}", "    min_slices: 0"),
        local_group().replace("name: demo\n", ""),
        local_group().replace("name: demo", "name: ''"),
        GCP.replace("30GiB", "30"),
        GCP.replace("port: 10400", "port: 65535"),
    ],
)
def test_what_both_reject(text: str) -> None:
    assert not accepts(yaml.safe_load(text))
    found = problems(text)
    assert found and all(problem.position for problem in found)
