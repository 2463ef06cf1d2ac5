"""Commands that are cut short, and operators who are at it at the same time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import COMMAND_S, LocalCluster, Result, wait_until

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalCluster]:
    """A cluster that was never started."""
    cluster = LocalCluster(tmp_path, idle_timeout="10m")
    yield cluster
    cluster.destroy()


def ended(process: subprocess.Popen[str], before: str = "") -> Result:
    out, err = process.communicate(timeout=COMMAND_S)
    result = Result(process.returncode, out, before + err)
    assert "Traceback" not in result.err and "Exception ignored" not in result.err, result
    return result


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What stderr says up to and with the line that has `text`."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said, but: {said}")


def pause(process: subprocess.Popen[str], pause_s: float) -> None:
    """Let it get so far, or to its end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(pause_s)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_cut_short_leaves_none_or_one_that_can_be_used(
    fresh: LocalCluster, number: signal.Signals
) -> None:
    seen = set()
    for pause_s in (0.0, 0.05, 0.2, 0.4, 0.6, 0.9, 1.2, 1.6):
        process = fresh.spawn("cluster", "start")
        said = read_until(process, "starting the controller")
        pause(process, pause_s)
        process.send_signal(number)
        result = ended(process, said)
        if "is up: controller" in result.err:
            # It was done before the signal came, or all but.
            assert result.code in (0, -number, STATUS[number])
            seen.add("up")
        else:
            assert result.code == STATUS[number], result
            none = "interrupted; no controller runs" in result.err
            assert none or "interrupted; the controller is up (process " in result.err, result
            seen.add("none" if none else "up")
            assert (fresh.processes() == {}) == none
            fresh.iris("cluster", "status", expect=5 if none else 0)
        fresh.iris("cluster", "stop", "-y")
        assert fresh.processes() == {}
        if "up" in seen:
            break
    assert "none" in seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_is_cut_short_is_seen_through_by_the_next(
    make_cluster: MakeCluster, number: signal.Signals
) -> None:
    cluster = make_cluster(idle_timeout="10m")
    with cluster.events() as watch:
        cluster.submit("--", "sh", "-c", "trap '' TERM; echo up; while true; do sleep 0.1; done")
        watch.wait_for("job", "RUNNING")
    process = cluster.spawn("cluster", "stop", "-y")
    said = read_until(process, "the controller deletes the slices")
    process.send_signal(number)
    result = ended(process, said)
    assert result.code == STATUS[number]
    assert "see it through: iris --config" in result.err
    refused = cluster.iris("cluster", "start", expect=None)
    assert refused.code in (0, 6), refused
    cluster.iris("cluster", "stop", "-y")
    assert cluster.processes() == {}


FOLLOWS = {
    "run": ("job", "run", "--", "sleep", "1000"),
    "logs": ("job", "logs", "-f"),
    "wait": ("job", "wait"),
    "events": ("events", "--follow"),
}


def test_follows_that_are_cut_short_say_how_to_come_back(cluster: LocalCluster) -> None:
    job_id = cluster.submit("--", "sleep", "1000")
    for verb, words in FOLLOWS.items():
        for number in STATUS:
            process = cluster.spawn(*words, *([job_id] if verb in ("logs", "wait") else []))
            said = read_until(process, "submitted") if verb == "run" else ""
            # Its threads and its connection are up when it is waited for in the kernel.
            wait_until(lambda pid=process.pid: _threads(pid) > 2)  # type: ignore[misc]
            process.send_signal(number)
            result = ended(process, said)
            assert result.code == STATUS[number], (verb, result)
            if verb != "events":
                assert "job logs -f" in result.err and "job stop" in result.err, (verb, result)
    (count,) = {job["state"] for job in cluster.json("job", "list")["jobs"]}
    assert count in ("JOB_STATE_RUNNING", "JOB_STATE_PENDING")


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_signals_that_come_in_a_row(cluster: LocalCluster) -> None:
    for words in (("job", "run", "--", "sleep", "1000"), ("cluster", "stop", "-y")):
        process = cluster.spawn(*words)
        said = read_until(process, "submitted" if words[0] == "job" else "the controller deletes")
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        result = ended(process, said)
        assert result.code in (130, 143), result


def test_two_starts_at_once_are_one(fresh: LocalCluster) -> None:
    starts = [fresh.spawn("cluster", "start") for _ in range(3)]
    results = [ended(process) for process in starts]
    assert [result.code for result in results] == [0, 0, 0]
    assert sorted("is running already" in result.err for result in results) == [False, True, True]
    assert len([words for words in fresh.processes().values() if "iris-controller" in words]) == 1
    fresh.iris("cluster", "stop", "-y")
    assert fresh.processes() == {}


