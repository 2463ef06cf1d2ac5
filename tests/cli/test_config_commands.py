"""`iris config schema` and `iris config accelerators`: no cluster, no configuration, no gRPC."""

from __future__ import annotations

import json

import pytest
import yaml

from iris_cli.main import main
from iris_config.accelerators import GENERATIONS, all_accelerators
from iris_config.schema import config_schema
from tests.cli.runner import Runner

HOST = {"hosts": 1, "chips_per_host": 4, "host_cpu": 112, "host_memory": 192 * 2**30}


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def types(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    document = json.loads(out(capsys, "config", "accelerators", *words, "-o", "json"))
    return [one["accelerator_type"] for one in document["accelerators"]]


@pytest.mark.parametrize("words", [["config", "schema"], ["config", "accelerators"]])
def test_they_need_nothing(iris: Runner, words: list[str]) -> None:
    program = (
        "import sys\n"
        "from iris_cli.main import main\n"
        "status = main(sys.argv[1:])\n"
        "sys.exit(9 if 'grpc' in sys.modules else status)\n"
    )
    done = iris(*words, program=("-c", program))
    assert (done.status, done.err) == (0, "")
    assert done.out
    assert not list(iris.home.iterdir())


def test_the_schema_is_json_unless_yaml_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "config", "schema")
    assert json.loads(text) == config_schema()
    assert text.startswith('{\n  "$schema": ') and text.endswith("\n}\n")
    assert out(capsys, "config", "schema", "-o", "json") == text
    assert yaml.safe_load(out(capsys, "config", "schema", "-o", "yaml")) == config_schema()


def test_a_table_of_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "config", "accelerators", "v5litepod-16", "v4-8").splitlines() == [
        "TYPE          GENERATION  CHIPS  HOSTS  CHIPS/HOST  TOPOLOGY",
        "v5litepod-16  v5e         16     4      4           4x4",
        "v4-8          v4          4      1      4           2x2x1",
    ]


def test_a_wide_table(capsys: pytest.CaptureFixture[str]) -> None:
    headers, row = out(capsys, "config", "accelerators", "v4-8", "-o", "wide").splitlines()
    assert headers.split()[6:] == ["CPU", "MEMORY", "RUNTIME", "ZONES"]
    assert row.split()[6:] == ["240", "407GiB", "tpu-ubuntu2204-base", ",".join(GENERATIONS["v4"].zones)]


def test_a_document_of_types(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(out(capsys, "config", "accelerators", "v5e-4", "-o", "json"))
    (found,) = document["accelerators"]
    assert found == {
        "accelerator_type": "v5litepod-4",
        "generation": "v5e",
        "chips": 4,
        "topology": "2x2",
        "runtime_version": "v2-alpha-tpuv5-lite",
        "zones": list(GENERATIONS["v5e"].zones),
        **HOST,
    }


def test_what_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    everything = [one.accelerator_type for one in all_accelerators()]
    assert types(capsys) == everything
    assert types(capsys, "V5E") == [f"v5litepod-{size}" for size in GENERATIONS["v5e"].sizes]
    assert types(capsys, "v5e-16", "v5litepod-16") == ["v5litepod-16"]
    there = types(capsys, "--zone", "us-central2-b")
    assert there and set(there) < set(everything)
    assert types(capsys, "v5e", "--zone", "us-central2-b") == []


def test_nothing_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "accelerators", "--zone", "mars-north1-a"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "none of these is known to be offered in mars-north1-a\n"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("v5e-17", "iris: v5e-17: there is no v5litepod-17; v5e comes in 1, 4, 8, 16"),
        ("v55-4", "known generations: v2, v3, v4, v5e, v5p, v6e"),
        ("cpu", "cpu is no TPU type"),
    ],
)
def test_an_unknown_type(capsys: pytest.CaptureFixture[str], word: str, says: str) -> None:
    assert main(["config", "accelerators", "v4-8", word]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
