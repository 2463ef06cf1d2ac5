"""What becomes of slices, and what is said of them: in the end every one is READY, or gone with a reason."""

from dataclasses import replace

import pytest

from iris_platform.base import Failure, NotOurs, Refused, SliceCloudState, SliceInfo, Unreachable
from iris_platform.gcp import TpuPlatform, request
from iris_platform.gcp.overrides import Capacity
from iris_platform.names import slice_labels
from tests.platform.gcp.clouds import VALID_S, ZONE, CloudWorld
from tests.platform.gcp.made import NAME, OTHER, name

LATER_MS = 10_000


def seen(platform: TpuPlatform, slice_: str = NAME) -> SliceInfo:
    info = platform.get_slice(slice_)
    assert info is not None
    return info


def later(world: CloudWorld, ms: int = LATER_MS) -> None:
    """So much time passes."""
    world.control.advance(ms)


def is_gone(world: CloudWorld, platform: TpuPlatform) -> bool:
    """Deleted by its name it is gone, and holds no quota."""
    platform.delete_slice(NAME)
    later(world)
    return platform.get_slice(NAME) is None and not world.control.nodes() and not world.control.queued()


def test_from_the_request_to_the_end(either: CloudWorld) -> None:
    platform = either.platform()
    platform.create_slice(either.spec(NAME, hosts=2))
    info = seen(platform)
    assert (info.state, info.vms, info.failure) == (SliceCloudState.CREATING, (), None)
    later(either)
    info = seen(platform)
    assert (info.state, len(info.vms), info.detail) == (SliceCloudState.RUNNING, 2, "")
    assert platform.list_slices({}) == [info]
    platform.delete_slice(NAME)
    assert seen(platform).state is SliceCloudState.DELETING
    assert [info.state for info in platform.list_slices({})] == [SliceCloudState.DELETING]
    later(either)
    assert platform.get_slice(NAME) is None


@pytest.mark.parametrize(
    ("fault", "failure", "words"),
    [
        ("stockout", Failure.NO_CAPACITY, "There is no more capacity in the zone"),
        ("quota", Failure.QUOTA, "Quota limit"),
        ("fail", Failure.START, ""),
    ],
)
def test_the_end_of_its_operation_says_why_there_is_nothing(
    either: CloudWorld, fault: str, failure: Failure, words: str
) -> None:
    platform = either.platform()
    either.control.fault(fault, "Create*", after=True)
    platform.create_slice(either.spec(NAME))
    assert seen(platform).state is SliceCloudState.CREATING
    later(either)
    for _ in range(3):
        info = seen(platform)
        assert (info.state, info.failure, info.vms) == (SliceCloudState.FAILED, failure, ())
        assert words in info.detail
    # That was asked once.
    assert len(either.control.calls("GetOperation")) == (0 if either.is_queued else 1)
    assert is_gone(either, platform)


def test_after_a_restart_a_failed_creation_is_only_not_there(slow: CloudWorld) -> None:
    slow.control.fault("stockout", "CreateNode", after=True)
    slow.platform().create_slice(slow.spec(NAME))
    later(slow)
    assert slow.platform().get_slice(NAME) is None


def test_half_a_slice_is_told_with_the_reason(slow: CloudWorld) -> None:
    platform = slow.platform()
    slow.control.fault("partial", "CreateNode", hosts=(1,), after=True)
    platform.create_slice(slow.spec(NAME, hosts=2))
    later(slow)
    info = seen(platform)
    assert (info.state, info.failure) == (SliceCloudState.FAILED, Failure.START)
    assert "not all workers of the node became healthy" in info.detail
    assert is_gone(slow, platform)


def test_a_node_that_is_stuck_is_on_its_way(either: CloudWorld) -> None:
    platform = either.platform()
    either.control.fault("stuck", "Create*")
    platform.create_slice(either.spec(NAME))
    later(either, 1_000_000)
    assert seen(platform).state is SliceCloudState.CREATING
    assert is_gone(either, platform)