def test_of_two_starts_with_different_files_one_is_told_the_difference(fresh: LocalCluster) -> None:
    other = fresh.home / "other.yaml"
    other.write_text(fresh.config.read_text().replace("max_slices: 2", "max_slices: 3"))
    first = fresh.spawn("cluster", "start")
    fresh.config = other
    second = fresh.spawn("cluster", "start")
    results = [ended(first), ended(second)]
    assert sorted(result.code for result in results) == [0, 6]
    loser = max(results, key=lambda result: result.code)
    assert "scale_groups.here.max_slices: " in loser.out
    assert "runs with another configuration; nothing was changed" in loser.err
    # What is remembered is the one that runs.
    winner = fresh.home / ("test.yaml" if results[0].code == 0 else "other.yaml")
    assert str(winner) in (fresh.home / "state" / "iris" / "clusters.json").read_text()
    fresh.iris("cluster", "stop", "-y")
    assert fresh.processes() == {}


def test_two_stops_at_once_both_prove_it(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="10m")
    with cluster.events() as watch:
        cluster.submit("--", "sleep", "1000")
        watch.wait_for("job", "RUNNING")
    stops = [cluster.spawn("cluster", "stop", "-y") for _ in range(2)]
    results = [ended(process) for process in stops]
    assert [result.code for result in results] == [0, 0], results
    assert all("controller: not running" in result.out for result in results)
    assert cluster.processes() == {}


def test_a_stop_during_a_start(fresh: LocalCluster) -> None:
    """Whichever comes first: both say what is true, and the next stop ends whatever is there."""
    for pause_s in (0.0, 0.2, 0.5, 0.8):
        start = fresh.spawn("cluster", "start")
        said = read_until(start, "starting the controller")
        pause(start, pause_s)
        stopped = fresh.iris("cluster", "stop", "-y", expect=None)
        started = ended(start, said)
        assert stopped.code in (0, 6), stopped
        assert started.code in (0, 1, 5, 6), started
        if stopped.code == 0 and started.code != 0:
            assert fresh.processes() == {}
        fresh.iris("cluster", "stop", "-y")
        assert fresh.processes() == {}


def test_a_start_during_a_stop(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="10m")
    for wait_for in ("the controller deletes the slices", "the controller has stopped"):
        cluster.iris("cluster", "start")
        with cluster.events() as watch:
            cluster.submit("--", "sleep", "1000")
            watch.wait_for("job", "RUNNING")
        stop = cluster.spawn("cluster", "stop", "-y")
        said = read_until(stop, wait_for)
        started = cluster.iris("cluster", "start", expect=None)
        stopped = ended(stop, said)
        if started.code == 6:
            assert "is being stopped" in started.err and stopped.code == 0, (started, stopped)
        else:
            # It came after, or took the place just given up: then the stop says that it did.
            assert started.code == 0 and stopped.code in (0, 6), (started, stopped)
        cluster.iris("cluster", "stop", "-y")
        assert cluster.processes() == {}


def test_a_stop_and_a_start_that_nobody_reads_are_seen_through(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="10m")
    with cluster.events() as watch:
        cluster.submit("--", "sleep", "1000")
        watch.wait_for("job", "RUNNING")
    for words in (("cluster", "stop", "-y"), ("cluster", "start"), ("cluster", "start", "-o", "json")):
        read, write = os.pipe()
        os.close(read)
        try:
            process = cluster.spawn(*words, stdout=write, stderr=write)
        finally:
            os.close(write)
        assert process.wait(COMMAND_S) == 0, words
        if words[1] == "stop":
            assert cluster.processes() == {}
    cluster.iris("cluster", "status")


def test_a_start_without_any_stream(fresh: LocalCluster) -> None:
    """What it starts keeps its log although number 0 was free."""
    script = 'exec "$@" <&- >&- 2>&-'
    executable = fresh.spawn("version")
    executable.communicate(timeout=COMMAND_S)
    command = ["sh", "-c", script, "sh", str(executable.args[0]), "--config", str(fresh.config)]  # type: ignore[index]
    done = subprocess.run([*command, "cluster", "start"], env=fresh.environ, timeout=COMMAND_S, check=False)
    assert done.returncode == 0
    fresh.iris("cluster", "status")
    assert (fresh.state_dir / "controller.log").stat().st_size > 0
    fresh.iris("cluster", "stop", "-y")
    assert fresh.processes() == {}
