"""Which hosts a slice gets, what is known of them, and that none is lost or given twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from iris_platform.base import (
    ClusterIdentity,
    HostResources,
    NoCapacity,
    NotOurs,
    PartlySeen,
    Refused,
    SliceCloudState,
    SliceSpec,
    StartFailed,
    Unreachable,
)
from iris_platform.manual.records import Records
from iris_platform.manual.slices import ManualSlices, PoolSettings
from iris_platform.names import slice_labels, slice_name
from tests.platform.manual.fleet import Fleet

IDENTITY = ClusterIdentity("demo", "abcdefghij")
LEASE_MS, BOOT_MS = 600_000, 60_000
NAMES = ("h1", "h2", "h3", "h4")


class World:
    """A pool of four hosts and what is remembered of it; `now_ms` is only moved by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fleet = Fleet(*NAMES, cluster_id=IDENTITY.cluster_id)
        self.now_ms = 1_000_000
        self.slices = self.restarted()

    def restarted(self) -> ManualSlices:
        """Another process over the same files."""
        settings = PoolSettings(IDENTITY, ("boxes",), NAMES, LEASE_MS, BOOT_MS)
        return ManualSlices(settings, self.fleet, Records(self.directory))

    def create(self, number: int, hosts: int = 2) -> str:
        """A slice of so many hosts; its name."""
        spec = make_spec(number, hosts)
        self.slices.create_slice(spec, "local", self.now_ms)
        return spec.name

    def delete(self, name: str) -> None:
        """Deletes a slice."""
        self.slices.delete_slice(name, self.now_ms)

    def states(self) -> dict[str, str]:
        """Every listed slice by its number."""
        found = self.slices.list_slices({}, self.now_ms)
        return {info.slice_id.rpartition("-")[2]: info.state.value for info in found}

    def on(self, name: str) -> list[str]:
        """The hosts of a slice."""
        info = self.slices.get_slice(name, self.now_ms)
        assert info is not None
        return [vm.address for vm in info.vms]


def make_spec(number: int, hosts: int = 2, cluster_id: str = IDENTITY.cluster_id) -> SliceSpec:
    name = slice_name(cluster_id, "boxes", 7, number)
    labels = slice_labels("demo", cluster_id, "boxes", name)
    return SliceSpec(name, "boxes", hosts, HostResources(4000), "cpu", labels)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "manual")


class TestCreate:
    def test_slices_get_hosts_of_their_own_in_order(self, world: World) -> None:
        assert world.on(world.create(1)) == ["h1", "h2"]
        assert world.on(world.create(2)) == ["h3", "h4"]
        assert world.states() == {"1": "running", "2": "running"}
        names = f"{make_spec(1).name}, {make_spec(2).name}"
        with pytest.raises(NoCapacity, match=rf"^2 hosts wanted, 0 to be had \(in use by slices {names}\)$"):
            world.create(3)
        with pytest.raises(NoCapacity, match=r"^1 host wanted, 0 to be had"):
            world.create(3, hosts=1)

    def test_the_same_name_is_the_same_slice_also_for_another_process(self, world: World) -> None:
        name = world.create(1)
        world.create(1)
        world.slices = world.restarted()
        world.create(1)
        assert world.on(name) == ["h1", "h2"]
        assert world.fleet.machines["h1"].started == [name]

    def test_a_host_that_is_down_is_passed_over_and_tried_again_later(self, world: World) -> None:
        down = world.fleet.machines["h1"]
        down.is_down = True
        assert world.on(world.create(1)) == ["h2", "h3"]
        with pytest.raises(
            NoCapacity, match=r"^2 hosts wanted, 1 to be had \(h1: no route to host; in use by slice \S+\)$"
        ):
            world.create(2)
        looked = down.looked
        with pytest.raises(NoCapacity, match="h1: no route to host"):
            world.create(2)
        assert down.looked == looked
        down.is_down = False
        world.now_ms += 31_000
        assert sorted(world.on(world.create(2))) == ["h1", "h4"]

    def test_pauses_grow_and_end(self, world: World) -> None:
        down = world.fleet.machines["h1"]
        down.is_down = True
        looks = []
        for _ in range(2000):
            with pytest.raises(NoCapacity):
                world.create(1, hosts=4)
            looks.append(down.looked)
            world.now_ms += 5_000
        tried = [n for n in range(1, len(looks)) if looks[n] > looks[n - 1]]
        gaps = [(b - a) * 5 for a, b in zip([0, *tried], tried, strict=False)]
        assert gaps[:5] == [30, 60, 120, 240, 480]
        assert set(gaps[5:]) == {900}

    def test_a_host_of_another_cluster_is_left_alone(self, world: World) -> None:
        world.fleet.machines["h2"].cluster_id = "zzzzzzzzzz"
        assert world.on(world.create(1)) == ["h1", "h3"]
        with pytest.raises(
            NoCapacity, match=r"h2: belongs to another cluster, other \(id zzzzzzzzzz\); stop that"
        ):
            world.create(2)
        assert world.fleet.machines["h2"].cluster_id == "zzzzzzzzzz"

    def test_one_that_does_not_start_says_why_and_the_next_slice_avoids_it(self, world: World) -> None:
        world.fleet.machines["h2"].trouble = "python3 3.8 is too old: Iris needs 3.10 or later"
        with pytest.raises(StartFailed, match=r"h2: python3 3\.8 is too old"):
            world.create(1)
        (info,) = world.slices.list_slices({}, world.now_ms)
        assert info.state is SliceCloudState.CREATING
        world.now_ms += BOOT_MS
        (info,) = world.slices.list_slices({}, world.now_ms)
        assert (info.state, info.detail) == (SliceCloudState.FAILED, "h2: ended")
        world.delete(info.slice_id)
        assert all(machine.is_as_it_was for machine in world.fleet.machines.values())
        world.now_ms -= BOOT_MS
        assert world.on(world.create(2)) == ["h1", "h3"]

    def test_what_is_not_ours_or_another_shape(self, world: World) -> None:
        with pytest.raises(Refused, match="not of this cluster"):
            world.slices.create_slice(make_spec(1, cluster_id="zzzzzzzzzz"), "local", 0)
        world.create(1, hosts=2)
        with pytest.raises(NotOurs, match="another shape"):
            world.create(1, hosts=3)

    def test_what_is_being_deleted_is_not_made_again(self, world: World) -> None:
        name = world.create(1)
        world.fleet.machines["h1"].is_down = True
        with pytest.raises(Unreachable):
            world.delete(name)
        with pytest.raises(Refused, match="is being deleted"):
            world.create(1)


