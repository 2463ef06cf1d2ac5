"""Platform calls: one after the other for a slice, side by side for others, and each comes back as an event."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.shell.perform import THREADS_PER_ZONE, Performer
from iris_platform import base
from iris_platform.base import (
    HOST_LOG_BYTES,
    Failure,
    HostLog,
    PlatformError,
    SliceCloudState,
    SliceInfo,
    VmState,
)
from tests.controller.running import PATIENCE_S, run
from tests.controller.worlds import info, name_of

ONE, TWO = name_of(1), name_of(2)


class Provider:
    """A platform and its manager in one: slices by name, calls by the order in which they began."""

    def __init__(self) -> None:
        self.slices: dict[str, SliceInfo] = {}
        self.calls: list[str] = []
        self.logs: dict[int, str] = {}
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        # Zones where it does, whatever the others do.
        self.answers_in: set[str | None] = set()

    def _call(self, what: str, zone: str | None = None) -> None:
        self.calls.append(what)
        assert zone in self.answers_in or self.may_answer.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error

    def create_slice(self, name: str, zone: str | None = None) -> None:
        self._call(f"create {name}", zone)
        self.slices[name] = info(name, [VmState.RUNNING], SliceCloudState.RUNNING)

    def zones(self) -> Sequence[str]:
        return ("local", "here")

    def delete_slice(self, name: str, zone: str | None = None) -> None:
        self._call(f"delete {name}")
        self.slices.pop(name, None)

    def get_slice(self, name: str, zone: str | None = None) -> SliceInfo | None:
        self._call(f"get {name}")
        return self.slices.get(name)

    def host_log(self, name: str, index: int, zone: str | None = None) -> HostLog:
        self._call(f"log {name}/{index}")
        if index not in self.logs:
            raise base.Refused(f"host {index} left nothing")
        return HostLog("10.0.0.1", self.logs[index])

    def list_slices(self, labels: object, zone: str | None = None) -> Sequence[SliceInfo]:
        self._call("list", zone)
        return list(self.slices.values())


class Stage:
    """A performer, its provider, and the events that came back."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.events: list[e.Event] = []
        played = cast("Any", self.provider)
        self.performer = Performer(
            {"local": played}, {"local": played}, {"local": [played]}, self.events.append
        )

    async def performs(self, *effects: Any) -> list[e.Event]:
        """Hands effects over and waits for as many events."""
        wanted = len(self.events) + len(effects)
        for effect in effects:
            self.performer.perform(effect)
        return await self.hears(wanted)

    async def hears(self, count: int) -> list[e.Event]:
        while len(self.events) < count:
            await asyncio.sleep(0.001)
        return self.events


@contextmanager
def staged() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.performer.close()


def create(name: str) -> fx.CreateSlice:
    return fx.CreateSlice(name, "local", "local")


def look(name: str) -> fx.LookAtSlice:
    return fx.LookAtSlice(name, "local", "local")


def delete(name: str) -> fx.DeleteSlice:
    return fx.DeleteSlice(name, "local", "local")


def test_every_call_comes_back_as_its_event() -> None:
    async def test() -> None:
        with staged() as stage:
            seen = info(ONE, [VmState.RUNNING], SliceCloudState.RUNNING)
            events = await stage.performs(create(ONE), look(ONE), delete(ONE))
            assert events == [
                e.CreateAnswered(ONE, None),
                e.SliceLooked(ONE, seen),
                e.DeleteAnswered(ONE, None),
            ]

    run(test)


