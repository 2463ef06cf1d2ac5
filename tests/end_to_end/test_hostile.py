"""Tasks that mean harm, or have never heard of anybody else."""

from __future__ import annotations

import sys

from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import LocalCluster, wait_until

MIB = 1 << 20


def test_a_flood_keeps_its_end_and_holds_up_nobody(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(cpu=4, extra="logs: { max_size: 16MiB }\n")
    # A gigabyte without a newline, then a last line.
    flood = "import os\nblock = b'x' * (1 << 20)\nfor _ in range(1024): os.write(1, block)\nos.write(1, b'\\nthe end\\n')"
    job_id = cluster.submit("--", sys.executable, "-c", flood)
    assert cluster.iris("job", "run", "--", "echo", "quick").out == "quick\n"
    cluster.iris("job", "wait", job_id)
    # The first comes with the log and may see more of it than is kept; it ends where the log does.
    assert cluster.iris("job", "logs", "--follow", job_id).out.endswith("x\nthe end\n")
    last_line = len("\nthe end\n")
    logs = cluster.iris("job", "logs", job_id)
    assert logs.out.endswith("x\nthe end\n")
    # It is cut by an eighth of its size at a time.
    assert 16 * MIB < len(logs.out) <= 18 * MIB + last_line
    assert "dropped" in logs.err
    assert cluster.iris("job", "logs", "--tail", "1", job_id).out == "the end\n"
    on_disk = sum(path.stat().st_blocks * 512 for path in cluster.home.rglob("*") if path.is_file())
    assert on_disk < 64 * MIB
    (shown,) = [task["attempt"] for task in cluster.json("job", "show", job_id)["tasks"]]
    assert int(shown["log_bytes"]) == 1024 * MIB + last_line


def test_one_that_closes_its_descriptors_and_leaves_a_daemon(cluster: LocalCluster) -> None:
    script = "exec 0<&- 1>&- 2>&-; env -i setsid sleep 1003 & exit 0"
    cluster.iris("job", "run", "--", "sh", "-c", script)
    wait_until(lambda: cluster.pids("sleep 1003") == [])


def test_one_that_kills_its_parent_spends_its_losses_and_fails(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(suspect_after="2s")
    with cluster.events() as watch:
        job_id = cluster.submit("--max-losses", "1", "--", "sh", "-c", "kill -9 $PPID; sleep 1004")
        assert cluster.iris("job", "wait", job_id, expect=None).code == 1
        wait_until(lambda: cluster.pids("sleep 1004") == [])
        watch.wait_for("slice", "GONE", 2)
    (task,) = cluster.json("job", "show", job_id)["tasks"]
    assert (task["state"], task["losses"], task["failures"]) == ("TASK_STATE_FAILED", 2, 0)
    assert cluster.iris("job", "run", "--", "echo", "others").out == "others\n"


def test_a_hundred_children_that_ignore_everything_go_with_their_job(cluster: LocalCluster) -> None:
    script = "trap '' TERM INT HUP; for i in $(seq 100); do setsid sleep 1005 & done; echo up; wait"
    with cluster.events() as watch:
        job_id = cluster.submit("--", "sh", "-c", script)
        watch.wait_for("job", "RUNNING")
        wait_until(lambda: len(cluster.pids("sleep 1005")) >= 100)
        cluster.iris("job", "stop", job_id)
        watch.wait_for("job", "KILLED")
    assert cluster.pids("sleep 1005") == []
