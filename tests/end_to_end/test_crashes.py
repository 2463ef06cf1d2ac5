"""What survives when something dies: controller, session, keeper, both; or its disk."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import LocalCluster, wait_until

LINES = 40
# Appends to a file of its own, for this test to watch, and prints the same line.
COUNTS = f"""
import os, sys, time
name = f"{{sys.argv[1]}}/{{os.environ['IRIS_JOB_ID']}}-{{os.environ['IRIS_TASK_INDEX']}}"
with open(name, "a", buffering=1) as seen:
    print("begin", file=seen)
    for number in range({LINES}):
        line = f"line {{number}}"
        print(line, flush=True)
        print(line, file=seen)
        time.sleep(0.05)
while os.path.exists(f"{{sys.argv[1]}}/{{os.environ['IRIS_JOB_ID']}}.hold"):
    time.sleep(0.05)
"""
SESSION = ("iris_bootstrap", " session ")
KEEPER = ("iris_bootstrap", " keeper ")


class Counting:
    """A job whose tasks count, and the files that show how far they are."""

    def __init__(self, cluster: LocalCluster, *flags: str, tasks: int = 1) -> None:
        self.cluster = cluster
        self.tasks = tasks
        program = (sys.executable, "-c", COUNTS, str(cluster.home))
        self.job_id = cluster.submit("--replicas", str(tasks), *flags, "--", *program)

    def lines(self, task: int = 0) -> list[str]:
        path = self.cluster.home / f"{self.job_id}-{task}"
        return path.read_text().splitlines() if path.exists() else []

    def reaches(self, number: int, task: int = 0) -> None:
        """Waits until a task has printed so many lines."""
        wait_until(lambda: len(self.lines(task)) > number)

    def hold(self) -> Path:
        """Keeps its tasks from ending until the returned file is removed."""
        path = self.cluster.home / f"{self.job_id}.hold"
        path.touch()
        return path

    def shown(self) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = self.cluster.json("job", "show", self.job_id)["tasks"]
        return tasks

    def ran_once(self) -> None:
        """The job succeeds with one attempt for each task, undisturbed."""
        self.cluster.iris("job", "wait", self.job_id)
        assert [task["attempts"] for task in self.shown()] == [1] * self.tasks
        for task in range(self.tasks):
            assert self.lines(task) == ["begin", *(f"line {number}" for number in range(LINES))]

    def ran_again(self, losses: int = 1) -> None:
        """The job succeeds after it lost its machine so often."""
        self.cluster.iris("job", "wait", self.job_id)
        (task,) = self.shown()
        assert (task["losses"], task["failures"], task["attempts"]) == (losses, 0, losses + 1)
        assert self.lines().count("begin") == losses + 1


class TestController:
    def test_b40_killed_again_and_again_while_a_gang_runs(self, make_cluster: MakeCluster) -> None:
        cluster = make_cluster(slice_size=2, cpu=2)
        job = Counting(cluster, "--gang", tasks=4)
        cluster.kill_controller()
        cluster.iris("cluster", "start")
        followed = cluster.home / "followed"
        with followed.open("w") as out:
            follower = cluster.spawn("job", "logs", "-f", job.job_id, stdout=out)
        wait_until(lambda: followed.stat().st_size > 0)
        for number, task in ((0, 0), (3, 1), (12, 2), (25, 3)):
            job.reaches(number, task)
            cluster.kill_controller()
            cluster.iris("cluster", "start")
        _, err = follower.communicate(timeout=60)
        job.ran_once()
        expected = sorted(f"[{task}] line {number}" for task in range(4) for number in range(LINES))
        assert (follower.returncode, sorted(followed.read_text().splitlines())) == (0, expected), err
        events = cluster.json("events")["events"]
        ends = [e for e in events if e["kind"] == "job" and e["what"] == "SUCCEEDED"]
        assert len(ends) == 1

    @pytest.mark.parametrize("moment", ["REQUESTING", "BOOTING", "READY"])
    def test_b40_killed_while_a_slice_comes(self, make_cluster: MakeCluster, moment: str) -> None:
        cluster = make_cluster(max_slices=1)
        with cluster.events() as watch:
            job = Counting(cluster)
            watch.wait_for("slice", moment)
            cluster.kill_controller()
        cluster.iris("cluster", "start")
        job.ran_once()
        events = cluster.json("events")["events"]
        asked = [e for e in events if e["kind"] == "slice" and e["what"] == "REQUESTING"]
        assert len(asked) == 1

    def test_b43_stopped_for_longer_than_suspect_after(self, make_cluster: MakeCluster) -> None:
        cluster = make_cluster(suspect_after="1s")
        job = Counting(cluster)
        job.reaches(2)
        pid = cluster.controller_pid()
        os.kill(pid, signal.SIGSTOP)
        job.reaches(32)
        os.kill(pid, signal.SIGCONT)
        job.ran_once()
        events = [event for event in cluster.json("events")["events"] if event["kind"] == "slice"]
        assert {event["reason"] for event in events if event["what"] == "DELETING"} <= {"idle"}

    def test_b42_away_for_longer_than_the_lease(self, make_cluster: MakeCluster) -> None:
        cluster = make_cluster(task_lease="2s", suspect_after="1s")
        job = Counting(cluster)
        hold = job.hold()
        job.reaches(2)
        (task,) = cluster.pids("IRIS_TASK_INDEX")
        pid = cluster.controller_pid()
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: task not in cluster.processes())
        hold.unlink()
        os.kill(pid, signal.SIGCONT)
        job.ran_again()
        past = [e for e in cluster.json("events")["events"] if e["what"] == "RETRY"]
        assert [event["reason"] for event in past] == ["lease_expired"]


class TestAgent:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    def test_b41_the_tasks_of_a_lost_session_do_not_notice(
        self, make_cluster: MakeCluster, number: signal.Signals
    ) -> None:
        cluster = make_cluster(suspect_after="1s")
        job = Counting(cluster)
        job.reaches(1)
        (session,) = cluster.pids(*SESSION)
        os.kill(session, number)
        wait_until(lambda: session not in cluster.pids(*SESSION))
        job.ran_once()

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    def test_b41_the_trees_of_a_lost_keeper_are_gone_and_its_tasks_run_again(
        self, make_cluster: MakeCluster, number: signal.Signals
    ) -> None:
        cluster = make_cluster(suspect_after="1s")
        may_end = cluster.home / "may-end"
        script = 'setsid sleep 1000 & test -e "$0" && exit 0; touch "$0.up"; sleep 1001'
        job_id = cluster.submit("--", "sh", "-c", script, str(may_end))
        wait_until((cluster.home / "may-end.up").exists)
        may_end.touch()
        (keeper,) = cluster.pids(*KEEPER)
        asleep = cluster.pids("sleep 100")
        assert len(asleep) >= 2
        os.kill(keeper, number)
        wait_until(lambda: not set(asleep) & set(cluster.processes()))
        wait_until(lambda: keeper not in cluster.processes())
        cluster.iris("job", "wait", job_id)
        (task,) = cluster.json("job", "show", job_id)["tasks"]
        assert (task["losses"], task["failures"], task["attempts"]) == (1, 0, 2)

    def test_b41_of_both_whatever_is_left_is_killed_first(self, make_cluster: MakeCluster) -> None:
        cluster = make_cluster(suspect_after="1s")
        job = Counting(cluster)
        hold = job.hold()
        job.reaches(1)
        both = [*cluster.pids(*KEEPER), *cluster.pids(*SESSION)]
        (task,) = cluster.pids("IRIS_TASK_INDEX")
        for pid in both:
            os.kill(pid, signal.SIGSTOP)
        for pid in both:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: job.lines().count("begin") == 2)
        hold.unlink()
        assert task not in cluster.processes()
        job.ran_again()


class TestStateDirectory:
    def test_b45_lost_while_tasks_run(self, make_cluster: MakeCluster) -> None:
        cluster = make_cluster()
        job = Counting(cluster, "--name", "kept", tasks=2)
        # What had ended and was heard of would run again, since nobody knows of it.
        hold = job.hold()
        job.reaches(1)
        before = set(cluster.pids(*KEEPER))
        cluster.kill_controller()
        shutil.rmtree(cluster.state_dir)
        cluster.iris("cluster", "start")
        hold.unlink()
        job.ran_once()
        (shown,) = cluster.json("job", "list")["jobs"]
        assert (shown["name"], shown["state"]) == ("kept", "JOB_STATE_SUCCEEDED")
        assert before >= set(cluster.pids(*KEEPER))
        events = [event["what"] for event in cluster.json("events")["events"] if event["kind"] == "cluster"]
        assert events == ["INCOMPLETE", "COMPLETE"]
        log = cluster.iris("job", "logs", job.job_id).out.splitlines()
        assert len(log) == 2 * LINES

    def test_b47_an_older_copy_is_restored_while_newer_attempts_run(self, make_cluster: MakeCluster) -> None:
        cluster = make_cluster(max_slices=1, cpu=1, idle_timeout="1m")
        first = Counting(cluster)
        waiting = Counting(cluster)
        # What had ended would run again, since the copy knows nothing of it.
        hold = waiting.hold()
        first.reaches(1)
        cluster.kill_controller()
        copy = cluster.home / "copy"
        shutil.copytree(cluster.state_dir, copy)
        cluster.iris("cluster", "start")
        # What waits in the copy runs now; and the copy does not know the last one.
        waiting.reaches(1)
        unknown = Counting(cluster)
        cluster.kill_controller()
        shutil.rmtree(cluster.state_dir)
        copy.rename(cluster.state_dir)
        cluster.iris("cluster", "start")
        hold.unlink()
        waiting.ran_once()
        assert unknown.lines() == []
        problems = cluster.json("cluster", "status")["problems"]
        assert not [line for line in problems if "slice" in line and "unknown" in line]

    def test_b44_a_full_disk_refuses_and_recovers(self, tmp_path: Path) -> None:
        cluster = LocalCluster(tmp_path, idle_timeout="1m")
        with SmallDisk(cluster.state_dir):
            try:
                cluster.iris("cluster", "start")
                job = Counting(cluster)
                job.reaches(1)
                (cluster.state_dir / "ballast").write_bytes(b"x" * (4 << 20))
                fill(cluster.state_dir / "full")
                refused = cluster.iris("job", "run", "--detach", "--", "echo", "x" * 100_000, expect=None)
                assert refused.code == 1
                assert "full" in refused.err and "Traceback" not in refused.err
                assert any("full" in line for line in cluster.json("cluster", "status")["problems"])
                (cluster.state_dir / "full").unlink()
                (cluster.state_dir / "ballast").unlink()
                job.ran_once()
                assert cluster.iris("job", "run", "--", "echo", "again").out == "again\n"
                assert len(cluster.iris("job", "logs", job.job_id).out.splitlines()) == LINES
                cluster.iris("cluster", "stop", "-y")
                with sqlite3.connect(cluster.state_dir / "iris.db") as db:
                    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                db.close()
            finally:
                cluster.destroy()


class SmallDisk:
    """A file system of sixteen megabytes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._path.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(self._path)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine does not let us mount")

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self._path)], check=True)


def fill(path: Path) -> None:
    """Takes all that is left of a disk."""
    block = b"x" * 65_536
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
                if len(block) > 1 and os.statvfs(path.parent).f_bavail == 0:
                    return
        except OSError:
            return