def test_a_last_look_brings_what_the_hosts_said() -> None:
    async def test() -> None:
        with staged() as stage:
            seen = info(ONE, [VmState.RUNNING] * 4, SliceCloudState.RUNNING)
            stage.provider.slices[ONE] = seen
            stage.provider.logs = {0: "one\ntwo\n", 3: "many\n" * 1000}
            (event,) = await stage.performs(fx.LookAtSlice(ONE, "local", "local", (0, 1, 3)))
            assert isinstance(event, e.SliceLooked) and event.seen == seen
            lines = event.logs.splitlines()
            assert lines[:3] == ["[0] one", "[0] two", "[1] host 1 left nothing"]
            assert lines[3:] == ["[3] many"] * (HOST_LOG_BYTES // 3 // len("many\n"))
            stage.provider.slices.clear()
            stage.provider.calls.clear()
            await stage.performs(fx.LookAtSlice(ONE, "local", "local", (0,)))
            assert stage.provider.calls == [f"get {ONE}"]

    run(test)


def test_a_list_is_complete_and_absence_is_an_answer() -> None:
    async def test() -> None:
        with staged() as stage:
            events = await stage.performs(look(ONE), fx.ListZone("local", "local"))
            assert sorted(map(repr, events)) == sorted(
                map(repr, [e.SliceLooked(ONE, None), e.ZoneListed("local", "local", ())])
            )

    run(test)


KINDS = [
    kind
    for kind in vars(base).values()
    if isinstance(kind, type) and issubclass(kind, PlatformError) and kind is not base.BeingDeleted
]


def test_a_creation_that_its_deletion_overtakes_is_no_trouble() -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.error = base.BeingDeleted("is being deleted")
            assert await stage.performs(create(ONE)) == [e.CreateAnswered(ONE, None)]
            assert stage.performer.troubles == []

    run(test)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_of_a_platform_is_sorted(kind: type[PlatformError]) -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.error = kind("words of the provider")
            (event,) = await stage.performs(create(ONE))
            assert isinstance(event, e.CreateAnswered) and event.error is not None
            assert event.error.message == "words of the provider"
            unknown = kind in (PlatformError, base.Unreachable, base.PartlySeen)
            assert (event.error.failure is Failure.UNREACHABLE) == unknown

    run(test)


def test_every_failure_that_the_core_knows_can_be_had() -> None:
    """A class of errors for each, and some for two."""
    assert {kind.failure for kind in KINDS} == set(Failure)


@pytest.mark.parametrize(
    "effect",
    [create(ONE), look(ONE), delete(ONE), fx.ListZone("local", "local")],
    ids=lambda v: type(v).__name__,
)
def test_a_bug_in_a_platform_says_nothing_of_what_happened(effect: Any) -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.error = KeyError("oops")
            (event,) = await stage.performs(effect)
            failed = e.CallFailed(Failure.UNREACHABLE, "KeyError: 'oops'")
            assert failed in (getattr(event, "error", None), getattr(event, "seen", None))

    run(test)


def test_a_failure_is_shown_until_a_call_about_the_same_thing_succeeds() -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.error = base.PermissionMissing("no role")
            await stage.performs(create(ONE), look(TWO))
            words = [f"cannot create slice {ONE}: no role", f"cannot look at slice {TWO}: no role"]
            assert sorted(stage.performer.troubles) == words
            stage.provider.error = None
            await stage.performs(look(ONE))
            assert stage.performer.troubles == words[1:]

    run(test)


def test_calls_for_one_slice_wait_for_each_other_and_others_do_not() -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.may_answer.clear()
            for effect in (create(ONE), delete(ONE), create(TWO)):
                stage.performer.perform(effect)
            while len(stage.provider.calls) < 2:
                await asyncio.sleep(0.001)
            assert sorted(stage.provider.calls) == [f"create {ONE}", f"create {TWO}"]
            stage.provider.may_answer.set()
            await stage.hears(3)
            assert stage.provider.calls.index(f"delete {ONE}") > stage.provider.calls.index(f"create {ONE}")

    run(test)


def test_a_project_that_hangs_does_not_hold_up_another_one_of_its_provider() -> None:
    async def test() -> None:
        stuck, well = Provider(), Provider()
        stuck.may_answer.clear()
        played = {"stuck": cast("Any", stuck), "well": cast("Any", well)}
        events: list[e.Event] = []
        performer = Performer(played, played, {"tpu": [*played.values()]}, events.append)
        many = 3 * THREADS_PER_ZONE
        for number in range(many):
            performer.perform(fx.CreateSlice(name_of(number), "stuck", "local"))
        mine = name_of(1000)
        performer.perform(fx.CreateSlice(mine, "well", "local"))
        while not events:
            await asyncio.sleep(0.001)
        assert events == [e.CreateAnswered(mine, None)]
        stuck.may_answer.set()
        while len(events) <= many:
            await asyncio.sleep(0.001)
        performer.close()

    run(test)


def test_a_zone_that_hangs_does_not_hold_up_another_one_of_its_platform() -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.answers_in.add("here")
            stage.provider.may_answer.clear()
            many = 3 * THREADS_PER_ZONE
            for number in range(many):
                stage.performer.perform(create(name_of(number)))
            mine = name_of(1000)
            stage.performer.perform(fx.CreateSlice(mine, "local", "here"))
            stage.performer.perform(fx.ListZone("local", "here"))
            assert {type(event) for event in await stage.hears(2)} == {e.CreateAnswered, e.ZoneListed}
            stage.provider.may_answer.set()
            await stage.hears(many + 2)

    run(test)


def test_what_waits_its_turn_already_is_not_queued_twice() -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.may_answer.clear()
            for _ in range(5):
                stage.performer.perform(look(ONE))
                stage.performer.perform(delete(ONE))
            stage.provider.may_answer.set()
            await stage.hears(2)
            assert stage.provider.calls == [f"get {ONE}", f"delete {ONE}"]

    run(test)


def test_a_call_that_fails_is_a_trouble_until_one_about_the_same_slice_succeeds() -> None:
    async def test() -> None:
        with staged() as stage:
            stage.provider.error = base.Unreachable("no answer")
            await stage.performs(delete(ONE), look(TWO))
            assert stage.performer.troubles == [
                f"cannot delete slice {ONE}: no answer",
                f"cannot look at slice {TWO}: no answer",
            ]
            stage.provider.error = None
            await stage.performs(look(ONE))
            assert stage.performer.troubles == [f"cannot look at slice {TWO}: no answer"]

    run(test)
