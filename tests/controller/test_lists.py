"""How often a zone of hosts of one's own is listed; of clouds see test_cloud_slices."""

from __future__ import annotations

from iris_platform.base import SliceCloudState, VmState
from tests.controller.worlds import Scene, group, info, lists, name_of, world


def well_known() -> Scene:
    """A cluster at rest whose one zone was listed twice."""
    w = world(group())
    w.tick(0)
    w.lists()
    assert len(lists(w.seconds(30))) == 1
    w.lists()
    return w


def test_at_first_it_is_listed_often() -> None:
    w = world(group())
    assert len(lists(w.seconds(90))) == 3


def test_one_of_which_all_is_known_is_listed_seldom() -> None:
    w = well_known()
    assert len(lists(w.seconds(600))) == 2


def test_slices_that_come_are_no_reason() -> None:
    w = well_known()
    w.submit()
    assert list(w.slices.values()) == ["REQUESTING"]
    assert lists(w.seconds(120)) == []


def test_what_the_store_does_not_know_is() -> None:
    w = well_known()
    (zone,) = lists(w.seconds(300))
    w.lists(info(name_of(7), [VmState.RUNNING], SliceCloudState.RUNNING), zone=zone)
    assert len(lists(w.seconds(60))) == 2
