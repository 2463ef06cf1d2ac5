"""Tasks that do what no task should: they end, whole, and nobody else is hurt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.frames import Forget, Job, Start, Stop
from iris_platform import processes
from iris_proto.v1.job_pb2 import AttemptState
from tests.bootstrap.agents import Agent
from tests.bootstrap.conftest import StartKeeper
from tests.bootstrap.controller import PlayedController
from tests.bootstrap.support import KEY, KeeperUnderTest, attempt_processes, eventually, python

# A daemon by the book: two forks, a session, no descriptors, the root directory, another environment.
DAEMON = """
import os, sys
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.write(writer, str(os.getpid()).encode())
        os.closerange(0, 256)
        os.execve("/bin/sleep", ["sleep", "1000"], {})
    os._exit(0)
os.wait()
print(os.read(reader, 20).decode(), flush=True)
"""


def is_dead(pid: int) -> bool:
    return processes.start_time(pid) is None


@pytest.mark.parametrize("how", ["ends", "is stopped", "takes too long"])
def test_daemon_does_not_outlive_its_attempt(keeper: KeeperUnderTest, how: str) -> None:
    """B51, for the process that tries hardest."""
    session = keeper.accept()
    then = "" if how == "ends" else "import time; time.sleep(1000)"
    timeout_s = 1.0 if how == "takes too long" else 0.0
    session.run(KEY, *python(DAEMON + then), timeout_s=timeout_s, grace_s=0.5)
    eventually(lambda: keeper.log_of(KEY).endswith("\n"), "the daemon's pid")
    pid = int(keeper.log_of(KEY))
    if how == "is stopped":
        session.send(Stop(KEY, "job_stopped"))
    expected = {"ends": "exit", "is stopped": "job_stopped", "takes too long": "timeout"}
    assert session.ended(KEY).reason == expected[how]
    assert is_dead(pid)


def test_task_without_descriptors_ends_as_it_likes(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "sh", "-c", "echo last; exec 0<&- 1>&- 2>&-; sleep 0.1; exit 4")
    report = session.ended(KEY)
    assert (report.state, report.exit_code, report.log_bytes) == ("FAILED", 4, 5)


def test_task_that_halts_itself_can_be_stopped(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "sh", "-c", "kill -STOP $$; sleep 1000", grace_s=60)
    session.running(KEY)
    # A process that has just been made shows no environment for a moment.
    eventually(lambda: bool(attempt_processes(keeper.host_dir, KEY)), "it is there")
    (pid,) = attempt_processes(keeper.host_dir, KEY)
    eventually(lambda: processes.is_stopped(pid), "it has halted")
    session.send(Stop(KEY, "job_stopped"))
    assert session.ended(KEY).signal == signal.SIGTERM


def test_flood_of_processes_is_killed(keeper: KeeperUnderTest) -> None:
    """Half of them in sessions of their own, all of them deaf."""
    session = keeper.accept()
    flood = (
        "trap '' TERM; i=0; while [ $i -lt 100 ]; do sleep 1000 & setsid sleep 1000 & i=$((i+1)); done;"
        " echo all; wait"
    )
    session.run(KEY, "sh", "-c", flood, grace_s=0.5)
    eventually(lambda: keeper.log_of(KEY) == "all\n", "all of them")
    # One that is just being executed has no mark to be seen.
    eventually(lambda: len(attempt_processes(keeper.host_dir, KEY)) == 201, "all of them to be seen")
    session.send(Stop(KEY, "job_stopped"))
    assert session.ended(KEY).signal == signal.SIGKILL
    assert attempt_processes(keeper.host_dir, KEY) == []


def test_processes_that_fork_while_they_are_killed(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    # A chain: each starts the next and ends; a few at a time, for ever. Not so fast that a busy
    # machine cannot look at all processes twice meanwhile, which is what the keeper does.
    link = "trap '' TERM; echo . >> count; sleep 0.2; setsid sh link & exit"
    start = f'printf %s "{link}" > link; for i in 1 2 3 4 5; do setsid sh link & done; sleep 1000'
    session.run(KEY, "sh", "-c", start, grace_s=0.2)
    count = keeper.host_dir / "tasks/job-0-7-1/work/count"
    eventually(lambda: count.exists() and count.stat().st_size > 50, "a few links")
    session.send(Stop(KEY, "job_stopped"))
    session.ended(KEY)
    assert attempt_processes(keeper.host_dir, KEY) == []


def test_output_without_an_end_of_line(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, *python("import os; os.write(1, b'\\x00\\xff' * 3_000_000)"))
    assert session.ended(KEY).log_bytes == 6_000_000
    assert (keeper.host_dir / "tasks/job-0-7-1/log").read_bytes() == b"\x00\xff" * 3_000_000


def test_stdin_is_at_its_end(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "cat")
    assert session.ended(KEY).exit_code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A host's directory with room for 2 MiB."""
    path = (tmp_path / "small").resolve()
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount: {done.stderr}")
    yield path
    processes.clean_host(path)
    subprocess.run(["umount", str(path)], check=True)


