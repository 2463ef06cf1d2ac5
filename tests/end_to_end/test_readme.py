"""What the README says to type works as it stands there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.harness.cluster import COMMAND_S, LocalCluster
from tests.harness.pages import ROOT, blocks, environ_of

# Of the clone, which the tests' environment stands for.
SETUP = ("./dev ", "export PATH=")


def commands(heading: str) -> list[str]:
    """The lines to type below a heading."""
    shown = blocks("README.md", f"## {heading}", "sh")
    lines = [line for block in shown for line in block.splitlines() if line]
    return [line for line in lines if not line.startswith(SETUP)]


@pytest.mark.parametrize("heading", ["Use it", "Configure it"])
def test_every_command_that_it_shows(tmp_path: Path, heading: str) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    cluster = LocalCluster(tmp_path)
    try:
        lines = commands(heading)
        assert len(lines) > 4
        for line in lines:
            # It would ask, where there is somebody to answer.
            asks = line.endswith("cluster stop")
            done = subprocess.run(
                ["sh", "-c", f"{line} -y" if asks else line],
                cwd=tmp_path,
                env=environ_of(cluster),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
                check=False,
            )
            expected = 6 if "exits with 6" in line else 0
            assert done.returncode == expected, f"{line}: {done.stdout}{done.stderr}"
        assert cluster.processes() == {}
    finally:
        cluster.destroy()
