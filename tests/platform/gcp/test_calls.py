"""How Google is called: deadlines, second tries, pages, endpoints, and how often."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest

from iris_platform.base import (
    NoCapacity,
    PermissionMissing,
    PlatformError,
    QuotaExceeded,
    RateLimited,
    Refused,
    SliceCloudState,
    Unreachable,
)
from tests.platform.gcp.clouds import SHORT, ZONE, CloudWorld
from tests.platform.gcp.made import NAME, name

HANG = replace(SHORT, try_s=0.3, read_s=0.5, write_s=0.3)


@pytest.mark.parametrize("code", [13, 14, 4])
def test_reading_is_tried_again(world: CloudWorld, code: int) -> None:
    platform = world.platform()
    platform.create_slice(world.spec(NAME))
    world.control.fault("error", "GetNode", code=code, count=3)
    world.control.fault("error", "List*", code=code, count=3)
    assert [info.slice_id for info in platform.list_slices({})] == [NAME]
    assert world.platform().get_slice(NAME) is not None


@pytest.mark.parametrize(
    ("code", "kind"), [(14, Unreachable), (8, RateLimited), (7, PermissionMissing), (16, PermissionMissing)]
)
def test_what_a_list_that_fails_says(world: CloudWorld, code: int, kind: type[PlatformError]) -> None:
    world.control.fault("error", "ListNodes", code=code, count=None)
    with pytest.raises(kind, match=f"cannot list the TPU nodes in {ZONE}: "):
        world.platform().list_slices({})
    # What helps nothing is not tried again.
    calls = len(world.control.calls("ListNodes"))
    assert calls == 1 if kind is not Unreachable else calls > 2


def test_who_does_not_answer_is_not_waited_for(world: CloudWorld) -> None:
    platform = world.platform(deadlines=HANG)
    world.control.fault("hang", count=None)
    with pytest.raises(Unreachable):
        platform.list_slices({})
    with pytest.raises(Unreachable):
        platform.get_slice(NAME)
    with pytest.raises(Unreachable):
        platform.create_slice(world.spec(NAME))
    with pytest.raises(Unreachable):
        platform.delete_slice(NAME)


@pytest.mark.parametrize("after", [False, True])
def test_creations_and_deletions_are_sent_once(either: CloudWorld, after: bool) -> None:
    platform = either.platform()
    either.control.fault("error", "Create*", after=after)
    with pytest.raises(Unreachable):
        platform.create_slice(either.spec(NAME))
    platform.create_slice(either.spec(NAME))
    assert len(either.control.calls(f"Create{_kind(either)}", NAME)) == 2
    assert len(either.control.nodes() | either.control.queued()) == 1
    either.control.fault("error", "Delete*", after=after)
    with pytest.raises(Unreachable):
        platform.delete_slice(NAME)
    assert len(either.control.calls(f"Delete{_kind(either)}", NAME)) == 1


@pytest.mark.parametrize("do", ["hang", "reset"])
def test_a_creation_whose_answer_is_lost_is_made_once(either: CloudWorld, do: str) -> None:
    platform = either.platform(deadlines=HANG)
    either.control.fault(do, "Create*", after=True)
    with pytest.raises(Unreachable):
        platform.create_slice(either.spec(NAME))
    for _ in range(5):
        # A connection that was reset may be found out by the next call only.
        with suppress(Unreachable):
            platform.create_slice(either.spec(NAME))
    assert len(either.control.nodes() | either.control.queued()) == 1
    info = platform.get_slice(NAME)
    assert info is not None and info.state is SliceCloudState.CREATING


@pytest.mark.parametrize(
    ("do", "how", "kind", "words"),
    [
        ("stockout", {}, NoCapacity, "There is no more capacity in the zone"),
        ("quota", {}, QuotaExceeded, "Quota limit '.*' has been exceeded"),
        ("error", {"code": 8}, RateLimited, "Resource has been exhausted"),
        ("error", {"code": 7}, PermissionMissing, "The caller does not have permission"),
    ],
)
def test_a_creation_that_is_not_accepted(
    world: CloudWorld, do: str, how: dict[str, int], kind: type[PlatformError], words: str
) -> None:
    world.control.fault(do, "CreateNode", **how)
    with pytest.raises(kind, match=f"^cannot create TPU node {NAME}: {words}"):
        world.platform().create_slice(world.spec(NAME))
    assert world.platform().get_slice(NAME) is None


def test_a_request_that_is_wrong(world: CloudWorld) -> None:
    wrong = replace(world.spec(NAME), accelerator_type="v5p-7")
    with pytest.raises(Refused, match="v5p-7 was not found in zone us-east5-a"):
        world.platform().create_slice(wrong)
    with pytest.raises(Refused, match="networks/nowhere' was not found"):
        world.platform().create_slice(world.spec(NAME, network="nowhere"))


def test_too_many_creations(world: CloudWorld) -> None:
    world.control.set_rate("CreateNode", 1)
    platform = world.platform()
    platform.create_slice(world.spec(NAME))
    with pytest.raises(RateLimited, match="per minute"):
        platform.create_slice(world.spec(name(2)))


def test_lists_are_read_to_the_last_page(world: CloudWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iris_platform.gcp.client.PAGE_SIZE", 2)
    names = [name(number) for number in range(1, 6)]
    for each in names:
        world.platform().create_slice(world.spec(each))
        world.platform().create_slice(world.spec(f"{each}0", is_queued=True))
    world.control.clear_calls()
    found = [info.slice_id for info in world.platform().list_slices({})]
    assert found == sorted([*names, *(f"{each}0" for each in names)])
    assert len(world.control.calls("ListNodes")) == 5
    assert len(world.control.calls("ListQueuedResources")) == 3


@pytest.mark.parametrize("method", ["ListNodes", "ListQueuedResources"])
@pytest.mark.parametrize("do", ["half", "unreachable"])
def test_half_a_list_is_none(world: CloudWorld, method: str, do: str) -> None:
    platform = world.platform()
    platform.create_slice(world.spec(NAME))
    platform.create_slice(world.spec(name(2)))
    world.control.fault(do, method, count=None)
    with pytest.raises(Unreachable):
        platform.list_slices({})
    # What one slice is, a look by name tells all the same.
    info = platform.get_slice(NAME)
    assert info is not None and info.state is SliceCloudState.RUNNING


def test_no_credentials_go_to_a_test_cloud(world: CloudWorld) -> None:
    platform = world.platform()
    platform.create_slice(world.spec(NAME))
    platform.list_slices({})
    platform.delete_slice(NAME)
    assert {call.credentials for call in world.control.calls()} == {False}
    assert {call.via for call in world.control.calls()} == {"grpc"}


def test_the_calls_of_a_slices_whole_life(either: CloudWorld) -> None:
    """Lists tell of it, and a name is asked for only where its hosts join and when it is gone."""
    platform, control = either.platform(), either.control

    def listed(ms: int) -> list[SliceCloudState]:
        control.advance(ms)
        return [info.state for info in platform.list_slices({})]

    platform.create_slice(either.spec(NAME))
    assert listed(0) == [SliceCloudState.CREATING]
    assert listed(10_000) == [SliceCloudState.RUNNING]
    assert len(platform.host_addresses(NAME, ZONE)) == 1
    platform.delete_slice(NAME)
    assert listed(0) == [SliceCloudState.DELETING]
    assert listed(10_000) == []
    assert platform.get_slice(NAME) is None
    counts = control.counts(NAME)
    # Of a queued resource and its node both are asked for at the end.
    assert sum(counts.values()) == (5 if either.is_queued else 4), counts


def test_the_calls_for_a_slice_of_an_earlier_process(either: CloudWorld) -> None:
    either.platform().create_slice(either.spec(NAME))
    platform = either.platform()
    platform.list_slices({})
    either.control.clear_calls()
    platform.delete_slice(NAME)
    # The list has told whose it is.
    assert list(either.control.counts(NAME)) == [f"Delete{_kind(either)}"]


def test_a_look_at_a_node_is_one_call(world: CloudWorld) -> None:
    platform = world.platform()
    platform.create_slice(world.spec(NAME))
    world.control.clear_calls()
    platform.get_slice(NAME)
    assert world.control.counts() == {"GetNode": 1}


def test_nothing_of_google_is_imported_before_it_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LAZILY], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[]", "['google.auth', 'google.cloud.tpu_v2', 'grpc']"]


_LAZILY = """
import sys
from pathlib import Path
from iris_platform import ClusterIdentity, ClusterPaths, PlatformSettings, create_platform
from iris_platform.base import PlatformError
from iris_proto.v1.config_pb2 import EndpointsConfig, ProviderConfig, TpuProvider

def loaded():
    names = ("google.auth", "google.cloud.tpu_v2", "google.cloud.compute_v1", "grpc")
    print([name for name in names if name in sys.modules])

here = Path("/nonexistent")
platform = create_platform(PlatformSettings(
    provider=ProviderConfig(tpu=TpuProvider(project_id="p")),
    zones=("z",),
    identity=ClusterIdentity("demo", "abcdefghij"),
    paths=ClusterPaths(here, here, here),
    endpoints=EndpointsConfig(tpu="http://127.0.0.1:9"),
))
platform.zones(), platform.troubles(), platform.list_vms({})
loaded()
try:
    platform.get_slice("not-a-name")
except PlatformError:
    pass
loaded()
"""


def _kind(world: CloudWorld) -> str:
    return "QueuedResource" if world.is_queued else "Node"