def test_a_preempted_slice_is_listed_until_it_is_deleted(either: CloudWorld) -> None:
    platform = either.platform()
    platform.create_slice(either.spec(NAME, hosts=2, capacity=Capacity.SPOT))
    later(either)
    assert seen(platform).state is SliceCloudState.RUNNING
    either.control.preempt(ZONE, NAME, notice_ms=0)
    for _ in range(2):
        later(either)
        info = seen(platform)
        assert info.state is SliceCloudState.PREEMPTED
        assert "node PREEMPTED" in info.detail
        assert [info.state for info in platform.list_slices({})] == [SliceCloudState.PREEMPTED]
    assert is_gone(either, platform)


def test_a_queued_resource_that_is_delivered_late(slow: CloudWorld) -> None:
    platform = slow.platform()
    slow.control.fault("slow", "CreateQueuedResource", delay_ms=1_800_000)
    platform.create_slice(slow.spec(NAME, is_queued=True))
    later(slow)
    info = seen(platform)
    assert (info.state, info.detail) == (SliceCloudState.CREATING, "queued resource WAITING_FOR_RESOURCES")
    later(slow, 1_800_000)
    later(slow)
    assert seen(platform).state is SliceCloudState.RUNNING


def test_a_queued_resource_that_is_not_granted_in_time(slow: CloudWorld) -> None:
    slow.control.set_capacity(ZONE, "v5p-8", 0)
    platform = slow.platform()
    platform.create_slice(slow.spec(NAME, is_queued=True))
    later(slow, VALID_S * 1000 + 1)
    info = seen(platform)
    assert (info.state, info.failure) == (SliceCloudState.FAILED, Failure.NO_CAPACITY)
    # It stays, and holds quota, until it is deleted.
    assert list(slow.control.queued().values()) == ["FAILED"]
    assert is_gone(slow, platform)


def test_a_queued_resource_whose_node_somebody_deleted(slow: CloudWorld) -> None:
    platform = slow.platform()
    platform.create_slice(slow.spec(NAME, is_queued=True))
    later(slow)
    slow.api().delete_node(ZONE, NAME)
    later(slow)
    info = seen(platform)
    assert info.state is SliceCloudState.FAILED
    assert info.detail == "queued resource SUSPENDED by somebody's request"
    assert is_gone(slow, platform)


def test_a_deletion_that_is_stuck_is_followed(either: CloudWorld) -> None:
    platform = either.platform()
    platform.create_slice(either.spec(NAME))
    later(either)
    either.control.fault("stuck", "Delete*")
    platform.delete_slice(NAME)
    for _ in range(5):
        later(either, 3_600_000)
        assert seen(platform).state is SliceCloudState.DELETING
        # Nothing is gained by asking for it again.
        platform.delete_slice(NAME)
        either.platform().delete_slice(NAME)
    kind = "QueuedResource" if either.is_queued else "Node"
    assert len(either.control.calls(f"Delete{kind}")) == 1


def test_a_request_in_line_from_before_its_group_was_of_nodes_goes_too(slow: CloudWorld) -> None:
    slow.control.fault("stuck", "CreateQueuedResource")
    slow.platform().create_slice(slow.spec(NAME, is_queued=True))
    # Another process, with another configuration; the node is its own.
    platform = slow.platform()
    platform.create_slice(slow.spec(NAME, is_queued=False))
    later(slow)
    platform.list_slices({})
    platform.delete_slice(NAME)
    later(slow)
    assert seen(platform).detail == "queued resource WAITING_FOR_RESOURCES"
    assert is_gone(slow, platform)


def test_a_deletion_that_came_to_nothing_is_sent_again(slow: CloudWorld) -> None:
    platform = slow.platform()
    platform.create_slice(slow.spec(NAME))
    later(slow)
    slow.control.fault("stuck", "DeleteNode")
    platform.delete_slice(NAME)
    slow.control.set_node(ZONE, NAME, "READY")
    platform.delete_slice(NAME)
    later(slow)
    assert platform.get_slice(NAME) is None


