"""Slices of a group that the configuration dropped are given back, and found by the provider with their zone."""

import asyncio
from typing import Any, cast

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import Settings
from iris_controller.shell.perform import Performer
from iris_platform.base import Failure, SliceCloudState, SliceInfo
from tests.controller.running import run
from tests.controller.worlds import deletes, group, name_of, settings, world


def test_a_ready_slice_of_a_removed_group_is_drained_then_deleted() -> None:
    w = world(group("local", at_least=1))
    w.tick()
    name = w.only
    w.boots(name)
    kept: Settings = settings(group("other"))
    w.world.settings = kept
    w.tick(1)
    assert w.slices == {name: "DRAINING"}
    assert deletes(w.tick(1)) == [name]


class OneZone:
    """A provider that has one zone and no slice."""

    def zones(self) -> tuple[str, ...]:
        return ("here",)

    def get_slice(self, name: str, zone: str | None = None) -> SliceInfo | None:
        return None


def test_a_name_of_a_removed_group_is_looked_for_where_its_zone_is() -> None:
    async def test() -> None:
        events: list[e.Event] = []
        performer = Performer({}, {}, {"local": [cast("Any", OneZone())]}, events.append)
        performer.perform(fx.LookAtSlice(name_of(1), "dropped", "here"))
        performer.perform(fx.LookAtSlice(name_of(2), "dropped", "nowhere"))
        while len(events) < 2:
            await asyncio.sleep(0.001)
        failed = e.CallFailed(Failure.UNREACHABLE, "no configured provider has its zone")
        assert sorted(events, key=str) == sorted(
            [e.SliceLooked(name_of(1), None), e.SliceLooked(name_of(2), failed)], key=str
        )
        performer.close()

    run(test)


class OneSlice(OneZone):
    """A provider with one slice, which it also deletes."""

    def __init__(self, name: str) -> None:
        self.names = [name]

    def get_slice(self, name: str, zone: str | None = None) -> SliceInfo | None:
        return SliceInfo(name, "here", {}, SliceCloudState.RUNNING, (), 0) if name in self.names else None

    def delete_slice(self, name: str, zone: str | None = None) -> None:
        self.names = [kept for kept in self.names if kept != name]


def test_of_two_projects_with_that_zone_neither_speaks_for_the_other() -> None:
    async def test() -> None:
        events: list[e.Event] = []
        empty, other = OneSlice(name_of(2)), OneSlice(name_of(1))
        performer = Performer({}, {}, {"tpu": [cast("Any", empty), cast("Any", other)]}, events.append)
        for effect in (fx.LookAtSlice, fx.DeleteSlice, fx.LookAtSlice):
            performer.perform(effect(name_of(1), "dropped", "here"))
            count = len(events)
            while len(events) == count:
                await asyncio.sleep(0.001)
        looks = [event.seen for event in events if isinstance(event, e.SliceLooked)]
        assert [isinstance(seen, SliceInfo) for seen in looks] == [True, False]
        assert (empty.names, other.names) == ([name_of(2)], [])
        performer.close()

    run(test)
