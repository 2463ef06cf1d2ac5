"""What the agent on a slice's host says, and what is said of hosts that are in trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from iris_platform.base import BeingDeleted, NotOurs, Refused, StartFailed, Unreachable
from iris_platform.manual.records import ManualSlice
from tests.platform.manual.test_slices import World, make_spec


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "manual")


class TestBeingDeleted:
    def test_hosts_that_are_not_let_in_are_no_troubled_hosts(self, world: World) -> None:
        world.fleet.machines["h2"].is_unwanted = True
        with pytest.raises(BeingDeleted, match=r"^slice iris-\S+: is being deleted$"):
            world.create(1)
        assert world.slices.troubles(world.now_ms) == []

    def test_a_trouble_is_one_line_and_names_its_host_once(self, world: World) -> None:
        world.fleet.machines["h1"].trouble = "h1: health: it crashed; the end of its log:\nboom\nboom\n"
        # The slice keeps what the start said, line by line.
        with pytest.raises(StartFailed, match=r"-1: h1: health: it crashed; the end of its log:\nboom\nboom"):
            world.create(1)
        (trouble,) = world.slices.troubles(world.now_ms)
        assert trouble == "host h1 is left alone for now: health: it crashed; the end of its log: boom"


class TestHostLog:
    def test_is_what_the_slices_host_says(self, world: World) -> None:
        name = world.create(1)
        world.fleet.machines["h2"].said = "one\ntwo\n"
        log = world.slices.host_log(name, 1, "local")
        assert (log.address, log.text) == ("h2", "one\ntwo\n")

    def test_is_found_by_who_has_no_records_and_writes_none(self, world: World, tmp_path: Path) -> None:
        name = world.create(1)
        world.fleet.machines["h2"].said = "one\n"
        world.fleet.machines["h3"].is_down = True
        world.directory = tmp_path / "new"
        assert world.restarted().host_log(name, 1, "local").text == "one\n"
        assert not world.directory.exists()
        with pytest.raises(Unreachable, match="h3: no route to host"):
            world.restarted().host_log(make_spec(2).name, 0, "local")

    def test_of_a_host_that_is_down_or_has_another_slice(self, world: World) -> None:
        name = world.create(1)
        machine = world.fleet.machines["h1"]
        machine.slice = ManualSlice(make_spec(2), "local", ("h1", "h2"), 1)
        with pytest.raises(Refused, match="h1: has nothing of slice"):
            world.slices.host_log(name, 0, "local")
        machine.is_down = True
        with pytest.raises(Unreachable, match="no route to host"):
            world.slices.host_log(name, 0, "local")

    def test_of_what_is_not_ours_or_not_there(self, world: World) -> None:
        name = world.create(1)
        for words in ((make_spec(2).name, 0, "local"), (name, 2, "local"), (name, 0, "attic")):
            with pytest.raises(Refused):
                world.slices.host_log(*words)
        with pytest.raises(NotOurs):
            world.slices.host_log(make_spec(1, cluster_id="zzzzzzzzzz").name, 0, "local")
