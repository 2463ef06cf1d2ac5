"""Jobs on a real local cluster, as a person runs them."""

from __future__ import annotations

import sys

from tests.harness.cluster import LocalCluster, wait_until


def test_a_job_of_one_task(cluster: LocalCluster) -> None:
    result = cluster.iris("job", "run", "--name", "hello", "--", "echo", "hello", "world")
    assert result.out == "hello world\n"
    assert "SUCCEEDED" in result.err
    (job,) = cluster.json("job", "list")["jobs"]
    assert (job["name"], job["state"], job["reason"]) == ("hello", "JOB_STATE_SUCCEEDED", "")


def test_a_job_of_twenty_tasks(cluster: LocalCluster) -> None:
    code = "import os; print(int(os.environ['IRIS_TASK_INDEX']) ** 2)"
    result = cluster.iris("job", "run", "--replicas", "20", "--", sys.executable, "-c", code)
    assert sorted(result.out.splitlines()) == sorted(f"[{i}] {i * i}" for i in range(20))
    (job,) = cluster.json("job", "list")["jobs"]
    assert job["task_counts"] == [{"state": "TASK_STATE_SUCCEEDED", "count": 20}]


def test_exit_codes_are_the_programs_own(cluster: LocalCluster) -> None:
    cluster.iris("job", "run", "--", "sh", "-c", "exit 7", expect=7)
    cluster.iris("job", "run", "--", "sh", "-c", "kill -TERM $$", expect=128 + 15)
    missing = cluster.iris("job", "run", "--", "no-such-program-anywhere", expect=127)
    assert "no-such-program-anywhere" in missing.err
    cluster.iris("job", "run", "--", "/etc/passwd", expect=126)
    cluster.iris("job", "run", "--replicas", "3", "--", "sh", "-c", "exit 7", expect=1)


def test_b50_output_and_exit_code_outlive_the_vm(cluster: LocalCluster) -> None:
    code = "import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr); print('last')"
    with cluster.events() as watch:
        job_id = cluster.submit("--", sys.executable, "-c", f"{code}; sys.exit(3)")
        watch.wait_for("slice", "GONE")
    assert cluster.iris("job", "logs", job_id).out == "out\nerr\nlast\n"
    shown = cluster.json("job", "show", job_id)
    assert "JOB_STATE_FAILED" in str(shown)
    cluster.iris("job", "wait", job_id, expect=3)


def test_b56_arguments_and_environment_arrive_byte_for_byte(cluster: LocalCluster) -> None:
    words = ["a b", "q\"u'o", "new\nline", "$(touch canary)", "${HOME}", "naïve ☂", "", "--help", "\\n"]
    code = "import os, sys; print(repr((sys.argv[1:], os.environ['WORD'])))"
    for word in words[:6]:
        result = cluster.iris("job", "run", "-e", f"WORD={word}", "--", sys.executable, "-c", code, *words)
        assert result.out == f"{(words, word)!r}\n"


def test_a_task_that_fails_is_run_again_within_its_budget(cluster: LocalCluster) -> None:
    script = 'echo "attempt $IRIS_ATTEMPT"; test "$IRIS_ATTEMPT" = 3'
    result = cluster.iris("job", "run", "--max-failures", "2", "--", "sh", "-c", script)
    assert result.out == "attempt 1\nattempt 2\nattempt 3\n"
    cluster.iris("job", "run", "--max-failures", "1", "--", "sh", "-c", script, expect=1)


def test_job_stop_ends_the_whole_tree(cluster: LocalCluster) -> None:
    with cluster.events() as watch:
        script = "setsid sleep 1000 & trap '' TERM; echo up; sleep 1000"
        job_id = cluster.submit("--", "sh", "-c", script)
        # The shell and both that it began: it does not hear SIGTERM by now.
        wait_until(lambda: len(cluster.pids("sleep 1000")) == 3)
        cluster.iris("job", "stop", job_id)
        watch.wait_for("job", "KILLED")
    assert not [words for words in cluster.processes().values() if "sleep 1000" in words]
    cluster.iris("job", "wait", job_id, expect=128 + 9)


def test_b20_an_impossible_job_is_refused_with_the_nearest_shape(cluster: LocalCluster) -> None:
    refused = cluster.iris("job", "run", "--cpu", "64", "--", "true", expect=2)
    assert "2 cpu" in refused.err
    assert cluster.json("job", "list")["jobs"] == []
