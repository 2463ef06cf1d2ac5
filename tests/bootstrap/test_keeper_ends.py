"""A real keeper ends what is to end: what programs leave, what is stopped, what has no lease."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from iris_bootstrap.keeper.attempts import timed_out
from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.keeper.frames import (
    Job,
    Lease,
    Release,
    Start,
    Stop,
)
from iris_platform import processes
from tests.bootstrap.conftest import StartKeeper
from tests.bootstrap.support import (
    IGNORES_SIGTERM,
    KEY,
    KeeperUnderTest,
    attempt_processes,
    eventually,
    host_processes,
    python,
)


@pytest.mark.parametrize(
    "leave",
    [
        "setsid sleep 1000 & disown",
        "setsid sh -c 'sleep 1000 & sleep 1000' & sleep 0.2",
        # Without the mark, without our session, without our log.
        "env -i setsid sleep 1000 </dev/null >/dev/null 2>&1 & cd / ; sleep 0.2",
    ],
)
def test_what_a_program_leaves_is_killed(keeper: KeeperUnderTest, leave: str) -> None:
    session = keeper.accept()
    session.run(KEY, "bash", "-c", f"{leave}; exit 5")
    assert session.ended(KEY).exit_code == 5
    strangers = set(processes.children_of(keeper.process.pid)) - {keeper.session_pid()}
    assert strangers == set()


def test_what_others_left_stays_while_they_run(keeper: KeeperUnderTest) -> None:
    """A daemon whose origin cannot be told may be a running attempt's."""
    session = keeper.accept()
    daemon = "env -i setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; cd /"
    session.run("long/0/7/1", "bash", "-c", f"{daemon}; exec sleep 1000")
    eventually(lambda: keeper.log_of("long/0/7/1") != "", "the daemon's pid")
    pid = int(keeper.log_of("long/0/7/1"))
    session.run("short/0/7/1", "true")
    session.ended("short/0/7/1")
    assert processes.start_time(pid) is not None
    session.send(Stop("long/0/7/1", "job_stopped"))
    session.ended("long/0/7/1")
    assert processes.start_time(pid) is None


def test_last_words_of_a_pipeline_are_not_lost(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "bash", "-c", "exec > >(sleep 0.02; cat); echo late")
    assert session.ended(KEY).log_bytes == len("late\n")


def test_stop_is_sigterm_to_the_group(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "sleep", "1000")
    session.running(KEY)
    session.send(Stop(KEY, "job_stopped"), Stop(KEY, "another"))
    report = session.ended(KEY)
    assert (report.state, report.reason, report.signal) == ("KILLED", "job_stopped", signal.SIGTERM)


def test_deaf_task_is_killed_after_its_grace_with_all_its_processes(keeper: KeeperUnderTest) -> None:
    """B51."""
    session = keeper.accept()
    code = (
        f"import subprocess; {IGNORES_SIGTERM}"
        "child = subprocess.Popen(['setsid', 'sleep', '1000']); print(child.pid, flush=True); time.sleep(1000)"
    )
    session.run(KEY, *python(code), grace_s=0.3)
    eventually(lambda: keeper.log_of(KEY).count("\n") == 2, "both lines")
    begin_s = boot_s()
    session.send(Stop(KEY, "job_stopped"))
    report = session.ended(KEY)
    assert (report.state, report.reason, report.signal) == ("KILLED", "job_stopped", signal.SIGKILL)
    assert boot_s() - begin_s >= 0.3
    assert processes.start_time(int(keeper.log_of(KEY).split()[1])) is None


def test_children_may_use_the_grace_that_their_parent_did_not(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    child = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(print('saved', flush=True)));"
    code = f"{child} print('ready', flush=True); time.sleep(1000)"
    session.run(KEY, "bash", "-c", f'setsid {sys.executable} -c "{code}" & sleep 1000')
    eventually(lambda: keeper.log_of(KEY) == "ready\n", "the child")
    session.send(Stop(KEY, "job_stopped"))
    report = session.ended(KEY)
    assert (report.state, report.signal) == ("KILLED", signal.SIGTERM)
    assert keeper.log_of(KEY) == "ready\nsaved\n"


