"""Help is fresh, complete, readable, and cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

from iris_cli import __version__
from iris_cli._help_text import HELP
from iris_cli.arguments.spec import verb_parser
from iris_cli.arguments.tree import all_commands, build_parser, noun_help, verbs_of
from iris_cli.dispatch import COMMANDS
from iris_cli.help_tool import TARGET, render_module
from iris_cli.main import main

# Importing one of these would cost more than the budget of any help.
HEAVY = {"grpc", "google", "asyncio", "yaml", "iris_proto", "iris_config", "iris_platform", "dataclasses"}


def modules_of(*words: str) -> set[str]:
    """The top-level modules that are loaded when `iris WORDS` is done."""
    program = (
        "import sys\n"
        "from iris_cli.main import main\n"
        "main(sys.argv[1:])\n"
        "sys.stderr.write(' '.join(name.partition('.')[0] for name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["--version"], ["-V"]])
def test_the_first_help_imports_nothing(words: list[str]) -> None:
    loaded = modules_of(*words)
    assert not loaded & (HEAVY | {"argparse", "re", "typing", "difflib"})


@pytest.mark.parametrize(
    "words", [["job", "run", "--help"], ["cluster", "stop", "-h"], ["job", "--help"], ["-v", "--help"]]
)
def test_the_help_of_a_verb_imports_little(words: list[str]) -> None:
    assert not modules_of(*words) & (HEAVY | {"shutil", "difflib", "typing"})


def test_the_help_text_is_fresh() -> None:
    assert TARGET.read_text("utf-8") == render_module(), "run: python -m iris_cli.help_tool"


def test_the_help_text_fits_any_terminal() -> None:
    assert HELP.isascii()
    assert max(map(len, HELP.splitlines())) <= 80


def test_every_command_has_a_module_and_a_help() -> None:
    assert {(noun, verb.name) for noun, verb in all_commands()} == set(COMMANDS)
    for noun, verb in all_commands():
        text = verb_parser(noun, verb).format_help()
        assert verb.description in text
        assert verb.summary in (noun_help(noun) if noun else HELP)
        assert verb.summary[0].isupper() and not verb.summary.endswith(".")
        for example in verb.examples:
            assert f"  {example}\n" in f"{text}\n"


def test_one_parser_knows_everything() -> None:
    parser = build_parser()
    assert parser.parse_args(["job", "wait", "--timeout", "1h", "x"]).timeout == 3600.0
    assert parser.parse_args(["events", "--follow"]).follow is True


def test_what_a_verb_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert verb_parser("job", verbs_of("job")["stop"]).format_help().splitlines()[:6] == [
        "usage: iris job stop [--config FILE | --cluster NAME] [-o FORMAT] [-v] [-h] ID",
        "",
        "Stop a job: its tasks get SIGTERM, and SIGKILL after their grace period. Returns",
        "when the controller has taken it down; `iris job wait ID` waits for the end.",
        "",
        "positional arguments:",
    ]


@pytest.mark.parametrize(
    ("words", "beginning"),
    [
        (["--help"], "usage: iris [--config FILE"),
        (["-o", "json", "--help"], "usage: iris [--config FILE"),
        (["job", "--help"], "usage: iris job COMMAND"),
        (["job", "run", "--help"], "usage: iris job run [options] -- COMMAND"),
        (["job", "run", "--help", "--", "x"], "usage: iris job run [options] -- COMMAND"),
        (["help", "job", "run"], "usage: iris job run [options] -- COMMAND"),
        (["--version"], f"iris {__version__}"),
        (["-v", "--version"], f"iris {__version__}"),
        (["version"], f"iris {__version__} (CPython"),
        (["version", "-o", "json"], f'{{\n  "version": "{__version__}"'),
    ],
)
def test_help_is_where_people_look(
    capsys: pytest.CaptureFixture[str], words: list[str], beginning: str
) -> None:
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(beginning)
    assert captured.err == ""


def test_nothing_typed_shows_help_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", HELP)
