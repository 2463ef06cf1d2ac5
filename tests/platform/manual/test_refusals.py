"""A host that refuses our key is not asked again at once, and says who can mend it."""

from __future__ import annotations

import pytest

from iris_platform.base import PermissionMissing, Unreachable
from iris_platform.manual.refusals import Refusals
from iris_platform.ssh import SshConnection, SshTarget
from iris_platform.ssh.memory import MemoryHost

ONE, TWO = SshTarget("h1"), SshTarget("h2")


class Door:
    """Hosts, one of which may refuse; `now_s` is only moved by hand."""

    def __init__(self, *, own_key: bool = False) -> None:
        self.now_s = 0.0
        self.error: Exception | None = PermissionMissing("h1: none of the keys; add one")
        self.dialled: list[str] = []
        self.refusals = Refusals(self._dial, own_key=own_key, clock_s=lambda: self.now_s)

    def _dial(self, target: SshTarget) -> SshConnection:
        self.dialled.append(target.host)
        if target == ONE and self.error is not None:
            raise self.error
        return MemoryHost().connect()

    def refused(self) -> str:
        """What a try says."""
        with pytest.raises(PermissionMissing) as error:
            self.refusals.connect(ONE)
        return str(error.value)


def test_a_refused_key_is_shown_again_after_a_pause_that_grows() -> None:
    door = Door()
    tries = []
    for second in range(200):
        door.now_s = second
        assert door.refused() == "h1: none of the keys; add one"
        tries.append(len(door.dialled))
    assert [n for n in range(1, 200) if tries[n] > tries[n - 1]] == [30, 90, 150]
    # Others are dialled all the while.
    assert door.refusals.connect(TWO).is_alive


def test_one_that_lets_us_in_after_all_is_an_ordinary_host() -> None:
    door = Door()
    door.refused()
    door.error, door.now_s = None, 30
    assert door.refusals.connect(ONE).is_alive and door.refusals.connect(ONE).is_alive
    door.error = PermissionMissing("again")
    door.refused()
    door.now_s += 29
    door.refused()
    assert door.dialled == ["h1"] * 4


def test_other_troubles_are_tried_at_once() -> None:
    door = Door()
    door.error = Unreachable("no route to host")
    for _ in range(3):
        with pytest.raises(Unreachable, match="no route"):
            door.refusals.connect(ONE)
    assert len(door.dialled) == 3


def test_a_controllers_own_key_is_let_in_by_a_start() -> None:
    assert Door(own_key=True).refused() == (
        "h1: did not let the controller's key in; `iris cluster start` lets it in"
    )