def test_program_that_ends_well_when_told_to_stop_is_killed_all_the_same(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    code = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('x', flush=True); time.sleep(9)"
    session.run(KEY, *python(code))
    eventually(lambda: keeper.log_of(KEY) == "x\n", "the handler")
    session.send(Stop(KEY, "draining"))
    report = session.ended(KEY)
    assert (report.state, report.reason, report.exit_code) == ("KILLED", "draining", 0)


def test_lease_that_runs_out_kills(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    code = f"import os, subprocess; {IGNORES_SIGTERM}time.sleep(1000)"
    session.run("deaf/0/7/1", *python(code))
    session.run("polite/0/7/1", "sleep", "1000")
    eventually(lambda: keeper.log_of("deaf/0/7/1") == "deaf\n", "the deaf one")
    deadline_s = boot_s() + 0.8
    # SIGTERM a quarter of the lease earlier: the grace is longer.
    session.send(Lease(deadline_s, 1.6, 1800.0))
    polite = session.ended("polite/0/7/1")
    assert boot_s() >= deadline_s - 0.4
    deaf = session.ended("deaf/0/7/1")
    assert boot_s() >= deadline_s
    assert {(report.state, report.reason) for report in (polite, deaf)} == {("KILLED", "lease_expired")}
    assert (polite.signal, deaf.signal) == (signal.SIGTERM, signal.SIGKILL)


def test_lease_that_is_renewed_kills_nothing(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.send(Lease(boot_s() + 1.5, 1.5, 1800.0))
    session.send(Job("job", "", ["sh", "-c", "sleep 1.6; echo done"], {}, 5.0), Start(KEY, "", {}))
    session.lease()
    assert session.ended(KEY).state == "SUCCEEDED"


def test_attempt_of_the_same_name_on_another_host_is_left_alone(
    keeper: KeeperUnderTest, start_keeper: StartKeeper, tmp_path: Path
) -> None:
    session = keeper.accept()
    other = start_keeper(tmp_path.resolve())
    there = other.accept()
    there.run(KEY, "sleep", "1000")
    there.running(KEY)
    session.run(KEY, *python(IGNORES_SIGTERM + "time.sleep(1000)"), grace_s=0.1)
    eventually(lambda: keeper.log_of(KEY) == "deaf\n", "the deaf one")
    session.send(Stop(KEY, "job_stopped"))
    assert session.ended(KEY).signal == signal.SIGKILL
    assert attempt_processes(keeper.host_dir, KEY) == []
    assert len(attempt_processes(other.host_dir, KEY)) == 1
    assert other.leave() == 0
    assert there.ended(KEY).signal == signal.SIGTERM
    assert host_processes(other.host_dir) == []


def test_timeout_ends_the_whole_tree_and_says_so(keeper: KeeperUnderTest) -> None:
    """B53, the agent's part of it: FAILED, since it is the program that took too long."""
    session = keeper.accept()
    code = (
        f"import subprocess; {IGNORES_SIGTERM}"
        "child = subprocess.Popen(['setsid', 'sleep', '1000']); print(child.pid, flush=True); time.sleep(1000)"
    )
    begin_s = boot_s()
    session.run(KEY, *python(code), grace_s=0.3, timeout_s=1.0)
    report = session.ended(KEY)
    assert boot_s() - begin_s >= 1.3
    assert (report.state, report.reason, report.signal) == ("FAILED", "timeout", signal.SIGKILL)
    assert report.message == "ran longer than its timeout of 1s"
    assert processes.start_time(int(keeper.log_of(KEY).split()[1])) is None


def test_timeout_counts_from_the_start_of_the_program(keeper: KeeperUnderTest) -> None:
    """A member of a gang has not begun while it waits for the others."""
    session = keeper.accept()
    session.run(KEY, "sleep", "0.3", is_gang=True, timeout_s=1.0)
    session.prepared(KEY)
    session.run("other/0/7/1", "sleep", "1.1")
    session.ended("other/0/7/1")
    session.send(Release(KEY, {}))
    assert session.ended(KEY).state == "SUCCEEDED"


def test_program_that_ends_well_when_its_time_is_over_has_failed(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    code = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); time.sleep(99)"
    session.run(KEY, *python(code), timeout_s=1.0)
    report = session.ended(KEY)
    assert (report.state, report.reason, report.exit_code) == ("FAILED", "timeout", 0)


def test_program_that_is_quicker_than_its_timeout_or_stopped_before(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run("quick/0/7/1", "true", timeout_s=2.0)
    # Runs until it is killed; its own time must not be over before it is stopped, on a busy machine either.
    session.run("stopped/0/7/1", *python(IGNORES_SIGTERM + "time.sleep(99)"), grace_s=0.5, timeout_s=30.0)
    eventually(lambda: keeper.log_of("stopped/0/7/1") == "deaf\n", "the deaf one")
    session.send(Stop("stopped/0/7/1", "job_stopped"))
    assert session.ended("stopped/0/7/1").reason == "job_stopped"
    assert session.ended("quick/0/7/1").state == "SUCCEEDED"
    # Past the time that the quick one had.
    session.run("after/0/7/1", "sleep", "2")
    session.ended("after/0/7/1")
    assert len(session.reports["quick/0/7/1"]) <= 2


@pytest.mark.parametrize(
    ("timeout_s", "words"),
    [
        (0.25, "0.25s"),
        (1, "1s"),
        (90, "1m30s"),
        (600, "10m"),
        (5400, "1h30m"),
        (90_000, "25h"),
        (3601, "1h1s"),
    ],
)
def test_timeout_in_words(timeout_s: float, words: str) -> None:
    assert timed_out(timeout_s).message == f"ran longer than its timeout of {words}"