def test_task_that_fills_the_disk(small_disk: Path, start_keeper: StartKeeper) -> None:
    """It fails; while the disk is full nothing new starts and says so; then everything goes on."""
    keeper = start_keeper(small_disk)
    session = keeper.accept()
    session.run("beside/0/7/1", "sleep", "1000")
    session.running("beside/0/7/1")
    session.run(KEY, "sh", "-c", "head -c 9000000 /dev/zero > big; head -c 9000000 /dev/zero; exit 7")
    report = session.ended(KEY)
    assert (report.state, report.exit_code) == ("FAILED", 7)
    # Longer than what is left of the file's last page.
    session.send(Job("next", "x" * 8192, ["true"], {}, 5.0), Start("next/0/7/1", "", {}))
    refused = session.ended("next/0/7/1")
    assert (refused.state, refused.reason) == ("KILLED", "start_failed")
    assert "No space left on device" in refused.message
    session.send(Stop("beside/0/7/1", "job_stopped"))
    assert session.ended("beside/0/7/1").state == "KILLED"
    (small_disk / "tasks/job-0-7-1/work/big").unlink()
    (small_disk / "tasks/job-0-7-1/log").unlink()
    session.send(Forget([KEY], ["job"], []))
    session.run("after/0/7/1", "true")
    assert session.ended("after/0/7/1").state == "SUCCEEDED"
    kinds = [json.loads(line) for line in (small_disk / "keeper.jsonl").read_text().splitlines()]
    ended = {line["id"] for line in kinds if line["kind"] == "end"}
    assert {"beside/0/7/1", "next/0/7/1"} <= ended
    # What was seen while nothing could be written is not started again either.
    session.send(Start("next/0/7/1", "", {}))
    session.run("last/0/7/1", "true")
    session.ended("last/0/7/1")
    assert len(session.reports["next/0/7/1"]) == 1
    assert keeper.leave() == 0


ODD = [
    "",
    " a  b ",
    "'\"`$(id)`\\",
    "${HOME} $HOME ~ *",
    "line\nline\r\n\ttab",
    "é漢😀 \u00a0\u2028\uffff\U0010ffff",
    "\x01\x1b[31m\x7f\x80\x9f",
    "--help",
    "=",
    "%s {} \\x00 \\n",
]


def test_odd_text_arrives_byte_for_byte(agent: Agent, controller: PlayedController) -> None:
    """B56, over the wire and through both processes."""
    names = ["A B", "a.b-c", "É漢", "$(id)", "line\nline", "1", "LC_ALL"]
    env = {name: ODD[index] for index, name in enumerate(names)}
    code = (
        "import json, os, sys; sys.stdout.buffer.write(json.dumps("
        "[[os.fsencode(a).hex() for a in sys.argv[1:]],"
        " {k.hex(): v.hex() for k, v in os.environb.items()}]).encode())"
    )
    key = AttemptKey("job", 0, 7, 1)
    controller.run(key, sys.executable, "-c", code, *ODD, env=env)
    assert controller.ended(key).state == AttemptState.ATTEMPT_STATE_SUCCEEDED
    argv, environ = json.loads(controller.log(key))
    assert argv == [text.encode().hex() for text in ODD]
    assert {name.encode().hex(): text.encode().hex() for name, text in env.items()}.items() <= environ.items()


def test_task_that_ends_the_session_time_and_again(agent: Agent, controller: PlayedController) -> None:
    """B41: it only hurts what it is told of the controller's address."""
    key = AttemptKey("job", 0, 7, 1)
    end_all = "for s in $(pgrep -P $PPID -f '[i]ris_bootstrap session'); do kill -9 $s; done"
    controller.run(key, "sh", "-c", f"for i in 1 2 3; do {end_all}; sleep 0.3; done; echo done")
    assert controller.ended(key).state == AttemptState.ATTEMPT_STATE_SUCCEEDED
    assert controller.log(key) == b"done\n"
    assert os.path.exists(agent.host_dir)
