"""A cluster whose controller is to be on another machine, on a machine that knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runner import Runner
from tests.harness.ports import free_port

CONFIG = """\
name: far
controller: {{ manual: {{ host: 127.0.0.1, ssh_port: {port} }} }}
scale_groups: {{ boxes: {{ provider: {{ manual: {{ hosts: [127.0.0.1], ssh_port: {port} }} }} }} }}
"""


@pytest.fixture
def far(tmp_path: Path) -> str:
    path = tmp_path / "far.yaml"
    path.write_text(CONFIG.format(port=free_port()))
    return str(path)


def test_it_is_not_said_to_be_down(iris: Runner, far: str) -> None:
    """Nobody asked it: the state directory was lost, or is another machine's."""
    done = iris("--config", far, "job", "list")
    assert done.status == 5
    assert "is to run on 127.0.0.1, of which nothing is known here" in done.err
    assert "cluster login" in done.err


@pytest.mark.parametrize("more", [(), ("--forget",)])
def test_a_stop_does_not_say_that_there_is_nothing(iris: Runner, far: str, more: tuple[str, ...]) -> None:
    done = iris("--config", far, "cluster", "stop", "-y", *more)
    assert done.status == 6
    assert "it is not known whether cluster far has a controller on 127.0.0.1" in done.err
    assert "never started" not in done.err
