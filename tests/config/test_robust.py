"""Anything at all ends in a configuration or in positioned errors (B4, B5)."""

import string
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_config import ConfigError, IrisConfig
from iris_config.units import format_duration, format_size
from tests.config.mutations import Mutation, Place, delete, parent_of, places, rename, retype
from tests.config.samples import EXAMPLES, load, local_group

CORPUS = Path(__file__).parent / "corpus"
DEMO = yaml.safe_load((EXAMPLES / "demo.yaml").read_text())


def loads_or_explains(text: str) -> IrisConfig | None:
    try:
        return load(text)
    except ConfigError as error:
        explained = [problem.message for problem in error.problems]
    assert all(explained)
    assert explained
    return None


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_the_fuzzer_kept(path: Path) -> None:
    """Inputs that together reach what examples do not; see `fuzz.py`."""
    config = loads_or_explains(path.read_bytes().decode("utf-8", "replace"))
    assert config is None or load(config.to_yaml()) == config


@given(st.text())
def test_any_text(text: str) -> None:
    loads_or_explains(text)


@given(st.text(alphabet="{}[]:,-? &*!|>'\"\n\tab1#%@`", max_size=60))
def test_anything_that_looks_like_yaml(text: str) -> None:
    loads_or_explains(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(places(DEMO))), st.sampled_from([delete, retype, rename]), VALUES)
def test_a_valid_file_with_one_node_changed(place: Place, mutate: Mutation, value: object) -> None:
    tree = yaml.safe_load(yaml.safe_dump(DEMO))
    mutate(parent_of(tree, place), place[-1], value)
    loads_or_explains(yaml.safe_dump(tree, allow_unicode=True))


NAMES = st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=20)
SECONDS = st.integers(60, 10**6).map(lambda s: format_duration(s * 10**9))
GROUPS = st.fixed_dictionaries(
    {"provider": st.just({"local": {}})},
    optional={
        "accelerator_type": NAMES,
        "zones": st.lists(NAMES, min_size=1, max_size=1),
        "min_slices": st.integers(0, 3),
        "max_slices": st.integers(3, 2**31 - 1),
        "buffer_slices": st.integers(0, 5),
        "priority": st.integers(0, 1000),
        "slice_size": st.integers(1, 64),
        "host_resources": st.fixed_dictionaries(
            {},
            optional={
                "cpu": st.integers(1, 10**6).map(lambda millis: millis / 1000),
                "memory": st.integers(0, 2**60).map(format_size),
            },
        ),
        "idle_timeout": SECONDS,
        "boot_timeout": SECONDS,
        "task_lease": SECONDS,
    },
).map(lambda group: {"max_slices": 3, **group})


@given(st.dictionaries(NAMES, GROUPS, max_size=4))
def test_valid_configurations_come_back(groups: dict[str, object]) -> None:  # B4
    config = load(yaml.safe_dump({"name": "demo", "scale_groups": groups}))
    assert set(config.scale_groups) == set(groups)
    assert IrisConfig.from_json(config.to_json()) == config
    assert load(config.to_yaml()) == config


def test_many_aliases_are_no_bomb() -> None:
    """Each level names the one below ten times: 10^9 nodes if they were copied."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigError, match="more than 200,000 values"):
        load("\n".join(lines))


def test_a_node_that_holds_itself() -> None:
    for text in (
        "name: demo\nscale_groups: {a: &a {provider: {local: {}}, host_resources: [*a]}}",
        "name: demo\nscale_groups: &a {a: *a}",
    ):
        with pytest.raises(ConfigError, match="there is no &a before this alias"):
            load(text)


def test_one_long_list_under_many_names() -> None:
    """Small on disk; written out it would be ten billion hosts."""
    hosts = ", ".join(f"h{n}" for n in range(50_000))
    groups = "".join(f"  g{n}: *g\n" for n in range(50_000))
    text = f"name: demo\nscale_groups:\n  g: &g {{provider: {{manual: {{hosts: [{hosts}]}}}}}}\n{groups}"
    with pytest.raises(ConfigError, match="more than 200,000 values"):
        load(text)


def test_enormous_numbers() -> None:
    for line in (f"max_slices: {'9' * 10**6}", f"idle_timeout: {'9' * 10**6}s"):
        with pytest.raises(ConfigError, match=r"found '9{37}\.\.\.'"):
            load(local_group(line))
