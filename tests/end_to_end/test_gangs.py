"""Gangs and how attempts end, on a real local cluster."""

from __future__ import annotations

import shutil
import sys

from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import LocalCluster, wait_until

# Tells every other member where it is, and fails unless it hears from all.
MEET = """
import os, socket, sys
index, everybody = int(os.environ["IRIS_TASK_INDEX"]), os.environ["IRIS_TASK_ADDRESSES"].split(",")
assert os.environ["IRIS_COORDINATOR_ADDRESS"] == everybody[0]
assert len(everybody) == int(os.environ["IRIS_TASK_COUNT"]) == len(set(everybody))
mine = socket.create_server(("127.0.0.1", int(everybody[index].rpartition(":")[2])))
for address in everybody:
    host, _, port = address.rpartition(":")
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=10) as peer:
                peer.sendall(bytes([index]))
            break
        except ConnectionRefusedError:
            pass
heard = set()
while len(heard) < len(everybody):
    heard.add(mine.accept()[0].recv(1)[0])
print(sorted(heard))
"""


def test_b12_a_gang_of_four_gets_one_slice_of_four_hosts_and_meets(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(max_slices=2, slice_size=4, cpu=1, idle_timeout="1m")
    result = cluster.iris("job", "run", "--replicas", "4", "--gang", "--", sys.executable, "-c", MEET)
    assert sorted(result.out.splitlines()) == [f"[{index}] [0, 1, 2, 3]" for index in range(4)]
    (slice_,) = cluster.json("slice", "list")["slices"]
    (job,) = cluster.json("job", "list")["jobs"]
    tasks = cluster.json("job", "show", job["job_id"])["tasks"]
    places = [
        (task["attempt"]["place"]["slice_name"], task["attempt"]["place"]["worker_index"]) for task in tasks
    ]
    assert places == [(slice_["name"], index) for index in range(4)]
    refused = cluster.iris("job", "run", "--replicas", "5", "--gang", "--", "true", expect=2)
    assert "4 hosts" in refused.err


def test_a_gang_over_two_slices_meets_and_each_member_knows_which_it_is_on(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(max_slices=3, slice_size=2, cpu=1, idle_timeout="1m")
    gang = ("--replicas", "4", "--gang", "--slices", "2")
    knows = MEET + 'print("slice", os.environ["IRIS_SLICE_INDEX"], "of", os.environ["IRIS_SLICE_COUNT"])\n'
    result = cluster.iris("job", "run", *gang, "--", sys.executable, "-c", knows)
    expected = [f"[{i}] {words}" for i in range(4) for words in ("[0, 1, 2, 3]", f"slice {i // 2} of 2")]
    assert sorted(result.out.splitlines()) == sorted(expected)
    first, second = (entry["name"] for entry in cluster.json("slice", "list")["slices"])
    (job,) = cluster.json("job", "list")["jobs"]
    assert job["spec"]["slices"] == 2
    tasks = cluster.json("job", "show", job["job_id"])["tasks"]
    places = [
        (task["attempt"]["place"]["slice_name"], task["attempt"]["place"]["worker_index"]) for task in tasks
    ]
    assert places == [(name, host) for name in (first, second) for host in (0, 1)]
    assert "4 in a gang over 2 slices" in cluster.iris("job", "show", job["job_id"]).out
    refused = cluster.iris("job", "run", "--replicas", "4", "--gang", "--slices", "4", "--", "true", expect=2)
    assert "the nearest that fits is 3 slices" in refused.err


def test_a_gang_over_two_slices_outlives_its_controller_and_a_lost_store(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(max_slices=2, cpu=1, idle_timeout="1m")
    go = cluster.home / "go"
    script = f"echo begun; while [ ! -e {go} ]; do sleep 0.1; done; echo ended $IRIS_SLICE_INDEX"
    job = cluster.submit("--replicas", "2", "--gang", "--slices", "2", "--", "sh", "-c", script)
    wait_until(lambda: cluster.iris("job", "logs", job, expect=None).out.count("begun") == 2)
    cluster.kill_controller()
    shutil.rmtree(cluster.state_dir)
    cluster.iris("cluster", "start")
    wait_until(lambda: cluster.json("cluster", "status")["jobs_running"] == 1)
    go.touch()
    assert cluster.iris("job", "wait", job).code == 0
    shown = cluster.json("job", "show", job)
    assert (shown["job"]["spec"]["slices"], [task["attempts"] for task in shown["tasks"]]) == (2, [1, 1])
    said = cluster.iris("job", "logs", "-f", job).out
    assert sorted(said.splitlines()) == ["[0] begun", "[0] ended 0", "[1] begun", "[1] ended 1"]


def test_b15_slices_that_boot_are_counted_however_often_it_is_decided(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(max_slices=5, slice_size=2, cpu=1)
    with cluster.events() as watch:
        jobs = [cluster.submit("--replicas", "2", "--gang", "--", "sleep", "0.2") for _ in range(2)]
        for job_id in jobs:
            cluster.iris("job", "wait", job_id)
        assert len(watch.seen("slice", "REQUESTING")) <= 2


# Task 2 fails the first time, when all four have said theirs.
FAILS_ONCE = """\
echo "$IRIS_ATTEMPT"
touch "$0.$IRIS_TASK_INDEX"
[ "$IRIS_ATTEMPT" = 1 ] || exit 0
[ "$IRIS_TASK_INDEX" = 2 ] || sleep 100
until [ -e "$0.0" ] && [ -e "$0.1" ] && [ -e "$0.3" ]; do sleep 0.1; done
exit 3
"""


def test_b52_one_member_fails_and_all_run_again_once(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(slice_size=2, cpu=2, idle_timeout="1m")
    gang = ("--replicas", "4", "--gang")
    words = ("--", "sh", "-c", FAILS_ONCE, str(cluster.home / "said"))
    result = cluster.iris("job", "run", *gang, "--max-failures", "1", *words)
    assert sorted(result.out.splitlines()) == sorted(f"[{index}] {n}" for index in range(4) for n in (1, 2))
    (job,) = cluster.json("job", "list")["jobs"]
    tasks = cluster.json("job", "show", job["job_id"])["tasks"]
    assert [(task["failures"], task["losses"], task["attempts"]) for task in tasks] == [(1, 0, 2)] * 4
    # Without a budget the first failure ends all of it.
    failed = cluster.iris("job", "run", *gang, *words, expect=1)
    assert "task 2" in failed.err
    wait_until(lambda: not cluster.pids("sleep 100"))
    job = cluster.json("job", "list")["jobs"][0]
    counts = {count["state"]: count["count"] for count in job["task_counts"]}
    assert counts == {"TASK_STATE_FAILED": 1, "TASK_STATE_KILLED": 3}


def test_b53_b51_a_timeout_kills_the_whole_tree_and_says_so(cluster: LocalCluster) -> None:
    script = "trap '' TERM; setsid sleep 1000 & sleep 1001; sleep 1002"
    result = cluster.iris("job", "run", "--timeout", "2s", "--", "sh", "-c", script, expect=None)
    assert result.code == 128 + 9
    assert "timeout of 2s" in result.err
    assert cluster.pids("sleep 100") == []
    (job,) = cluster.json("job", "list")["jobs"]
    assert (job["state"], job["reason"]) == ("JOB_STATE_FAILED", "timeout")