class TestLook:
    def test_one_that_cannot_be_reached_is_not_gone(self, world: World) -> None:
        name = world.create(1)
        world.now_ms += BOOT_MS
        world.fleet.machines["h2"].is_down = True
        info = world.slices.get_slice(name, world.now_ms)
        assert info is not None
        assert (info.state, info.detail) == (
            SliceCloudState.RUNNING,
            "h2: cannot be reached: no route to host",
        )

    def test_a_dead_agent_fails_its_slice(self, world: World) -> None:  # B32
        world.create(1)
        world.now_ms += BOOT_MS
        world.fleet.machines["h2"].runs = False
        assert world.states() == {"1": "failed"}

    def test_only_labels_that_match(self, world: World) -> None:
        world.create(1)
        assert world.slices.list_slices({"iris-group": "other"}, world.now_ms) == []
        assert len(world.slices.list_slices({"iris-group": "boxes"}, world.now_ms)) == 1

    def test_pools_that_share_hosts_never_give_one_twice(self, world: World) -> None:
        settings = PoolSettings(IDENTITY, ("others",), NAMES, LEASE_MS, BOOT_MS)
        other = ManualSlices(settings, world.fleet, Records(world.directory))
        name = world.create(1)
        assert other.list_slices({}, world.now_ms) == []
        other.create_slice(replace(make_spec(2), group="others"), "local", world.now_ms)
        (info,) = other.list_slices({}, world.now_ms)
        assert ([vm.address for vm in info.vms], world.on(name)) == (["h3", "h4"], ["h1", "h2"])

    def test_names_of_others(self, world: World) -> None:
        assert world.slices.get_slice("web-1", world.now_ms) is None
        with pytest.raises(NotOurs):
            world.slices.get_slice(make_spec(1, cluster_id="zzzzzzzzzz").name, world.now_ms)

    def test_what_a_broken_off_start_left_is_no_obstacle(self, world: World) -> None:
        """Labels of this cluster and nothing that came after them; our records of it are lost."""
        world.fleet.machines["h1"].cluster_id = IDENTITY.cluster_id
        assert world.on(world.create(1)) == ["h1", "h2"]


class TestAnotherMachine:
    """At the address of a host, with its host key: it proves nothing of what was started there."""

    def test_it_is_no_fence_until_the_lease_has_passed(self, world: World) -> None:
        name = world.create(1)
        world.fleet.machines["h1"].is_swapped()
        world.now_ms += BOOT_MS
        assert world.states() == {"1": "running"}
        with pytest.raises(Unreachable, match="h1: another machine is at this address"):
            world.delete(name)
        assert world.fleet.machines["h2"].is_as_it_was
        world.now_ms += LEASE_MS
        with pytest.raises(Unreachable):
            world.delete(name)
        world.now_ms += 1
        world.delete(name)
        assert world.states() == {}
        assert world.slices.get_slice(name, world.now_ms) is None
        world.now_ms += LEASE_MS
        assert world.on(world.create(2)) == ["h1", "h2"]

    def test_one_that_started_anew_has_its_disk_still(self, world: World) -> None:
        name = world.create(1)
        machine = world.fleet.machines["h1"]
        machine.boot_id, machine.runs = "second", False
        world.now_ms += BOOT_MS
        assert world.states() == {"1": "failed"}
        world.delete(name)
        assert world.states() == {}

    def test_an_agent_that_left_by_itself_is_gone(self, world: World) -> None:
        name = world.create(1)
        machine = world.fleet.machines["h1"]
        machine.cluster_id, machine.slice, machine.runs = "", None, False
        world.now_ms += BOOT_MS
        assert world.states() == {"1": "failed"}
        world.delete(name)
        assert world.states() == {}

    def test_what_an_earlier_release_wrote_down_is_read(self, world: World) -> None:
        name = world.create(1)
        path = world.directory / f"{name}.json"
        fields = json.loads(path.read_text())
        del fields["boot_ids"]
        path.write_text(json.dumps(fields))
        assert world.states() == {"1": "running"}


