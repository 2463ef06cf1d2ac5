"""The command line of the agent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iris_bootstrap import __version__
from iris_bootstrap.main import build_parser, main


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "iris_bootstrap", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **env})


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"iris-bootstrap {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such-command"],
        ["run"],
        ["run", "--host-dir", "/tmp", "--orphan-timeout", "0"],
        ["run", "--host-dir", "/tmp", "--orphan-timeout", "soon"],
        ["run", "--host", "/tmp"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "iris-bootstrap" in capsys.readouterr().err


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_host_that_cannot_be_used_is_status_2(tmp_path: Path, detach: list[str]) -> None:
    missing = run("run", "--host-dir", str(tmp_path / "none"), *detach)
    assert (missing.returncode, missing.stderr) == (
        2,
        f"iris-bootstrap: error: {tmp_path}/none: no such directory\n",
    )
    empty = run("run", "--host-dir", str(tmp_path), *detach)
    assert empty.returncode == 2
    assert empty.stderr.startswith(f"iris-bootstrap: error: {tmp_path}/host.json: ")
    assert empty.stderr.count("\n") == 1


def test_help_lists_what_is_for_people_only() -> None:
    text = build_parser().format_help()
    assert "run" in text
    assert "keeper" not in text
    assert "pipe-fd" not in text


def test_help_imports_next_to_nothing() -> None:
    code = "import sys; from iris_bootstrap.main import main\ntry: main(['run', '--help'])\nfinally: print(*sys.modules)"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    modules = text.splitlines()[-1].split()
    assert "argparse" in modules
    assert not {"asyncio", "grpc", "google.protobuf", "json", "socket"} & set(modules)


def test_keeper_has_the_standard_library_only() -> None:
    code = (
        "import sys, iris_bootstrap.keeper.boot; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    ours = {"iris_bootstrap", "iris_platform"}
    outside = set(text.split()) - sys.stdlib_module_names - ours
    # What the interpreter itself loads at its start.
    assert {name for name in outside if not name.startswith(("_", "sitecustomize", "usercustomize"))} == set()
    assert "asyncio" not in text.split()
