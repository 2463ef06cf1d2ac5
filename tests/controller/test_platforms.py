"""The highest epoch in any slice's name, of all zones together."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, cast

from iris_controller.shell.platforms import highest_epoch
from iris_platform import Platform
from iris_platform.base import PartlySeen, SliceCloudState, SliceInfo, Unreachable
from iris_platform.names import slice_name

ID = "abcdefghij"


def seen(*epochs: int) -> list[SliceInfo]:
    return [
        SliceInfo(slice_name(ID, "g", epoch, 1), "z", {}, SliceCloudState.RUNNING, (), 0) for epoch in epochs
    ]


class Zones:
    """Answers for each zone; an error is raised."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers
        self.together = threading.Barrier(len(answers))

    def zones(self) -> tuple[str, ...]:
        return tuple(self._answers)

    def list_slices(self, labels: Mapping[str, str], zone: str) -> list[SliceInfo]:
        # Fails where they are asked one after the other.
        self.together.wait(20)
        answer = self._answers[zone]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)


def test_of_all_zones_at_once_and_of_what_a_half_seen_one_shows() -> None:
    answers = {"a": seen(5, 7), "b": PartlySeen("one host is silent", seen(9)), "c": Unreachable("503")}
    zones = cast("Platform", Zones(answers))
    assert highest_epoch([zones, zones]) == 9


def test_nothing_is_there() -> None:
    assert highest_epoch([]) == 0
    assert highest_epoch([cast("Platform", Zones({"a": []}))]) == 0
