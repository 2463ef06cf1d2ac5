"""What every platform does, whatever its provider (DESIGN 6).

Each test knows a platform by its protocol and a bench by `Bench` alone, so a
new platform passes by adding a bench to `conftest.py`.
"""

import threading

import pytest

from iris_platform.base import (
    HOST_LOG_BYTES,
    NotOurs,
    PlatformError,
    Refused,
    SliceCloudState,
    SliceInfo,
    VmState,
)
from iris_platform.names import slice_labels, slice_name
from tests.platform.contract.bench import IDENTITY, OTHER, Bench

pytestmark = pytest.mark.contract

EPOCH = 1_700_000_000_000


def name(number: int = 1, group: str = "here", cluster_id: str = IDENTITY.cluster_id) -> str:
    return slice_name(cluster_id, group, EPOCH, number)


def state_of(info: SliceInfo | None) -> SliceCloudState:
    assert info is not None
    return info.state


def test_a_slice_that_was_created_is_seen(bench: Bench) -> None:
    platform = bench.platform()
    platform.create_slice(bench.spec(name(), hosts=2))
    info = platform.get_slice(name())
    assert info is not None
    assert platform.list_slices({}) == [info]
    assert (info.slice_id, info.zone) == (name(), bench.zones[0])
    assert info.labels == slice_labels(IDENTITY.cluster, IDENTITY.cluster_id, "here", name())
    assert info.state in (SliceCloudState.CREATING, SliceCloudState.RUNNING)
    assert [vm.labels for vm in info.vms] == [info.labels] * 2
    assert len({vm.vm_id for vm in info.vms}) == 2
    assert info.created_at_ms > 0


def test_created_twice_it_is_the_same_slice(bench: Bench) -> None:
    bench.platform().create_slice(bench.spec(name(), hosts=2))
    before, ran = bench.platform().get_slice(name()), bench.what_runs()
    bench.platform().create_slice(bench.spec(name(), hosts=2))
    assert bench.platform().get_slice(name()) == before
    assert bench.what_runs() == ran


def test_created_twice_at_once_it_is_one_slice(bench: Bench) -> None:
    errors: list[PlatformError] = []

    def create() -> None:
        try:
            bench.platform().create_slice(bench.spec(name()))
        except PlatformError as error:
            errors.append(error)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (info,) = bench.platform().list_slices({})
    assert len(info.vms) == 1


def test_a_name_that_exists_with_another_shape_is_refused(bench: Bench) -> None:
    bench.platform().create_slice(bench.spec(name()))
    with pytest.raises(Refused):
        bench.platform().create_slice(bench.spec(name(), hosts=2))


def test_an_unknown_slice_is_none(bench: Bench) -> None:
    assert bench.platform().get_slice(name()) is None
    assert bench.platform().get_slice("something-else") is None
    assert bench.platform().list_slices({}) == []


def test_deleting_leaves_nothing(bench: Bench) -> None:
    platform = bench.platform()
    platform.create_slice(bench.spec(name(), hosts=2))
    platform.create_slice(bench.spec(name(2)))
    platform.delete_slice(name())
    assert platform.get_slice(name()) is None
    assert [info.slice_id for info in platform.list_slices({})] == [name(2)]
    platform.delete_slice(name(2))
    assert platform.list_slices({}) == []
    assert bench.what_runs() == []


def test_deleting_what_is_gone_is_fine(bench: Bench) -> None:
    platform = bench.platform()
    platform.delete_slice(name())
    platform.create_slice(bench.spec(name()))
    platform.delete_slice(name())
    platform.delete_slice(name())
    assert platform.list_slices({}) == []


def test_names_of_others_are_not_deleted(bench: Bench) -> None:
    for other in (name(cluster_id=OTHER.cluster_id), "something-else", "..", ""):
        with pytest.raises(NotOurs):
            bench.platform().delete_slice(other)


