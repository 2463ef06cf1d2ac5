"""Logs that are longer than they may be: the oldest goes, everything else goes on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from iris_bootstrap.attempt import AttemptKey
from iris_platform.holes import ALIGN_BYTES, data_begin, punch_hole
from iris_proto.v1.job_pb2 import AttemptState
from tests.bootstrap.agents import Agent
from tests.bootstrap.controller import PlayedController
from tests.bootstrap.support import eventually

A = AttemptKey("job", 0, 7, 1)
B = AttemptKey("other", 0, 7, 1)
MIB = 1024 * 1024
# Numbered lines of 1 KiB, then waits to be told to end.
FLOOD = """
import sys
for i in range(int(sys.argv[1])):
    sys.stdout.write(f"{i:1023}\\n")
sys.stdout.flush()
open("done", "w").close()
import time
time.sleep(1000)
"""


@pytest.fixture
def limited(controller: PlayedController) -> PlayedController:
    """A controller that wants little of each log."""
    controller.log_max_bytes = MIB
    return controller


def flood(controller: PlayedController, lines: int, key: AttemptKey = A) -> None:
    controller.run(key, sys.executable, "-c", FLOOD, str(lines))


def log_of(agent: Agent) -> Path:
    return agent.host_dir / "tasks/job-0-7-1/log"


def on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def line(number: int) -> bytes:
    return f"{number:1023}\n".encode()


def end(controller: PlayedController) -> bytes:
    controller.stop_attempt(A)
    report = controller.ended(A)
    log = controller.log(A)
    assert report.log_bytes == len(log)
    return log


def test_log_that_nobody_takes_does_not_fill_the_disk(limited: PlayedController, agent: Agent) -> None:
    limited.run(
        A, "sh", "-c", f"while [ ! -e go ]; do sleep 0.02; done; exec {sys.executable} -c '{FLOOD}' 20480"
    )
    limited.running(A)
    limited.stop()
    work = agent.host_dir / "tasks/job-0-7-1/work"
    (work / "go").touch()
    eventually((work / "done").exists, "all lines")
    assert log_of(agent).stat().st_size == 20 * MIB
    eventually(lambda: on_disk(log_of(agent)) <= MIB + 256 * 1024, "what is too much dropped")
    # Another session has to find out what is gone.
    os.kill(agent.pids()[1], signal.SIGKILL)
    limited.start()
    limited.connected(2)
    log = end(limited)
    ((begin, after),) = limited.gaps[A]
    assert begin == 0
    assert 18.5 * MIB < after <= 19 * MIB
    assert log[after:] == b"".join(line(i) for i in range(after // 1024, 20480))


def test_log_that_is_taken_as_it_comes_has_no_gap(limited: PlayedController, agent: Agent) -> None:
    """More than is kept in all, but never too much at once."""
    lines = "for i in $(seq 0 39); do head -c 102400 /dev/zero | tr '\\0' $((i % 10)); sleep 0.02; done; sleep 1000"
    limited.run(A, "sh", "-c", lines)
    limited.wait_for(lambda: len(limited.has(A)) == 40 * 102400, "all of it")
    assert end(limited) == b"".join(b"%d" % (i % 10) * 102400 for i in range(40))
    assert A not in limited.gaps


def test_flood_hurts_nobody(agent: Agent, controller: PlayedController) -> None:
    """A task that writes as fast as it can: beats and other tasks go on, and memory stays small."""
    controller.log_max_bytes = 32 * MIB
    controller.stop()
    controller.start()
    controller.connected(2)
    flood(controller, 400 * 1024)
    controller.wait_for(lambda: len(controller.logs.get(A, b"")) > 16 * MIB, "some of it")
    beats = len(controller.beats)
    controller.run(B, "sh", "-c", "echo beside")
    assert controller.ended(B).state == AttemptState.ATTEMPT_STATE_SUCCEEDED
    assert controller.log(B) == b"beside\n"
    controller.wait_for(lambda: len(controller.beats) >= beats + 10, "beats")
    eventually((agent.host_dir / "tasks/job-0-7-1/work/done").exists, "all lines", timeout_s=60)
    log = end(controller)
    assert len(log) == 400 * MIB
    assert log.endswith(line(400 * 1024 - 1))
    for begin, after in controller.gaps.get(A, []):
        assert (begin % 1024, after % 1024) == (0, 0)
    status = Path(f"/proc/{agent.pids()[1]}/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    assert peak_kib < 200 * 1024


@pytest.mark.parametrize(
    "damage",
    [
        "while :; do echo x; : > ../log; done",
        "echo x; while :; do mv ../log ../b; mv ../b ../log; echo y; done",
        "echo x; rm ../log; mkfifo ../log; sleep 1000",
        "echo x; rm ../log; ln -s /dev/zero ../log; sleep 1000",
        "cd /; rm -r $IRIS_WORKDIR/..; echo x > $(dirname $IRIS_WORKDIR); sleep 1000",
    ],
)
def test_task_that_damages_its_log_hurts_nobody_else(
    agent: Agent, controller: PlayedController, damage: str
) -> None:
    controller.run(A, "sh", "-c", damage)
    controller.running(A)
    session = agent.pids()[1]
    for number in range(5):
        key = B._replace(task_index=number)
        controller.run(key, "sh", "-c", "echo beside")
        assert controller.log(key) == b"beside\n"
    controller.stop_attempt(A)
    controller.ended(A)
    assert agent.pids()[1] == session


def test_hole_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4 * ALIGN_BYTES)
    fd = os.open(path, os.O_RDWR)
    try:
        assert data_begin(fd) == 0
        if not punch_hole(fd, 0, 2 * ALIGN_BYTES):
            pytest.skip("no holes on this file system")
        assert data_begin(fd) == 2 * ALIGN_BYTES
        assert path.read_bytes() == bytes(2 * ALIGN_BYTES) + b"x" * 2 * ALIGN_BYTES
        assert on_disk(path) <= 2 * ALIGN_BYTES
        assert punch_hole(fd, 0, 4 * ALIGN_BYTES)
        assert data_begin(fd) == 4 * ALIGN_BYTES
        os.ftruncate(fd, 0)
        assert data_begin(fd) == 0
    finally:
        os.close(fd)


def test_file_system_without_holes() -> None:
    with open("/proc/self/comm", "r+b", buffering=0) as file:
        assert punch_hole(file.fileno(), 0, ALIGN_BYTES) is False
        assert data_begin(file.fileno()) == 0
