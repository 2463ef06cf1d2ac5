"""A cluster's own life: start, restart, stop, and what it never does."""

from __future__ import annotations

import os
import shutil
import signal

from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import LocalCluster, wait_until


def test_start_is_idempotent_and_returns_when_the_next_command_works(cluster: LocalCluster) -> None:
    pid = cluster.controller_pid()
    again = cluster.iris("cluster", "start")
    assert "already" in again.err
    assert cluster.controller_pid() == pid
    status = cluster.json("cluster", "status")
    assert (status["name"], status["phase"]) == ("test", "CLUSTER_PHASE_RUNNING")


def test_start_with_another_configuration_changes_nothing(cluster: LocalCluster) -> None:
    cluster.config.write_text(cluster.config.read_text().replace("max_slices: 2", "max_slices: 5"))
    changed = cluster.iris("cluster", "start", expect=6)
    assert "max_slices" in changed.err + changed.out
    (group,) = cluster.json("group", "list")["scale_groups"]
    assert group["max_slices"] == 2


def test_sigterm_ends_the_controller_and_never_the_fleet(cluster: LocalCluster) -> None:
    may_end = cluster.home / "may-end"
    script = 'echo started; until test -e "$0"; do sleep 0.05; done; echo ended'
    with cluster.events() as watch:
        job_id = cluster.submit("--", "sh", "-c", script, str(may_end))
        watch.wait_for("job", "RUNNING")
    os.kill(cluster.controller_pid(), signal.SIGTERM)
    cluster.iris("job", "list", expect=5)
    cluster.iris("cluster", "start")
    assert any(str(may_end) in words for words in cluster.processes().values())
    may_end.touch()
    result = cluster.iris("job", "logs", "-f", job_id)
    assert result.out == "started\nended\n"
    shown = cluster.json("job", "show", job_id)
    assert shown["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert shown["tasks"][0]["attempts"] == 1


def test_stop_keeps_unfinished_jobs_for_the_next_start(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with cluster.events() as watch:
        job_id = cluster.submit("--", "sh", "-c", '[ "$IRIS_ATTEMPT" -gt 1 ] || sleep 1000')
        watch.wait_for("job", "RUNNING")
        cluster.iris("cluster", "stop", "-y")
    assert cluster.processes() == {}
    cluster.iris("cluster", "start")
    cluster.iris("job", "wait", job_id)
    (task,) = cluster.json("job", "show", job_id)["tasks"]
    assert (task["failures"], task["losses"], task["attempts"]) == (0, 0, 2)


def test_b63_stop_works_with_the_controller_dead_and_twice(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with cluster.events() as watch:
        cluster.submit("--", "sleep", "1000")
        watch.wait_for("job", "RUNNING")
    os.kill(cluster.controller_pid(), signal.SIGKILL)
    cluster.iris("cluster", "stop", "-y")
    assert cluster.processes() == {}
    cluster.iris("cluster", "stop", "-y")


def test_b64_dry_run_names_what_stop_then_deletes(cluster: LocalCluster) -> None:
    with cluster.events() as watch:
        cluster.submit("--", "sleep", "1000")
        watch.wait_for("slice", "READY")
    (slice_,) = cluster.json("slice", "list")["slices"]
    rehearsed = cluster.iris("cluster", "stop", "--dry-run")
    assert slice_["name"] in rehearsed.out
    assert cluster.json("slice", "list")["slices"][0]["state"] == "SLICE_STATE_READY"
    stopped = cluster.iris("cluster", "stop", "-y")
    assert slice_["name"] in stopped.out + stopped.err


def test_b60_b65_stop_creates_nothing_and_settles_what_is_in_flight(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(max_slices=6)
    with cluster.events() as watch:
        cluster.submit("--replicas", "8", "--", "sleep", "1000")
        watch.wait_for("slice", "REQUESTING", 4)
        stopped = cluster.iris("cluster", "stop", "-y")
    seen = watch.events
    begun = next(i for i, e in enumerate(seen) if e["kind"] == "cluster" and e["what"] == "STOPPING")
    assert [e for e in seen[begun:] if e["kind"] == "slice" and e["what"] == "REQUESTING"] == []
    for asked in watch.seen("slice", "REQUESTING"):
        assert asked["subject"] in stopped.out + stopped.err
    assert cluster.processes() == {}
    assert list((cluster.home / "state" / "iris-local" / cluster.name).glob("iris-*")) == []
    again = cluster.iris("cluster", "stop", "-y")
    assert "nothing" in again.out + again.err


def test_a_call_without_the_token_gets_nothing(cluster: LocalCluster) -> None:
    path = cluster.state_dir / "controller.json"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    token = text.split('"token": "')[1].split('"')[0]
    path.write_text(text.replace(token, "x" * len(token)))
    refused = cluster.iris("job", "list", expect=None)
    assert refused.code == 4
    path.write_text(text)
    log = (cluster.state_dir / "controller.log").read_text()
    assert token not in log


def test_controller_json_comes_back_and_a_lost_state_directory_ends_the_controller(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster()
    pid = cluster.controller_pid()
    path = cluster.state_dir / "controller.json"
    path.unlink()
    wait_until(path.exists)
    assert cluster.controller_pid() == pid
    shutil.rmtree(cluster.state_dir)
    wait_until(lambda: pid not in cluster.processes())


def test_a_store_with_other_keys_is_refused(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.iris("cluster", "stop", "-y")
    keys = cluster.home / "state" / "iris-pki" / cluster.name
    kept = keys.rename(keys.with_name("kept"))
    refused = cluster.iris("cluster", "start", expect=6)
    assert "keys" in refused.err
    assert not keys.exists()
    kept.rename(keys)
    cluster.iris("cluster", "start")
