"""What a start that was interrupted says it has left."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from iris_cli.commands.cluster_start import bring_up
from iris_cli.exits import INTERRUPTED, CliError
from iris_cli.locate import Cluster
from iris_cli.output import Output
from iris_config import parse_config
from iris_platform import ClusterPaths
from iris_platform.controller_vm import ControllerState, ControllerStatus, ControllerVm

CONFIG = "name: demo\nscale_groups: { here: { provider: { local: {} } } }\n"


class Interrupted:
    """A controller whose start is cut short, and what is left of it."""

    def __init__(self, left: ControllerStatus) -> None:
        self._left = left

    def start(self, *_: object) -> None:
        raise KeyboardInterrupt

    def status(self) -> ControllerStatus:
        return self._left


class Silent:
    structured = False

    def note(self, text: str) -> None:
        """Nobody reads it here."""


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (ControllerStatus(ControllerState.ABSENT), "no controller runs"),
        (ControllerStatus(ControllerState.SERVING, 7, "a:1"), "the controller is up (process 7)"),
        (
            ControllerStatus(ControllerState.UNRESPONSIVE, 7, "a:1"),
            "the controller is there, but does not answer yet (process 7)",
        ),
        (
            ControllerStatus(ControllerState.UNRESPONSIVE, 0, "a:1", "its machine has none"),
            "there is a machine for the controller, and none is known to run on it: its machine has none",
        ),
    ],
)
def test_an_interrupted_start_says_what_is_there(left: ControllerStatus, words: str, tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path / "state", tmp_path / "pki", tmp_path / "local")
    cluster = Cluster("demo", paths, None, option="--cluster demo ")
    vm = cast(ControllerVm, Interrupted(left))
    with pytest.raises(CliError) as caught:
        bring_up(vm, cluster, parse_config(CONFIG), cast(Output, Silent()))
    assert caught.value.status == INTERRUPTED
    assert caught.value.message == f"interrupted; {words}"
    # What is there is billed until it is removed.
    assert "iris --cluster demo cluster stop" in caught.value.hint