class TestLostRecords:
    def test_hosts_tell_what_they_are_part_of(self, world: World, tmp_path: Path) -> None:  # B45
        name = world.create(1)
        world.directory = tmp_path / "new"
        world.slices = world.restarted()
        assert world.states() == {"1": "running"}
        assert world.on(name) == ["h1", "h2"]
        assert world.on(world.create(2)) == ["h3", "h4"]
        world.delete(name)
        assert world.fleet.machines["h1"].is_as_it_was

    def test_a_host_that_is_down_may_be_part_of_anything(self, world: World, tmp_path: Path) -> None:
        world.create(1)
        world.directory = tmp_path / "new"
        world.slices = world.restarted()
        world.fleet.machines["h4"].is_down = True
        with pytest.raises(
            PartlySeen, match=r"^whether a slice is on h4 is not known: h4: no route to host$"
        ) as error:
            world.states()
        assert [info.slice_id for info in error.value.slices] == [make_spec(1).name]
        with pytest.raises(Unreachable, match="h4"):
            world.slices.get_slice(make_spec(9).name, world.now_ms)
        world.fleet.machines["h4"].is_down = False
        assert world.states() == {"1": "running"}
        world.fleet.machines["h4"].is_down = True
        assert world.states() == {"1": "running"}

    def test_a_host_that_is_down_does_not_hold_up_a_stop_of_the_others(
        self, world: World, tmp_path: Path
    ) -> None:
        names = [world.create(1), world.create(2, hosts=1)]
        world.directory = tmp_path / "new"
        world.slices = world.restarted()
        world.fleet.machines["h3"].is_down = True
        with pytest.raises(PartlySeen) as error:
            world.states()
        assert [info.slice_id for info in error.value.slices] == names[:1]
        world.delete(names[0])
        assert world.fleet.machines["h1"].is_as_it_was and world.fleet.machines["h2"].is_as_it_was
        assert world.slices.get_slice(names[0], world.now_ms) is None
        world.delete(names[0])
        # The other one may be on the host that is down.
        with pytest.raises(Unreachable, match="whether a slice is on h3"):
            world.delete(names[1])
        with pytest.raises(Unreachable, match=r"^h3: no route to host$"):
            world.slices.tidy()
        assert world.fleet.tidied == {"h1", "h2", "h4"}

    def test_a_record_that_cannot_be_understood_is_not_no_slice(self, world: World) -> None:
        name = world.create(1)
        (world.directory / f"{name}.json").write_text("{}")
        with pytest.raises(Unreachable, match="name: expected a string"):
            world.states()


class TestDelete:
    def test_hosts_are_as_they_were_and_free(self, world: World) -> None:
        name = world.create(1)
        world.delete(name)
        assert world.states() == {}
        assert world.slices.get_slice(name, world.now_ms) is None
        assert all(machine.is_as_it_was for machine in world.fleet.machines.values())
        world.delete(name)
        assert world.on(world.create(2)) == ["h1", "h2"]

    def test_a_host_that_is_down_keeps_it_until_its_lease_has_passed(self, world: World) -> None:
        name = world.create(1)
        down = world.fleet.machines["h2"]
        down.is_down = True
        with pytest.raises(Unreachable, match="h2: no route to host"):
            world.delete(name)
        assert world.fleet.machines["h1"].is_as_it_was
        assert world.states() == {"1": "deleting"}
        world.now_ms += LEASE_MS
        with pytest.raises(Unreachable):
            world.delete(name)
        world.now_ms += 1
        world.delete(name)
        # Nothing runs there any more, but it is still to be cleaned: listed, and left over for a stop.
        assert world.slices.get_slice(name, world.now_ms) is None
        assert world.states() == {"1": "deleting"}
        world.now_ms += LEASE_MS
        assert world.on(world.create(2)) == ["h1", "h3"]
        down.is_down = False
        world.delete(name)
        assert down.is_as_it_was
        assert world.states() == {"2": "running"}
        world.now_ms += LEASE_MS
        assert sorted(world.on(world.create(3))) == ["h2", "h4"]

    def test_one_that_only_a_host_knows_of(self, world: World, tmp_path: Path) -> None:
        name = world.create(1)
        world.directory = tmp_path / "new"
        world.slices = world.restarted()
        world.delete(name)
        assert all(machine.is_as_it_was for machine in world.fleet.machines.values())

    def test_the_new_owner_of_a_host_keeps_it(self, world: World) -> None:
        """A record of ours, while somebody else took the host over."""
        name = world.create(1)
        other = world.fleet.machines["h1"]
        other.cluster_id, other.slice, other.runs = "zzzzzzzzzz", None, True
        world.delete(name)
        assert (other.cluster_id, other.runs) == ("zzzzzzzzzz", True)
        assert world.states() == {}
