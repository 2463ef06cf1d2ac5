"""A real keeper and real processes, ordered about over its pipe."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.keeper.frames import (
    Bye,
    Forget,
    Job,
    Known,
    KnownJob,
    Lease,
    Ping,
    Pong,
    Seen,
    Start,
    State,
    Stop,
)
from iris_platform import processes
from tests.bootstrap.conftest import StartKeeper
from tests.bootstrap.support import KeeperUnderTest, eventually, host_processes, python

KEY = "job/0/7/1"
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n"
)


@pytest.mark.parametrize(
    ("argv", "state", "reason", "exit_code", "number"),
    [
        (["true"], "SUCCEEDED", "exit", 0, None),
        (["sh", "-c", "exit 3"], "FAILED", "exit", 3, None),
        (["sh", "-c", "kill -SEGV $$"], "FAILED", "signal", None, signal.SIGSEGV),
        (["no-such-command"], "FAILED", "not_found", 127, None),
        (["./missing"], "FAILED", "not_found", 127, None),
        (["/etc/hostname"], "FAILED", "not_executable", 126, None),
        (["/tmp"], "FAILED", "not_executable", 126, None),
        (["a\0b"], "FAILED", "not_found", 127, None),
        (["echo", "a\0b"], "FAILED", "start_failed", None, None),
        (["echo", "x" * 8_000_000], "FAILED", "start_failed", None, None),
        ([], "FAILED", "not_found", 127, None),
    ],
)
def test_how_an_attempt_ends(
    keeper: KeeperUnderTest,
    argv: list[str],
    state: str,
    reason: str,
    exit_code: int | None,
    number: int | None,
) -> None:
    session = keeper.accept()
    session.run(KEY, *argv)
    report = session.ended(KEY)
    assert (report.state, report.reason, report.exit_code, report.signal) == (
        state,
        reason,
        exit_code,
        number,
    )
    assert report.finished_at_ms >= report.started_at_ms > 0
    assert report.log_bytes == len(keeper.log_of(KEY))


def test_log_says_why_there_is_no_process(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "no-such-command")
    session.ended(KEY)
    assert keeper.log_of(KEY) == "iris: no-such-command: command not found\n"


def test_script_without_its_interpreter_is_not_executable(keeper: KeeperUnderTest) -> None:
    script = keeper.host_dir / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    session = keeper.accept()
    session.run(KEY, str(script))
    assert session.ended(KEY).reason == "not_executable"
    assert "interpreter" in keeper.log_of(KEY)


def test_output_keeps_its_order_and_its_last_line(keeper: KeeperUnderTest) -> None:
    """B50, the agent's part of it."""
    session = keeper.accept()
    session.run(
        KEY, "sh", "-c", "for i in 1 2 3; do echo out$i; echo err$i >&2; done; echo last; kill -KILL $$"
    )
    report = session.ended(KEY)
    assert keeper.log_of(KEY) == "out1\nerr1\nout2\nerr2\nout3\nerr3\nlast\n"
    assert (report.signal, report.log_bytes) == (signal.SIGKILL, len(keeper.log_of(KEY)))


def test_arguments_and_environment_arrive_byte_for_byte(keeper: KeeperUnderTest) -> None:
    """B56, the agent's part of it."""
    odd = "a b'\"$(x)\\\n\té漢😀"
    session = keeper.accept()
    session.run(
        KEY, *python("import os, sys; print(sys.argv[1] + os.environ['ODD'], end='')", odd), env={"ODD": odd}
    )
    session.ended(KEY)
    assert keeper.log_of(KEY) == odd + odd