def test_what_belongs_to_another_cluster_is_neither_seen_nor_touched(bench: Bench) -> None:
    theirs = name(cluster_id=OTHER.cluster_id)
    bench.platform(identity=OTHER).create_slice(bench.spec(theirs, identity=OTHER))
    ran = bench.what_runs()
    platform = bench.platform()
    assert platform.list_slices({}) == []
    with pytest.raises(NotOurs):
        platform.get_slice(theirs)
    with pytest.raises(NotOurs):
        platform.delete_slice(theirs)
    with pytest.raises(Refused):
        platform.create_slice(bench.spec(theirs, identity=OTHER))
    assert bench.what_runs() == ran
    bench.platform(identity=OTHER).delete_slice(theirs)
    assert bench.what_runs() == []


def test_a_list_that_cannot_be_had_raises(bench: Bench) -> None:
    platform = bench.platform()
    platform.create_slice(bench.spec(name()))
    with bench.hidden():
        with pytest.raises(PlatformError):
            platform.list_slices({})
        with pytest.raises(PlatformError):
            platform.get_slice(name())
    assert [info.slice_id for info in platform.list_slices({})] == [name()]


def test_labels_narrow_a_list(bench: Bench) -> None:
    platform = bench.platform()
    platform.create_slice(bench.spec(name()))
    platform.create_slice(bench.spec(name(2)))
    assert len(platform.list_slices({"iris-group": "here"})) == 2
    assert platform.list_slices({"iris-group": "there"}) == []
    (info,) = platform.list_slices({"iris-slice": name(2)})
    assert info.slice_id == name(2)


def test_one_zone_may_be_left_out(bench: Bench) -> None:
    platform = bench.platform()
    assert list(platform.zones()) == [bench.zones[0]]
    platform.create_slice(bench.spec(name()))
    assert platform.get_slice(name()) == platform.get_slice(name(), bench.zones[0])


def test_of_two_zones_none_may_be_left_out(bench: Bench) -> None:
    platform = bench.platform(zones=bench.zones)
    words = f"2 are configured: {bench.zones[0]}, {bench.zones[1]}"
    for call in (
        lambda: platform.list_slices({}),
        lambda: platform.list_vms({}),
        lambda: platform.get_slice(name()),
        lambda: platform.create_slice(bench.spec(name())),
        lambda: platform.delete_slice(name()),
        lambda: platform.stop_vms([]),
        lambda: platform.host_log(name(), 0),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_an_unknown_zone_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match=f"zone mars is not configured; configured: {bench.zones[0]}"):
        bench.platform().list_slices({}, zone="mars")


def test_calls_keep_to_their_zone(bench: Bench) -> None:
    platform = bench.platform(zones=bench.zones)
    one, two = bench.zones
    platform.create_slice(bench.spec(name()), zone=two)
    assert platform.list_slices({}, zone=one) == []
    assert platform.get_slice(name(), zone=one) is None
    platform.delete_slice(name(), zone=one)
    assert [info.zone for info in platform.list_slices({}, zone=two)] == [two]
    platform.delete_slice(name(), zone=two)
    assert bench.what_runs() == []


def test_a_creation_that_died_is_seen_and_completed(bench: Bench) -> None:
    bench.interrupt_creation(name(), hosts=2)
    (info,) = bench.platform().list_slices({})
    assert (info.slice_id, len(info.vms)) == (name(), 2)
    bench.platform().create_slice(bench.spec(name(), hosts=2))
    assert state_of(bench.platform().get_slice(name())) in (
        SliceCloudState.CREATING,
        SliceCloudState.RUNNING,
    )


def test_a_creation_that_died_can_be_deleted(bench: Bench) -> None:
    bench.interrupt_creation(name(), hosts=2)
    bench.platform().delete_slice(name())
    assert bench.platform().list_slices({}) == []
    assert bench.what_runs() == []


