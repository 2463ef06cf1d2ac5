"""A command that the README shows is one that `dev` has."""

import re
import subprocess
import sys

from tests.rules.project import ROOT

SHOWN = r"\./dev ([a-z-]+)"


def unknown_commands(text: str, known: set[str]) -> set[str]:
    return set(re.findall(SHOWN, text)) - known


def dev_commands() -> set[str]:
    usage = subprocess.run(
        [sys.executable, "dev", "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(re.findall(SHOWN, usage.stdout))


def test_the_readme_shows_real_commands() -> None:
    assert not unknown_commands((ROOT / "README.md").read_text(), dev_commands())


def test_dev_knows_its_commands() -> None:
    assert dev_commands() == {"setup", "demo", "test"}
    assert subprocess.run([sys.executable, "dev", "brew"], cwd=ROOT, capture_output=True).returncode == 2


def test_an_unknown_command_is_noticed() -> None:
    assert unknown_commands("first ./dev setup, then ./dev brew", {"setup"}) == {"brew"}