def test_lists_that_lag_behind_are_not_believed(either: CloudWorld) -> None:
    platform = either.platform()
    either.control.fault("lag", "List*", delay_ms=60_000, count=None)
    platform.create_slice(either.spec(NAME))
    # It is in no list yet, and is there all the same.
    assert seen(platform).state is SliceCloudState.CREATING
    later(either)
    platform.delete_slice(NAME)
    assert seen(platform).state is SliceCloudState.DELETING
    either.control.clear_faults()
    later(either)
    assert platform.get_slice(NAME) is None


def test_lists_that_still_show_it(slow: CloudWorld) -> None:
    platform = slow.platform()
    platform.create_slice(slow.spec(NAME))
    later(slow, 120_000)
    slow.control.fault("lag", "List*", delay_ms=60_000, count=None)
    platform.delete_slice(NAME)
    later(slow)
    # The list says READY, the look by name that nothing is left to delete.
    platform.delete_slice(NAME)
    assert len(slow.control.calls("DeleteNode")) == 1
    later(slow, 60_000)
    assert platform.get_slice(NAME) is None


def test_what_somebody_else_has_under_the_name(either: CloudWorld) -> None:
    stranger = either.platform(identity=OTHER)
    theirs = either.spec(NAME, identity=OTHER)
    # Nobody who uses Iris can: the name has our id.
    with pytest.raises(Refused):
        stranger.create_slice(theirs)
    _create_without_asking(either, slice_labels("demo", OTHER.cluster_id, "here", NAME))
    platform = either.platform()
    with pytest.raises(NotOurs, match="exists with other labels"):
        platform.create_slice(either.spec(NAME))
    with pytest.raises(NotOurs, match="carries cluster id zzzzzzzzzz, not abcdefghij"):
        platform.get_slice(NAME)
    with pytest.raises(NotOurs):
        platform.delete_slice(NAME)
    assert platform.list_slices({}) == []
    kind = "queued resource" if either.is_queued else "node"
    assert [kind in words and NAME in words for words in platform.troubles()] == [True] * len(
        platform.troubles()
    )
    assert platform.troubles()
    later(either)
    assert len(either.control.nodes()) == 1


def test_both_kinds_are_in_one_list(slow: CloudWorld) -> None:
    slow.platform().create_slice(slow.spec(NAME))
    slow.platform().create_slice(slow.spec(name(2), is_queued=True))
    later(slow)
    # Who looks at them, or deletes them, need not know which is which.
    platform = slow.platform()
    assert [info.slice_id for info in platform.list_slices({})] == [NAME, name(2)]
    assert platform.list_slices({}) == [seen(platform), seen(platform, name(2))]
    assert seen(platform).state is seen(platform, name(2)).state is SliceCloudState.RUNNING
    platform.delete_slice(NAME)
    platform.delete_slice(name(2))
    later(slow)
    assert platform.list_slices({}) == []
    assert not slow.control.queued()


def test_deleted_while_it_is_created(either: CloudWorld) -> None:
    platform = either.platform()
    platform.create_slice(either.spec(NAME))
    assert is_gone(either, platform)


def test_a_deletion_that_is_refused_for_now(slow: CloudWorld) -> None:
    platform = slow.platform()
    slow.control.configure(delete_while_creating=False)
    platform.create_slice(slow.spec(NAME))
    with pytest.raises(Unreachable, match="unable to queue the operation"):
        platform.delete_slice(NAME)
    later(slow)
    assert is_gone(slow, platform)


def _create_without_asking(world: CloudWorld, labels: dict[str, str]) -> None:
    """A slice of our name and other labels."""
    api = world.api()
    wrong = replace(world.spec(NAME), labels=labels)
    if world.is_queued:
        api.create_queued(request.create_queued(api.project, wrong, ZONE))
    else:
        api.create_node(request.create_node(api.project, wrong, ZONE))
