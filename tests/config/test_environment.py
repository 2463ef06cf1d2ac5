"""`${VAR}` and `${VAR:-default}` in values."""

import pytest

from iris_config import ConfigError, IrisConfig, diff_configs, effective_values, parse_config
from iris_config.environment import escape, expand, names_a_secret
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


def test_one_that_is_empty_or_no_text() -> None:
    with pytest.raises(ConfigError, match=r"found '\$\{EMPTY\}'; the environment variable EMPTY is empty$"):
        load(local_group("accelerator_type: '${EMPTY}'"))
    environment = {"BAD": "a\udcff"}
    with pytest.raises(
        ConfigError, match=r"5:\d+: error: .*: the environment variable BAD is not UTF-8 text"
    ):
        parse_config(local_group("zones: ['${BAD}']"), machine=MACHINE, environment=environment)


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("HF_TOKEN", True),
        ("db_password", True),
        ("LOGIN_PASSPHRASE", True),
        ("PRIVATE_KEY", True),
        ("DB_PASS", True),
        ("GH_PAT", True),
        ("SENTRY_DSN", True),
        ("PATH", False),
        ("AUTHOR", False),
        ("COMPASS", False),
        ("LOG_LEVEL", False),
    ],
)
def test_names_of_secrets(name: str, is_secret: bool) -> None:
    assert names_a_secret(name) is is_secret


SECRET = """\
name: demo
bootstrap: {container: {image: a/b, env: {HUB: "${TOKEN}", MODE: fast}}}
scale_groups:
  here:
    provider: {local: {}}
    labels: {k: "${TOKEN}"}
"""


def test_what_a_secrets_variable_holds_is_not_shown() -> None:
    config = load(SECRET)
    values = {value.field: value.value for value in effective_values(config)}
    assert values["bootstrap.container.env.HUB"] == values["scale_groups.here.labels.k"] == "(hidden)"
    assert values["bootstrap.container.env.MODE"] == "fast"
    other = parse_config(SECRET, machine=MACHINE, environment={"TOKEN": "other"})
    assert [str(change) for change in diff_configs(config, other)] == [
        "scale_groups.here.labels.k: (hidden) -> (hidden)",
        "bootstrap.container.env.HUB: (hidden) -> (hidden)",
    ]


def test_what_a_secrets_variable_holds_is_in_no_message() -> None:
    lines = ("zones: ['${TOKEN}', '${TOKEN}']", "labels: {k: '${TOKEN} x'}")
    with pytest.raises(ConfigError) as caught:
        load(local_group(*lines))
    assert "${TOKEN} is listed twice" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
