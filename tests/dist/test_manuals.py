"""Every executable comes with its manual page and with completion for shells."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.dist.wheels import EXECUTABLES, PACKAGES, install, run, wheel_of
from tools.manuals_hook import manual_page

PLACES = [
    "share/man/man1/{}.1",
    "share/bash-completion/completions/{}",
    "share/zsh/site-functions/_{}",
    "share/fish/vendor_completions.d/{}.fish",
]
PARSERS = {
    "iris-cli": "iris_cli.arguments.tree",
    "iris-controller": "iris_controller.parser",
    "iris-bootstrap": "iris_bootstrap.main",
}
# Prints, for the program and for every command that its help shows: its name, its
# options and its epilog.
LISTING = """
import argparse, json, sys
def listing(parser):
    found = [[parser.prog, [w for a in parser._actions for w in a.option_strings], parser.epilog or ""]]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._get_subactions():
                found += listing(action.choices[choice.dest])
    return found
module = __import__(sys.argv[1], fromlist=["build_parser"])
print(json.dumps(listing(module.build_parser())))
"""
# Completes the words behind the file, the last of which is being typed.
COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
function=$(complete -p "$1" | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
needs_groff = pytest.mark.skipif(not shutil.which("groff"), reason="no groff: Debian's package groff-base")


@pytest.fixture(params=EXECUTABLES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def prefix(tmp_path: Path, wheels: Path, name: str) -> Path:
    return unpacked(name, wheels, tmp_path)


def unpacked(name: str, wheels: Path, where: Path) -> Path:
    """What the wheel of an application puts below the prefix."""
    with zipfile.ZipFile(wheel_of(name, wheels)) as wheel:
        wheel.extractall(where)
    (data,) = where.glob("*.data/data")
    return data


def rendered(page: Path) -> str:
    """A page as text, without bold and the like; fails where groff has anything to say."""
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=78n", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listing(name: str) -> list[tuple[str, list[str], str]]:
    # From the sources and the standard library alone, as when the wheel is built.
    source = f"{PACKAGES[name]}/src"
    text = run(sys.executable, "-c", LISTING, PARSERS[name], PYTHONPATH=source)
    return [(prog, options, epilog) for prog, options, epilog in json.loads(text)]


def test_a_wheel_has_page_and_completion(name: str, prefix: Path) -> None:
    there = {str(file.relative_to(prefix)) for file in prefix.rglob("*") if file.is_file()}
    assert there == {place.format(EXECUTABLES[name]) for place in PLACES}


@needs_groff
def test_a_page_shows_every_command_and_option(name: str, prefix: Path) -> None:
    text = rendered(prefix / f"share/man/man1/{EXECUTABLES[name]}.1")
    # Headings of commands are indented by three columns, those of the page by none.
    sections = dict(re.findall(r"^   (\S.*)\n((?:(?:    .*)?\n)*)", text, re.MULTILINE))
    (program, known, epilog), *commands = listing(name)
    for prog, options, epilog_of_command in commands:
        is_noun = any(other.startswith(f"{prog} ") for other, _, _ in commands)
        section = sections.get(prog, "")
        assert is_noun or section, prog
        for option in options:
            assert re.search(rf"(^|\s){re.escape(option)}\b", text if option in known else section), option
        for line in re.findall(r"^  (.*iris .*)", epilog_of_command, re.MULTILINE):
            assert f"\n           {line}\n" in section
    for line in [*known, *re.findall(r"^  (iris .*)", epilog, re.MULTILINE)]:
        assert f"       {line}" in text or f", {line}" in text
    assert text.startswith(f"{program.upper()}(1)")
    # Hyphenation could have broken an option; a true hyphen cannot be pasted into a shell.
    assert "\N{HYPHEN}" not in text


@needs_groff
def test_the_page_of_iris_has_the_sections_that_people_look_for(prefix: Path, name: str) -> None:
    text = rendered(prefix / f"share/man/man1/{EXECUTABLES[name]}.1")
    headings = re.findall(r"^[A-Z].*", text, re.MULTILINE)
    assert {"NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"} <= set(headings)
    if name == "iris-cli":
        assert {"COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"} <= set(headings)


@needs_groff
def test_any_text_survives(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser("it", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = ".so much\n'tis C:\\new, ~/x and `y`"
    parser.epilog = "examples:\n  it -n 'a b' \\\n  ./it --as-it-is\n\nexit status:\n  0 well   3 not well"
    parser.add_argument("-n", metavar="FILE", help="./it, or 'that'")
    page = tmp_path / "it.1"
    page.write_text(manual_page(parser, about="a-b", source="It", files="", see_also=""))
    text = rendered(page)
    for line in [
        *(".so much 'tis C:\\new, ~/x and `y`", "-n FILE", "./it, or 'that'", "it - a-b"),
        *("it -n 'a b' \\\n       ./it --as-it-is\n", "0      well\n", "3      not well\n"),
    ]:
        assert line in text


def test_a_page_has_the_date_that_the_build_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[str, Any] = {"about": "it", "source": "It", "files": "", "see_also": ""}
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert manual_page(argparse.ArgumentParser("it"), **parts).startswith('.TH IT "1" "" "It"')
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert r'"1970\-01\-02"' in manual_page(argparse.ArgumentParser("it"), **parts)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_accepts_the_completion(shell: str, tmp_path: Path, wheels: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell}: Debian's package {shell}")
    place = next(place for place in PLACES if shell in place)
    for name, executable in EXECUTABLES.items():
        run(shell, "-n", unpacked(name, wheels, tmp_path / name) / place.format(executable))


@pytest.mark.parametrize("name", ["iris-cli"], indirect=True)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cluster st", {"start", "status", "stop"}),
        ("--config it.yaml job l", {"list", "logs"}),
        ("-v job logs --f", {"--follow"}),
        ("job list -o ", {"table", "wide", "json", "yaml"}),
        ("-o j", {"json"}),
        ("cluster start --config it", {"it.yaml"}),
        ("cluster start --state-dir ", {"a dir"}),
        # A command is one only behind the dashes.
        ("job run ", {"--"}),
        ("job run --gang -- it-is-a-pro", {"it-is-a-program"}),
        ("job run -- cat -o it", {"it.yaml"}),
    ],
)
def test_bash_completes(words: str, expected: set[str], prefix: Path, tmp_path: Path) -> None:
    where = tmp_path / "where"
    (where / "a dir").mkdir(parents=True)
    (where / "it.yaml").touch()
    program = tmp_path / "it-is-a-program"
    program.touch(mode=0o755)
    script = prefix / "share/bash-completion/completions/iris"
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", script, "iris", *words.split(" ")],
        cwd=where,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert set(done.stdout.splitlines()) == expected


def test_an_installed_page_is_where_man_looks(name: str, python: Path, wheels: Path) -> None:
    install(python, wheels, name)
    # `man` goes from the bin of a search path to the share/man beside it.
    assert (python.parent.parent / f"share/man/man1/{EXECUTABLES[name]}.1").is_file()


def test_two_builds_are_the_same(name: str, tmp_path: Path, wheels: Path) -> None:
    # From the tree instead of from the sdist, elsewhere, for a terminal of another width.
    run(
        "uv",
        "build",
        "--quiet",
        "--wheel",
        "--out-dir",
        tmp_path,
        PACKAGES[name],
        COLUMNS="50",
        TZ="Asia/Tokyo",
    )
    assert wheel_of(name, tmp_path).read_bytes() == wheel_of(name, wheels).read_bytes()
