"""What is typed wrong ends with 2 and a line that says how to do it right."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from iris_cli import dispatch
from iris_cli.arguments.quantities import (
    cpu_millis,
    duration_s,
    job_id,
    limit_ms,
    not_negative,
    replicas,
    size_bytes,
)
from iris_cli.arguments.words import split_words
from iris_cli.main import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "IRIS_CONFIG", "IRIS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["jb"], "there is no command 'jb'; did you mean: iris job?"),
        (["job", "ru"], "there is no command 'job ru'; did you mean: iris job run?"),
        (["run"], "did you mean: iris job run?"),
        (["job"], "job needs a command: run, list, show"),
        (["-v"], "a command is missing"),
        (["job", "list", "--actve"], "unknown option --actve; did you mean --active?"),
        (["job", "list", "--act"], "unknown option --act"),
        (["job", "list", "x"], "unexpected argument 'x'"),
        (["job", "show"], "the following arguments are required: ID"),
        (["-o", "xml", "job", "list"], "invalid choice: 'xml'"),
        (["--config", "a", "job", "list", "--cluster", "b"], "not allowed with argument"),
        (["job", "run", "echo", "hi"], "put -- before the command: iris job run [options] -- echo hi"),
        (["job", "run", "echo", "--", "hi"], "unexpected argument 'echo' before --"),
        (["job", "run", "--"], "a command is missing"),
        (["job", "run", "--", ""], "a command is missing"),
        (["job", "run", "-e", "--", "x"], "argument -e/--env: expected one argument"),
        (["job", "run", "--replicas", "0", "--", "x"], "0 is not between 1 and 1,000,000"),
        (["job", "show", "\udcff"], "argument ID: '\\udcff' is not UTF-8 text: no job has that id"),
        (["job", "wait", "x" * 65], "no job has an id of 65 characters"),
        (["--cluster", "\udcff", "job", "list"], "there is no cluster"),
        (["job", "run", "--cpu", "many", "--", "x"], "'many' is not a number of processors"),
        (["job", "run", "--memory", "2 giga", "--", "x"], "expected a size such as 8GiB"),
        (["job", "wait", "--timeout", "soon", "x"], "expected a duration such as 90s"),
        (["job", "list"], "which cluster?"),
        (["--cluster", "nope", "job", "list"], "there is no cluster nope; looked for nope.yaml"),
        (["--cluster", "../x", "job", "list"], "there is no cluster ../x"),
        (["--config", "nope.yaml", "job", "list"], "nope.yaml: error: cannot read"),
        (["cluster", "start"], "provider: { local: {} }"),
    ],
)
def test_usage_errors(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert "Traceback" not in captured.err


def test_global_options_stand_anywhere() -> None:
    for words in (
        ["-o", "json", "--config", "f", "job", "list", "--active"],
        ["job", "-o", "json", "--config", "f", "list", "--active"],
        ["job", "list", "--active", "-o", "json", "--config", "f"],
        ["-ojson", "job", "list", "--config=f", "--active"],
    ):
        split = split_words(words)
        assert (split.noun, split.verb, split.command) == ("job", "list", None)
        options = dispatch._parse(split.noun, split.verb, split.options, split.command)
        assert options is not None
        assert (options.output, options.config, options.active) == ("json", "f", True)


def test_the_command_is_not_ours() -> None:
    split = split_words(["job", "run", "-v", "--", "prog", "--help", "-o", "x", "--", "y"])
    assert split.options == ["-v"]
    assert split.command == ["prog", "--help", "-o", "x", "--", "y"]


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (cpu_millis, "0.5", 500),
        (cpu_millis, "2", 2000),
        (cpu_millis, ".25", 250),
        (cpu_millis, "1.", 1000),
        (cpu_millis, "0.001", 1),
        (size_bytes, "2GiB", 2 << 30),
        (size_bytes, "500MB", 500_000_000),
        (duration_s, "1h30m", 5400.0),
        (duration_s, "250ms", 0.25),
        (limit_ms, "1h0.5s", 3_600_500),
        (replicas, "1", 1),
        (replicas, "1000000", 1_000_000),
        (job_id, "x" * 64, "x" * 64),
        (not_negative, "0", 0),
    ],
)  # fmt: skip
def test_quantities(parse: type, text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (cpu_millis, "0"),
        (cpu_millis, "-1"),
        (cpu_millis, "0.0001"),
        (cpu_millis, "nan"),
        (cpu_millis, "1e3"),
        (cpu_millis, "."),
        (cpu_millis, "٣"),
        (size_bytes, "0"),
        (size_bytes, "99999999999TiB"),
        (duration_s, "0s"),
        (duration_s, ""),
        (limit_ms, "0s"),
        (limit_ms, "0.0001s"),
        (limit_ms, "10"),
        (replicas, "1_0"),
        (replicas, " 1"),
        (replicas, "1000001"),
        (job_id, ""),
        (job_id, "x" * 65),
        (job_id, "\udcff"),
        (not_negative, "9" * 5000),
        (not_negative, "2147483648"),
    ],
)
def test_quantities_that_are_none(parse: type, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


def test_a_defect_is_one_line_and_a_hint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # `version` with a module that is none stands for any defect.
    monkeypatch.setitem(dispatch.COMMANDS, ("", "version"), "iris_cli.text")
    assert main(["version"]) == 1
    first = capsys.readouterr().err.splitlines()
    assert first[0].startswith("iris: unexpected error: AttributeError")
    assert "IRIS_DEBUG=1 or -v -v" in first[1] and len(first) == 2
    assert main(["-v", "version", "-v"]) == 1
    assert "Traceback" in capsys.readouterr().err