def test_a_deletion_that_died_is_seen_and_finished(bench: Bench) -> None:
    bench.platform().create_slice(bench.spec(name(), hosts=2))
    bench.interrupt_deletion(name())
    assert state_of(bench.platform().get_slice(name())) is SliceCloudState.DELETING
    with pytest.raises(Refused):
        bench.platform().create_slice(bench.spec(name(), hosts=2))
    bench.platform().delete_slice(name())
    bench.settle()
    assert bench.platform().list_slices({}) == []
    assert bench.what_runs() == []


def test_one_dead_host_fails_its_slice(bench: Bench) -> None:
    platform = bench.platform()
    platform.create_slice(bench.spec(name(), hosts=2))
    bench.kill_host(name(), 1)
    info = platform.get_slice(name())
    assert info is not None
    assert info.state is SliceCloudState.FAILED
    assert info.vms[1].state is VmState.TERMINATED
    assert "host 1" in info.detail
    # Nothing is started again under the same name.
    ran = bench.what_runs()
    platform.create_slice(bench.spec(name(), hosts=2))
    assert bench.what_runs() == ran


def test_what_a_hosts_agent_said_last(bench: Bench) -> None:
    platform = bench.platform()
    platform.create_slice(bench.spec(name(), hosts=2))
    bench.say(name(), 1, "x" * HOST_LOG_BYTES + "\nthe last\nwords\n")
    log = platform.host_log(name(), 1)
    assert log.text == "the last\nwords\n"
    assert log.address
    assert "words" not in platform.host_log(name(), 0, bench.zones[0]).text
    # One that has died is of most interest.
    bench.kill_host(name(), 1)
    assert platform.host_log(name(), 1).text.endswith("words\n")


def test_of_what_is_not_there_nothing_was_said(bench: Bench) -> None:
    theirs = name(cluster_id=OTHER.cluster_id)
    bench.platform(identity=OTHER).create_slice(bench.spec(theirs, identity=OTHER))
    with pytest.raises(NotOurs):
        bench.platform().host_log(theirs, 0)
    platform = bench.platform(zones=bench.zones)
    platform.create_slice(bench.spec(name()), zone=bench.zones[0])
    for slice_id, index, zone in (
        (name(2), 0, bench.zones[0]),
        (name(), 1, bench.zones[0]),
        (name(), -1, bench.zones[0]),
        (name(), 0, bench.zones[1]),
        ("..", 0, bench.zones[0]),
    ):
        with pytest.raises(Refused):
            platform.host_log(slice_id, index, zone)


def test_a_group_manages_its_own_slices_only(bench: Bench) -> None:
    platform = bench.platform()
    here = platform.vm_manager(bench.group("here", hosts=2))
    there = platform.vm_manager(bench.group("there"))
    assert (here.group, there.group) == ("here", "there")
    here.create_slice(name())
    there.create_slice(name(group="there"))
    assert [info.slice_id for info in here.list_slices()] == [name()]
    assert [info.slice_id for info in there.list_slices(bench.zones[0])] == [name(group="there")]
    info = here.get_slice(name())
    assert info is not None
    assert len(info.vms) == 2
    assert here.get_slice(name(group="there")) is None
    for call in (here.create_slice, here.delete_slice):
        with pytest.raises(NotOurs):
            call(name(group="there"))
    here.delete_slice(name())
    there.delete_slice(name(group="there"))
    assert bench.what_runs() == []


def test_a_manager_takes_the_zone_of_its_group(bench: Bench) -> None:
    manager = bench.platform(zones=bench.zones).vm_manager(bench.group())
    manager.create_slice(name())
    assert [info.zone for info in manager.list_slices()] == [bench.zones[0]]
    with pytest.raises(ValueError, match=f"zone {bench.zones[1]} is not configured"):
        manager.list_slices(bench.zones[1])


def test_no_machines_outside_slices_at_first(bench: Bench) -> None:
    platform = bench.platform()
    platform.create_slice(bench.spec(name()))
    assert platform.list_vms({}) == []
    platform.stop_vms(["iris-nothing"])
