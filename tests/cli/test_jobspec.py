"""From typed words to a job's specification."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from iris_cli.exits import USAGE, CliError
from iris_cli.jobspec import MAX_STRING_BYTES, make_environment, make_spec

DEFAULTS: dict[str, Any] = {
    "name": None,
    "replicas": None,
    "accelerator": None,
    "gang": False,
    "slices": None,
    "cpu": None,
    "memory": None,
    "env": [],
    "max_failures": 0,
    "max_losses": None,
    "timeout": None,
}


def options(*command: str, **given: object) -> Namespace:
    return Namespace(command=list(command), **{**DEFAULTS, **given})


def test_defaults_are_said() -> None:
    spec = make_spec(options("/usr/bin/python", "x"), {})
    assert (spec.name, spec.replicas, spec.resources.cpu_millis) == ("python", 1, 1000)
    assert spec.resources.memory_bytes == 0 and not spec.HasField("max_losses")
    assert not spec.HasField("timeout")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("v5e-16", "v5litepod-16"),
        ("V5LITEPOD-16", "v5litepod-16"),
        ("h100x8", "h100x8"),
        ("v5e-17", "v5e-17"),
    ],
)
def test_an_accelerator_has_one_name_and_says_how_many_tasks(word: str, name: str) -> None:
    spec = make_spec(options("x", accelerator=word), {})
    assert (spec.accelerator, spec.replicas) == (name, 0)


def test_replicas_that_are_said_travel_with_an_accelerator() -> None:
    assert make_spec(options("x", accelerator="v5e-16", replicas=3), {}).replicas == 3


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"accelerator": "v5e-16", "slices": 2}, (2, 0)),
        ({"accelerator": "v5e-16", "slices": 2, "replicas": 8}, (2, 8)),
        ({"gang": True, "replicas": 6, "slices": 3}, (3, 6)),
        ({"gang": True, "replicas": 5, "slices": 1}, (1, 5)),
        ({}, (1, 1)),
    ],
)
def test_a_gang_may_be_on_several_slices(given: dict[str, object], sent: tuple[int, int]) -> None:
    spec = make_spec(options("x", **given), {})
    assert (spec.slices, spec.replicas) == sent


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"slices": 2, "replicas": 4}, "--slices 2: only a gang runs on several slices"),
        (
            {"slices": 2, "gang": True},
            "--slices 2: as many tasks are on each slice, and 1 cannot be divided so",
        ),
        (
            {"slices": 3, "gang": True, "replicas": 4},
            "--slices 3: as many tasks are on each slice, and 4 cannot be divided so",
        ),
        (
            {"slices": 2, "accelerator": "v5e-16", "replicas": 5},
            "--slices 2: as many tasks are on each slice, and 5 cannot be divided so",
        ),
    ],
)
def test_slices_that_cannot_be(given: dict[str, object], words: str) -> None:
    with pytest.raises(CliError) as error:
        make_spec(options("x", **given), {})
    assert (error.value.status, error.value.message) == (USAGE, words)


@pytest.mark.parametrize("word", ["", "cpu"])
def test_no_accelerator_is_none(word: str) -> None:
    spec = make_spec(options("x", accelerator=word), {})
    assert (spec.accelerator, spec.replicas) == ("", 1)


def test_a_timeout() -> None:
    assert make_spec(options("x", timeout=5_400_500), {}).timeout.ToMilliseconds() == 5_400_500


@pytest.mark.parametrize(("program", "name"), [("a/b/", "b"), ("/", "/"), ("./x y", "x y")])
def test_the_name_is_the_programs(program: str, name: str) -> None:
    assert make_spec(options(program), {}).name == name


def test_the_last_of_two_variables_counts() -> None:
    assert make_environment(["A=1", "B", "A=2"], {b"B": b"\xc3\xa9"}) == {"A": "2", "B": "é"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["=x"], "expected KEY=VALUE or KEY"),
        ([""], "expected KEY=VALUE or KEY"),
        (["GONE"], "GONE is not set here"),
        # What they hold may be a secret.
        (["RAW"], "-e RAW is not UTF-8 text and cannot travel"),
        (["K=secret\udcff"], "-e K is not UTF-8 text and cannot travel"),
        (["K=secret\0b"], "-e K holds a NUL byte and cannot travel"),
        (["K\udcff=a"], "-e is not UTF-8 text"),
    ],
)
def test_variables_that_cannot_travel(words: list[str], says: str) -> None:
    with pytest.raises(CliError) as caught:
        make_environment(words, {b"RAW": b"\xff"})
    assert caught.value.status == USAGE
    assert says in caught.value.message


def test_what_no_kernel_would_take_is_named() -> None:
    longest = "é" * (MAX_STRING_BYTES // 2) + "x"
    assert make_spec(options("x", longest), {}).command[1] == longest
    with pytest.raises(CliError, match=r"argument 2 is too long: 131,072 bytes, and .* 131,071"):
        make_spec(options("x", "y", f"{longest}x"), {})
    # The kernel takes `K=` with the value.
    assert make_environment([f"K={longest[:-2]}"], {})
    for words, environ in (([f"K={longest}"], {}), (["K"], {b"K": longest.encode()})):
        with pytest.raises(CliError, match="-e K is too long: 131,073 bytes"):
            make_environment(words, environ)


def test_all_together_have_a_limit_too() -> None:
    share = "x" * 100_000
    assert len(make_spec(options("x", *[share] * 18), {}).command) == 19
    with pytest.raises(CliError, match=r"too long together: 1,900,\d+ bytes of at most 1,835,008") as caught:
        make_spec(options("x", *[share] * 10, env=[f"K{n}={share}" for n in range(9)]), {})
    assert caught.value.status == USAGE


@pytest.mark.parametrize("word", ["a\0b", "\udcff"])
def test_arguments_that_cannot_travel(word: str) -> None:
    with pytest.raises(CliError, match="argument 2"):
        make_spec(options("x", "y", word), {})
    with pytest.raises(CliError, match="--name"):
        make_spec(options("x", name=word), {})
