"""A cloud deletes slices long after it was told to: they are followed until none is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from iris_cli.teardown import direct, live
from iris_cli.teardown.look import Blind, Seen
from iris_cli.teardown.scope import Place
from iris_platform import ClusterPaths, Platform
from iris_platform.base import SliceCloudState, SliceInfo, Unreachable


class Cloud:
    """Shows each listing that it was told to show, the last one for ever."""

    def __init__(self, *listings: dict[str, SliceCloudState] | Exception) -> None:
        self._listings = list(listings)
        self.deleted: list[str] = []
        self.looks = 0

    def list_slices(self, labels: Mapping[str, str], zone: str) -> list[SliceInfo]:
        self.looks += 1
        shown = self._listings.pop(0) if len(self._listings) > 1 else self._listings[0]
        if isinstance(shown, Exception):
            raise shown
        return [SliceInfo(name, zone, {}, state, (), 0) for name, state in shown.items()]

    def delete_slice(self, name: str, zone: str) -> None:
        self.deleted.append(name)

    def tidy(self, zone: str) -> None:
        """Nothing is kept."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "FOLLOW_S", 0.0)


READY, DELETING = SliceCloudState.RUNNING, SliceCloudState.DELETING


def clear(cloud: Cloud, folder: Path, provider: str = "tpu") -> tuple[direct.Result, list[str]]:
    notes: list[str] = []
    paths = ClusterPaths(folder / "state", folder / "pki", folder / "local")
    place = Place("z", provider, cast("Platform", cloud))
    found = direct.clear([place], ["z"], paths, notes.append)
    return found, [note.split("  ")[-1] for note in notes]


def test_until_it_is_gone(tmp_path: Path) -> None:
    cloud = Cloud({"s": READY}, {"s": READY}, {"s": DELETING}, {"s": DELETING}, {})
    found, notes = clear(cloud, tmp_path)
    assert cloud.deleted == ["s"]
    assert [isinstance(look, Seen) and look.slices for look in found.looks] == [()]
    assert notes == ["deleting slice s in zone z", "slice s: DELETING", "slice s: GONE"]


def test_while_nothing_changes_it_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SILENT_S", 0.0)
    cloud = Cloud({"s": DELETING}, {"s": DELETING, "other": READY}, {"s": DELETING, "other": READY}, {})
    _, notes = clear(cloud, tmp_path)
    told = [note for note in notes if note.startswith("waiting for")]
    assert [note[: note.index(",")] for note in told] == ["waiting for slice s (DELETING)"]
    assert told[0].endswith("more at most")


def test_a_look_that_fails_is_not_its_end(tmp_path: Path) -> None:
    cloud = Cloud({"s": READY}, {"s": DELETING}, Unreachable("503"), {"s": DELETING}, {})
    found, _ = clear(cloud, tmp_path)
    assert [isinstance(look, Seen) and look.slices for look in found.looks] == [()]
    assert cloud.deleted == ["s"]


def test_one_that_stays_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "CLOUD_S", 0.0)
    cloud = Cloud({"s": DELETING})
    found, _ = clear(cloud, tmp_path)
    (look,) = found.looks
    assert isinstance(look, Seen)
    assert [info.slice_id for info in look.slices] == ["s"]
    assert cloud.looks == 1 + direct.ROUNDS


def test_a_zone_that_cannot_be_seen_at_all_is_not_waited_for(tmp_path: Path) -> None:
    cloud = Cloud(Unreachable("503"))
    found, notes = clear(cloud, tmp_path)
    assert [type(look) for look in found.looks] == [Blind]
    assert (cloud.looks, notes) == (1, [])


def test_hosts_and_processes_are_gone_when_the_call_returns(tmp_path: Path) -> None:
    cloud = Cloud({"s": READY}, {"s": DELETING})
    clear(cloud, tmp_path, "manual")
    assert cloud.looks == 1 + direct.ROUNDS


def test_a_blind_zone_does_not_hold_up_another(tmp_path: Path) -> None:
    sighted, blind = Cloud({"s": READY}, {"s": DELETING}, {}), Cloud(Unreachable("503"))
    paths = ClusterPaths(tmp_path / "state", tmp_path / "pki", tmp_path / "local")
    places = [Place("y", "tpu", cast("Platform", blind)), Place("z", "tpu", cast("Platform", sighted))]
    found = direct.clear(places, ["y", "z"], paths, lambda note: None)
    assert [type(look) for look in found.looks] == [Seen, Blind]
    assert (sighted.looks, blind.looks) == (3, 1)
