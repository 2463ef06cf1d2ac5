"""The resolved configuration as the core and the agents are given it."""

import pytest

from iris_config import MachineFacts, parse_config
from iris_controller.codec.settings import settings, timings
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.values import Resources
from iris_proto.v1 import config_pb2, controller_pb2
from tests.controller.agents import GIB

TEXT = """\
name: demo
timeouts: {beat_interval: 2s, suspect_after: 7s, stop_grace: 3s, orphan_timeout: 1h}
autoscaler: {evaluation_interval: 4s, max_creates_per_minute: 9}
scale_groups:
  here:
    provider: {local: {}}
    host_resources: {cpu: 2.5, memory: 8GiB}
    min_slices: 1
    max_slices: 3
    buffer_slices: 1
    priority: 7
    slice_size: 2
    idle_timeout: 1m
    boot_timeout: 40s
    task_lease: 5m
"""


def resolved() -> config_pb2.IrisClusterConfig:
    return parse_config(TEXT, source="demo.yaml", machine=MachineFacts(cores=2, memory_bytes=16 * GIB)).proto


def test_everything_that_was_written_is_a_setting() -> None:
    found = settings(resolved(), "abcdefgh27")
    assert found.groups == {
        "here": GroupPolicy(
            name="here",
            provider="local",
            zones=("local",),
            min_slices=1,
            max_slices=3,
            buffer_slices=1,
            priority=7,
            hosts=2,
            host_resources=Resources(2500, 8 * GIB),
            idle_timeout_ms=60_000,
            boot_timeout_ms=40_000,
            task_lease_ms=300_000,
            fence_after_ms=320_000,
        )
    }
    assert (found.cluster_id, found.beat_interval_ms, found.suspect_after_ms) == ("abcdefgh27", 2_000, 7_000)
    assert (found.stop_grace_ms, found.evaluation_interval_ms, found.creates_per_minute) == (3_000, 4_000, 9)


def test_agents_are_told_the_same_times_and_no_lease() -> None:
    told = timings(resolved())
    assert (told.beat_interval.seconds, told.suspect_after.seconds) == (2, 7)
    assert (told.stop_grace.seconds, told.orphan_timeout.seconds) == (3, 3600)
    assert not told.HasField("task_lease")


def test_a_group_without_a_provider_is_no_setting() -> None:
    config = config_pb2.IrisClusterConfig(scale_groups={"x": config_pb2.ScaleGroupConfig()})
    with pytest.raises(ValueError, match="scale group x: no provider"):
        settings(config, "abcdefgh27")


@pytest.mark.parametrize(
    "availability", ["AVAILABLE", "REQUESTING", "BACKOFF", "QUOTA_EXCEEDED", "AT_MAX_SLICES"]
)
def test_what_a_plan_says_of_a_group_can_be_shown(availability: str) -> None:
    names = set(controller_pb2.GroupAvailability.keys())
    assert f"GROUP_AVAILABILITY_{availability}" in names
