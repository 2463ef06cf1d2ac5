"""A real keeper and real processes, ordered about over its pipe: what is started, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from iris_bootstrap.keeper.frames import (
    Forget,
    Job,
    Ping,
    Pong,
    Start,
    Stop,
)
from tests.bootstrap.support import KEY, KeeperUnderTest, python


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
        "IRIS_PREEMPTION_FILE": str(keeper.host_dir / "tasks/job-0-7-1/notice.json"),
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


def test_ping_is_answered_at_once(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.send(Ping(5))
    session.read_until(lambda: Pong(5) in session.messages, "pong")
