"""`${VAR}` and `${VAR:-default}` in values."""

import pytest

from iris_config import ConfigError, IrisConfig, parse_config
from iris_config.environment import escape, expand
from tests.config.samples import MACHINE, local_group

SET = {"ZONE": "rack-7", "MANY": "3", "EMPTY": "", "TOKEN": "s3cr3t"}


def load(text: str) -> IrisConfig:
    return parse_config(text, source="demo.yaml", machine=MACHINE, environment=SET)


@pytest.mark.parametrize(
    ("text", "expanded", "names"),
    [
        ("plain $5 {}", "plain $5 {}", ()),
        ("${ZONE}", "rack-7", ("ZONE",)),
        ("a-${ZONE}-${MANY}-${ZONE}", "a-rack-7-3-rack-7", ("ZONE", "MANY")),
        ("${NOT_SET:-else}", "else", ("NOT_SET",)),
        ("${EMPTY:-else}", "else", ("EMPTY",)),
        ("${EMPTY}", "", ("EMPTY",)),
        ("${NOT_SET:-}", "", ("NOT_SET",)),
        ("$${ZONE}", "${ZONE}", ()),
        ("$${ZONE} ${ZONE}", "${ZONE} rack-7", ("ZONE",)),
    ],
)
def test_references(text: str, expanded: str, names: tuple[str, ...]) -> None:
    assert expand(text, SET) == (expanded, names)


@pytest.mark.parametrize("text", ["${}", "${9}", "${A", "${A:?no}", "x ${ A }"])
def test_references_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected \${NAME} or"):
        expand(text, SET)


@pytest.mark.parametrize("text", ["${ZONE}", "$${ZONE}", "$$${", "$", ""])
def test_what_is_escaped_means_itself(text: str) -> None:
    assert expand(escape(text), SET) == (text, ())


def test_in_texts_numbers_lists_and_maps() -> None:
    text = local_group("max_slices: ${MANY}", 'zones: ["${ZONE}"]', "labels: {team: '${TEAM:-vision}'}")
    group = load(text).scale_groups["here"]
    assert (group.max_slices, list(group.zones), dict(group.labels)) == (3, ["rack-7"], {"team": "vision"})


def test_a_variable_that_is_not_set() -> None:
    with pytest.raises(ConfigError) as caught:
        load(local_group("max_slices: ${SLICES}", "priority: ${PRIO}"))
    assert str(caught.value).splitlines() == [
        (
            "demo.yaml:5:17: error: scale_groups.here.max_slices: the environment variable SLICES is not set;"
            " set it, or write ${SLICES:-default}"
        ),
        (
            "demo.yaml:6:15: error: scale_groups.here.priority: the environment variable PRIO is not set;"
            " set it, or write ${PRIO:-default}"
        ),
    ]


def test_a_variable_that_holds_something_else_is_not_printed() -> None:
    with pytest.raises(ConfigError) as caught:
        load(local_group("max_slices: ${TOKEN}"))
    assert "expected a whole number, found '${TOKEN}'" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_keys_are_not_expanded() -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        load("name: demo\n${ZONE}: 1\n")


def test_a_resolved_file_means_the_same_without_the_variables() -> None:
    container = "bootstrap: {container: {image: 'a/b', env: {HOME: '$${HOME}', T: '${TOKEN}'}}}\n"
    config = load(local_group() + container)
    assert dict(config.proto.bootstrap.container.env) == {"HOME": "${HOME}", "T": "s3cr3t"}
    assert parse_config(config.to_yaml(), machine=MACHINE, environment={}) == config
