"""Scaling of a real local cluster, by the numbers of the behaviours."""

from __future__ import annotations

from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import LocalCluster


def test_b10_two_small_tasks_that_fit_together_ask_for_one_slice(cluster: LocalCluster) -> None:
    with cluster.events() as watch:
        cluster.iris("job", "run", "--replicas", "2", "--cpu", "1", "--", "sh", "-c", "true")
        watch.wait_for("slice", "GONE")
        assert len(watch.seen("slice", "REQUESTING")) == 1


def test_b11_four_hosts_a_slice_and_five_whole_host_tasks_ask_for_two_slices(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(slice_size=4, cpu=1, max_slices=4)
    with cluster.events() as watch:
        cluster.iris("job", "run", "--replicas", "5", "--", "true")
        watch.wait_for("slice", "GONE", count=2)
        assert len(watch.seen("slice", "REQUESTING")) == 2


def test_b16_tasks_that_the_present_fleet_can_hold_ask_for_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="10m")
    with cluster.events() as watch:
        cluster.iris("job", "run", "--", "true")
        cluster.iris("job", "run", "--replicas", "2", "--", "true")
        assert len(watch.seen("slice", "REQUESTING")) == 1
    (slice_,) = cluster.json("slice", "list")["slices"]
    assert slice_["state"] == "SLICE_STATE_READY"


def test_b17_idle_slices_are_drained_then_deleted_longest_idle_first(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(cpu=1, idle_timeout="2s")
    end = cluster.home / "end"
    with cluster.events() as watch:
        longer = cluster.submit("--", "sh", "-c", 'until [ -e "$0" ]; do sleep 0.1; done', str(end))
        watch.wait_for("job", "RUNNING")
        shorter = cluster.submit("--", "true")
        watch.wait_for("job", "SUCCEEDED")
        end.touch()
        watch.wait_for("slice", "GONE", count=2)
    place = {
        job: cluster.json("job", "show", job)["tasks"][0]["attempt"]["place"]["slice_name"]
        for job in (longer, shorter)
    }
    assert [e["subject"] for e in watch.seen("slice", "DRAINING")] == [place[shorter], place[longer]]
    for name in place.values():
        ends = [e["what"] for e in watch.events if e["subject"] == name][-3:]
        assert ends == ["DRAINING", "DELETING", "GONE"]
    assert {e["reason"] for e in watch.seen("slice", "DRAINING")} == {"idle"}


def test_b18_a_slice_with_a_live_task_is_never_idle(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="100ms")
    with cluster.events() as watch:
        result = cluster.iris("job", "run", "--", "sh", "-c", "sleep 3; echo still here")
        assert result.out == "still here\n"
        watch.wait_for("slice", "DRAINING")
        whats = [(e["kind"], e["what"]) for e in watch.events]
        assert whats.index(("job", "SUCCEEDED")) < whats.index(("slice", "DRAINING"))


def test_more_work_than_the_fleet_may_hold_waits_with_a_reason(cluster: LocalCluster) -> None:
    with cluster.events() as watch:
        job_id = cluster.submit("--replicas", "8", "--", "sh", "-c", "sleep 1")
        watch.wait_for("scale_group", "AT_MAX_SLICES")
        watch.wait_for("slice", "READY", count=2)
        job = cluster.json("job", "show", job_id)["job"]
        assert job["reason"] in ("at_max_slices", ""), job
        cluster.iris("job", "wait", job_id)
    assert len(watch.seen("slice", "REQUESTING")) == 2