def test_environment_of_a_task(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.lease()
    env = {"IRIS_ATTEMPT_ID": "forged", "IRIS_JOB_ID": "job", "MINE": "job"}
    session.send(Job("job", "", python("import json, os; print(json.dumps(dict(os.environ)))"), env, 5.0))
    session.send(Start(KEY, "", {"MINE": "attempt", "IRIS_CONTROLLER_ADDRESS": "here:1"}))
    session.ended(KEY)
    found = json.loads(keeper.log_of(KEY))
    work = str(keeper.host_dir / "tasks/job-0-7-1/work")
    assert found["PATH"] == os.environ["PATH"]
    assert found["MINE"] == "attempt"
    assert {name: value for name, value in found.items() if name.startswith("IRIS_")} == {
        "IRIS_JOB_ID": "job",
        "IRIS_TASK_INDEX": "0",
        "IRIS_ATTEMPT": "1",
        "IRIS_CONTROLLER_ADDRESS": "here:1",
        "IRIS_WORKDIR": work,
        "IRIS_HOST_DIR": str(keeper.host_dir),
        "IRIS_ATTEMPT_ID": KEY,
    }
    assert "PYTHONPATH" not in found


def test_task_has_its_own_session_directory_and_no_descriptors_of_ours(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    code = (
        "import os, signal; print(os.getcwd(), os.getpid() == os.getsid(0), os.readlink('/proc/self/fd/0'),"
        " sorted(map(int, os.listdir('/proc/self/fd')))[:-1], signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL)"
    )
    # Python itself ignores SIGPIPE: ask a program that does not.
    session.run(KEY, "sh", "-c", f'grep SigIgn /proc/self/status; exec {sys.executable} -c "{code}"')
    session.ended(KEY)
    ignored, found = keeper.log_of(KEY).splitlines()
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGCHLD):
        assert not int(ignored.split()[1], 16) & 1 << number - 1
    assert found.split(" ", 1) == [
        f"{keeper.host_dir}/tasks/job-0-7-1/work",
        "True /dev/null [0, 1, 2] False",
    ]


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


def test_id_is_never_started_twice(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "sh", "-c", "echo once")
    session.ended(KEY)
    session.send(Forget([KEY], ["job"], []))
    session.run(KEY, "sh", "-c", "echo twice")
    session.run("job/1/7/1", "true")
    session.ended("job/1/7/1")
    assert len([report for report in session.reports[KEY] if report.state != "RUNNING"]) == 1
    assert keeper.log_of(KEY) == "once\n"


def test_stop_that_overtook_its_start_wins(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.send(Stop(KEY, "job_stopped"))
    session.run(KEY, "true")
    session.run("job/1/7/1", "true")
    session.ended("job/1/7/1")
    assert KEY not in session.reports


def test_nothing_runs_without_a_lease(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.send(Job("job", "", ["true"], {}, 5.0), Start(KEY, "", {}))
    report = session.ended(KEY)
    assert (report.state, report.reason, report.started_at_ms) == ("KILLED", "lease_expired", 0)


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
    assert deadline_s - 0.4 <= boot_s() < deadline_s
    deaf = session.ended("deaf/0/7/1")
    assert boot_s() >= deadline_s
    assert {(report.state, report.reason) for report in (polite, deaf)} == {("KILLED", "lease_expired")}
    assert (polite.signal, deaf.signal) == (signal.SIGTERM, signal.SIGKILL)


def test_lease_that_is_renewed_kills_nothing(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "sh", "-c", "sleep 0.6; echo done")
    for _ in range(4):
        session.lease(lease_s=0.8)
        session.send(Ping(1))
        session.read_until(lambda: Pong(1) in session.messages, "pong")
        session.messages.clear()
        eventually(_later(0.15), "a while")
    assert session.ended(KEY).state == "SUCCEEDED"


def test_session_that_dies_is_restarted_and_told_everything(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.lease()
    session.send(Job("job", "the job", ["sh", "-c", "read x < fifo; echo $x"], {}, 5.0))
    session.send(Job("quick", "quick job", ["true"], {}, 5.0), Start("quick/0/7/1", "spec", {}))
    session.ended("quick/0/7/1")
    session.send(Start("quick/1/7/1", "spec 1", {}), Forget(["quick/0/7/1"], [], []))
    session.ended("quick/1/7/1")
    session.send(Job("long", "long job", ["sh", "-c", "mkfifo f; echo ready; read x < f; echo $x"], {}, 5.0))
    session.send(Start("long/0/7/1", "long spec", {}))
    session.running("long/0/7/1")
    eventually(lambda: keeper.log_of("long/0/7/1") == "ready\n", "the fifo")
    session.die()
    again = keeper.accept()
    known = {message.id: message for message in again.told if isinstance(message, Known)}
    assert known.keys() == {"quick/1/7/1", "long/0/7/1"}
    assert known["quick/1/7/1"].document == "spec 1"
    assert known["quick/1/7/1"].report == session.reports["quick/1/7/1"][-1]
    assert known["long/0/7/1"].report == session.reports["long/0/7/1"][0]
    assert KnownJob("long", "long job") in again.told
    seen = [
        (seen.job_id, seen.first, seen.last)
        for part in again.told
        if isinstance(part, Seen)
        for seen in part.ranges
    ]
    assert seen == [("quick", 0, 1), ("long", 0, 0)]
    (keeper.host_dir / "tasks/long-0-7-1/work/f").write_text("went on\n")
    assert again.ended("long/0/7/1").state == "SUCCEEDED"
    assert keeper.log_of("long/0/7/1") == "ready\nwent on\n"


def test_keeper_that_is_killed_is_cleaned_up_after_and_remembered(
    start_keeper: StartKeeper, host_dir: Path
) -> None:
    first = start_keeper()
    session = first.accept()
    session.run("done/0/7/1", "sh", "-c", "exit 4")
    session.run("lost/0/7/1", "sh", "-c", "echo started; setsid sleep 1000 & exec env -i sleep 1000")
    ended = session.ended("done/0/7/1")
    session.running("lost/0/7/1")
    eventually(lambda: first.log_of("lost/0/7/1") == "started\n", "a line")
    session.send(Forget(["done/0/7/1"], [], []))
    session.run("kept/0/7/1", "false")
    kept = session.ended("kept/0/7/1")
    first.kill()
    assert host_processes(host_dir) != []
    second = start_keeper()
    again = second.accept()
    # The relay of the first keeper was killed with all else before the boot line was written.
    assert set(host_processes(host_dir)) == {second.process.pid, second.session_pid()}
    known = {message.id: message.report for message in again.told if isinstance(message, Known)}
    assert known.keys() == {"lost/0/7/1", "kept/0/7/1"}
    lost = known["lost/0/7/1"]
    assert lost is not None
    assert (lost.state, lost.reason, lost.log_bytes) == ("KILLED", "keeper_lost", len("started\n"))
    assert known["kept/0/7/1"] == kept
    for key in ("done/0/7/1", "lost/0/7/1", "kept/0/7/1"):
        again.run(key, "true")
    again.run("new/0/7/1", "true")
    assert again.ended("new/0/7/1").state == "SUCCEEDED"
    assert again.reports.keys() == {"new/0/7/1"}
    assert ended.exit_code == 4
    assert second.leave() == 0


def test_processes_of_another_boot_are_none_of_ours(start_keeper: StartKeeper, host_dir: Path) -> None:
    innocent = os.getpid()
    line = {"kind": "start", "id": KEY, "document": ""}
    process = {"kind": "process", "id": KEY, "pid": innocent, "start_time": processes.start_time(innocent)}
    boot = {"kind": "boot", "boot_id": "before", "previous_boot_id": "", "pid": innocent}
    lines = [boot | {"start_time": processes.start_time(innocent)}, line, process | {"started_at_ms": 5}]
    (host_dir / processes.KEEPER_FILE).write_text(
        "".join(json.dumps(each) + "\n" for each in lines) + '{"kind": "en'
    )
    keeper = start_keeper()
    session = keeper.accept()
    state = session.told[-1]
    assert isinstance(state, State)
    assert (state.boot_id, state.previous_boot_id) == (processes.boot_id(), "before")
    known = [message.report for message in session.told if isinstance(message, Known)]
    assert [(report.reason, report.started_at_ms) for report in known if report] == [("keeper_lost", 5)]
    assert keeper.leave() == 0


def test_second_keeper_is_refused(keeper: KeeperUnderTest, start_keeper: StartKeeper) -> None:
    session = keeper.accept()
    second = start_keeper()
    assert second.process.wait(20) == 1
    assert "another agent" in (keeper.host_dir / "agent.log").read_text()
    session.run(KEY, "true")
    assert session.ended(KEY).state == "SUCCEEDED"


def test_sigterm_stops_the_tasks_and_says_goodbye(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run("a/0/7/1", "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done")
    session.run("b/0/7/1", *python(IGNORES_SIGTERM + "time.sleep(1000)"), grace_s=0.2)
    eventually(lambda: keeper.log_of("a/0/7/1") + keeper.log_of("b/0/7/1") == "up\ndeaf\n", "both")
    keeper.process.send_signal(signal.SIGTERM)
    reports = [session.ended("a/0/7/1"), session.ended("b/0/7/1")]
    assert {(report.state, report.reason) for report in reports} == {("KILLED", "stopped")}
    assert keeper.log_of("a/0/7/1").endswith("\nbye\n")
    session.part()
    assert keeper.process.wait(20) == 0


def test_nothing_run_and_no_word_for_long_ends_the_keeper(start_keeper: StartKeeper, host_dir: Path) -> None:
    keeper = start_keeper(orphan_timeout_s=0.3)
    session = keeper.accept()
    session.lease(lease_s=600, orphan_timeout_s=0.4)
    session.send(Job("job", "", ["sleep", "0.8"], {}, 1.0), Start(KEY, "", {}))
    # What runs holds it back, however long ago the last beat was.
    assert session.ended(KEY).state == "SUCCEEDED"
    session.read_until(lambda: Bye("orphan_timeout") in session.messages, "goodbye")
    session.die()
    assert keeper.process.wait(20) == 0
    last = (host_dir / processes.KEEPER_FILE).read_text().splitlines()[-1]
    assert json.loads(last) == {"kind": "left", "reason": "orphan_timeout"}


def test_many_short_tasks_leave_small_traces(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.lease()
    session.send(Job("job", "", ["true"], {}, 5.0))
    keys = [f"job/{index}/7/1" for index in range(300)]
    session.send(*(Start(key, "", {}) for key in keys))
    for key in keys:
        assert session.ended(key).state == "SUCCEEDED"
    session.send(Forget(keys, ["job"], []))
    session.die()
    again = keeper.accept()
    assert [type(message) for message in again.told] == [Seen, State]


def _later(pause_s: float) -> Callable[[], bool]:
    until_s = boot_s() + pause_s
    return lambda: boot_s() >= until_s
