"""`cluster stop --zone`: one place is given back and stays empty; the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import LocalCluster, wait_until

GROUP = """\
  {name}:
    provider: {{ local: {{}} }}
    zones: [{zone}]
    priority: {priority}
    max_slices: 1
    host_resources: {{ cpu: 1 }}
    idle_timeout: 1h
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Two groups of one slice each, in two zones, and a task that runs in each of them."""
    made = LocalCluster(tmp_path)
    text = made.config.read_text()
    begin, end = text.index("  here:"), text.index("timeouts:")
    groups = GROUP.format(name="east", zone="east", priority=10)
    groups += GROUP.format(name="west", zone="west", priority=20)
    made.config.write_text(text[:begin] + groups + text[end:])
    made.iris("cluster", "start")
    made.submit("--replicas", "2", "--", "sleep", "600")
    wait_until(lambda: made.json("cluster", "status")["jobs_running"] == 1 and len(zones(made)) == 2)
    yield made
    made.iris("cluster", "stop", "-y")
    assert made.processes() == {}
    made.destroy()


def zones(cluster: LocalCluster) -> list[str]:
    """The zones of slices that are READY."""
    slices = cluster.json("slice", "list")["slices"]
    return sorted(entry["zone"] for entry in slices if entry["state"] == "SLICE_STATE_READY")


def test_b61_one_zone_is_stopped_and_not_filled_again(cluster: LocalCluster) -> None:
    planned = cluster.json("cluster", "stop", "--zone", "east", "--dry-run")
    assert (planned["zones"][0]["zone"], planned["pauses"]) == ("east", ["east"])
    assert planned["controller_pid"] is None
    pid = cluster.controller_pid()
    stopped = cluster.iris("cluster", "stop", "--zone", "east", "-y")
    assert "left as it was: zone west" in stopped.out and "stays empty until the next start" in stopped.out
    assert (zones(cluster), cluster.controller_pid()) == (["west"], pid)
    # The task waits, and it is said why; nothing comes although there is demand.
    (east, _) = cluster.json("group", "list")["scale_groups"]
    assert (east["availability"], east["reason"]) == ("GROUP_AVAILABILITY_PAUSED", "paused")
    (job,) = cluster.json("job", "list")["jobs"]
    assert "until the next cluster start" in job["message"]
    # The other one's task was not disturbed.
    tasks = cluster.json("job", "show", job["job_id"])["tasks"]
    assert sorted(task["losses"] for task in tasks) == [0, 0]
    assert "filled again: east" in cluster.iris("cluster", "start").err
    wait_until(lambda: zones(cluster) == ["east", "west"])


def test_the_last_zone_takes_the_controller_along(cluster: LocalCluster) -> None:
    cluster.iris("cluster", "stop", "--zone", "east", "-y")
    cluster.iris("cluster", "stop", "--zone", "west", "-y")
    assert cluster.processes() == {}


def test_a_controller_can_be_stopped_with_one_zone(cluster: LocalCluster) -> None:
    cluster.iris("cluster", "stop", "--zone", "east", "--controller", "-y")
    assert cluster.pids("iris-controller") == []
    # The other zone's agent and its task go on.
    assert cluster.pids("sleep", "600")
    cluster.iris("cluster", "stop", "-y")
    assert cluster.processes() == {}
