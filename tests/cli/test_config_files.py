"""`iris config validate` and `iris config show`: what they say of files, and what they keep to themselves."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cli.runner import DEADLINE_S, Runner

GOOD = "name: good\nscale_groups: {here: {provider: {local: {}}, max_slices: 2}}\n"
BAD = """\
name: good
scale_groups:
  here:
    provider: {local: {}}
    max_slces: many
    idle_timeout: 10
  none: {provider: {local: {}}, max_slices: 0}
"""
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@pytest.fixture
def files(iris: Runner) -> Runner:
    (iris.home / "good.yaml").write_text(GOOD)
    (iris.home / "bad.yaml").write_text(BAD)
    return iris


def test_everything_that_is_wrong_in_order_and_a_count(files: Runner) -> None:
    done = files("config", "validate", "good.yaml", "bad.yaml")
    assert done.status == 2
    assert done.text.splitlines() == [
        "bad.yaml:5:5: error: scale_groups.here.max_slces: unknown key; did you mean max_slices?",
        "bad.yaml:5:16: error: scale_groups.here.max_slices: expected a whole number, found 'many'",
        (
            "bad.yaml:6:19: error: scale_groups.here.idle_timeout: expected a duration such as 90s, 10m or"
            " 1h30m, found '10'; did you mean 10s or 10m?"
        ),
        "bad.yaml:7:45: warning: scale_groups.none.max_slices: nothing can ever run here while it is 0",
    ]
    assert done.err.splitlines() == [
        "good.yaml: valid: cluster good, 1 scale group",
        "bad.yaml: 3 errors, 1 warning",
    ]


def test_for_programs(files: Runner) -> None:
    done = files("config", "validate", "bad.yaml", "-o", "json")
    (file,) = done.document["files"]
    assert (done.status, file["file"], file["valid"], len(file["problems"])) == (2, "bad.yaml", False, 4)
    assert file["problems"][1] == {
        "severity": "error",
        "line": 5,
        "column": 16,
        "field": "scale_groups.here.max_slices",
        "message": "expected a whole number, found 'many'",
    }


def test_warnings_fail_only_where_that_is_wanted(files: Runner) -> None:
    (files.home / "warned.yaml").write_text(GOOD.replace("max_slices: 2", "max_slices: 0"))
    done = files("config", "validate", "warned.yaml")
    assert (done.status, done.err) == (0, "warned.yaml: valid: cluster good, 1 scale group; 1 warning\n")
    done = files("config", "validate", "--strict", "warned.yaml")
    assert (done.status, done.err) == (2, "warned.yaml: 1 warning, not let pass\n")


def test_standard_input(files: Runner) -> None:
    def validate(data: bytes) -> subprocess.CompletedProcess[bytes]:
        command = [str(files.python), "-m", "iris_cli", "config", "validate", "-"]
        return subprocess.run(
            command, input=data, env=files.env, capture_output=True, timeout=DEADLINE_S, check=False
        )

    assert validate(GOOD.encode()).returncode == 0
    done = validate(b"name: \xff\n")
    assert (done.returncode, done.stdout[:10]) == (2, b"-:1:7: err")


def test_where_each_value_came_from(files: Runner) -> None:
    (files.home / "good.yaml").write_text(GOOD.replace("max_slices: 2", "max_slices: '${MANY}'"))
    files.env["MANY"] = "3"
    values = files("config", "show", "good.yaml", "-o", "json").document["values"]
    found = {value["field"]: (value["value"], value["origin"]) for value in values}
    assert found["name"] == ("good", "good.yaml:1")
    assert found["scale_groups.here.max_slices"] == ("3", "${MANY} in good.yaml:2")
    assert found["scale_groups.here.idle_timeout"] == ("10m", "default")
    assert found["scale_groups.here.host_resources.cpu"][1] == "default, from this machine"
    assert files("--config", "good.yaml", "config", "show").text.splitlines()[0].split() == [
        "FIELD",
        "VALUE",
        "FROM",
    ]


def test_how_another_differs_by_meaning(files: Runner) -> None:
    (files.home / "same.yaml").write_text(json.dumps(yaml.safe_load(GOOD)))
    (files.home / "other.yaml").write_text(GOOD.replace("max_slices: 2", "max_slices: 5, idle_timeout: 90s"))
    done = files("config", "show", "good.yaml", "--diff", "same.yaml")
    assert (done.status, done.out, done.err) == (0, b"", "good.yaml and same.yaml mean the same\n")
    done = files("config", "show", "good.yaml", "--diff", "other.yaml")
    assert (done.status, done.text.splitlines()) == (
        6,
        ["scale_groups.here.max_slices: 2 -> 5", "scale_groups.here.idle_timeout: 10m -> 1m30s"],
    )
    document = files("config", "show", "good.yaml", "--diff", "other.yaml", "-o", "json").document
    assert document["changes"][0] == {"field": "scale_groups.here.max_slices", "old": "2", "new": "5"}


def test_what_cannot_be_shown(files: Runner) -> None:
    done = files("config", "show", "bad.yaml")
    assert (done.status, done.out) == (2, b"")
    assert done.err.splitlines()[-1] == "iris: bad.yaml cannot be used"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nothing_is_cut_short_in_silence(files: Runner, unbuffered: str) -> None:
    """With PYTHONUNBUFFERED a write that took only a part used to be taken for all of it."""
    show = [str(files.python), "-m", "iris_cli", "config", "show", str(EXAMPLES / "fleet.yaml")]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; "$@" > out.txt', "bash", *show],
        cwd=files.home,
        env={**files.env, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"iris: cannot write standard output: File too large\n")
    assert os.stat(files.home / "out.txt").st_size <= 8192


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_without_a_warning(iris: Runner, path: Path) -> None:
    done = iris("config", "validate", "--strict", str(path))
    assert (done.status, done.out) == (0, b"")
