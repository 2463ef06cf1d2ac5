"""What breaks on the way: connections, controllers, pipes, and patience."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.fake_controller import FakeController
from tests.cli.fake_service import FakeService
from tests.cli.runner import Runner

DEMO = ("--cluster", "demo")
# No line repeats, so that a byte that came twice or never shows.
LINES = [b"line %06d\n" % number for number in range(2000)]


def test_run_goes_on_after_the_controller_came_back(iris: Runner, controller: FakeController) -> None:
    service = controller.service
    with iris.start(*DEMO, "job", "run", "--", "hold") as running:
        job = service.wait_for_job()
        job.run()
        job.write(b"".join(LINES[:900]) + b"line 0009")
        # In the middle of what was sent, at another port, with another token.
        running.read(4321)
        controller.restart()
        job.write(b"00\n" + b"".join(LINES[901:]))
        job.end(exit_code=5)
        done = running.finish()
    assert done.out == b"".join(LINES)
    assert done.status == 5


def test_logs_follow_goes_on_through_several_breaks(iris: Runner, controller: FakeController) -> None:
    job = controller.service.add_job("hold", replicas=2)
    for index in (0, 1):
        job.run(index)
    with iris.start(*DEMO, "job", "logs", "-f", "job-1") as running:
        for part in range(4):
            for index in (0, 1):
                job.write(b"".join(LINES[part * 100 : part * 100 + 100]), index)
            running.read(len(b"[0] " + LINES[0]) * 150)
            controller.restart()
        job.end(0)
        job.end(1)
        done = running.finish()
    assert done.status == 0
    for index in (0, 1):
        prefix = b"[%d] " % index
        own = [line for line in done.out.splitlines(keepends=True) if line.startswith(prefix)]
        assert own == [prefix + line for line in LINES[:400]]


def test_follow_gives_up_after_a_while(iris: Runner, controller: FakeController) -> None:
    iris.env["IRIS_RECONNECT_TIMEOUT"] = "300ms"
    with iris.start(*DEMO, "job", "run", "--", "hold") as running:
        controller.service.wait_for_streams(2)
        controller.stop()
        done = running.finish()
    assert done.status == 115
    assert "does not answer" in done.err and "come back: iris --cluster demo job logs -f job-1" in done.err


def test_a_stream_that_ends_too_early(iris: Runner, service: FakeService) -> None:
    iris.env["IRIS_RECONNECT_TIMEOUT"] = "300ms"
    job = service.add_job("hold")
    job.run()
    job.write(b"some\n")
    service.streams_end = "end"
    done = iris(*DEMO, "job", "logs", "-f", "job-1")
    assert (done.status, done.out) == (8, b"some\n")


def test_ctrl_c_detaches_and_says_how_to_come_back(iris: Runner, service: FakeService) -> None:
    with iris.start(*DEMO, "job", "run", "--", "hold") as running:
        job = service.wait_for_job()
        job.run()
        job.write(b"hello\n")
        running.read(6)
        running.interrupt()
        done = running.finish()
    assert done.status == 130
    assert "detached; the job goes on" in done.err
    assert "iris --cluster demo job logs -f job-1" in done.err
    assert "iris --cluster demo job stop job-1" in done.err
    assert not job.over


@pytest.mark.parametrize("verb", [("wait",), ("logs", "-f")], ids=["wait", "logs"])
def test_ctrl_c_elsewhere(iris: Runner, service: FakeService, verb: tuple[str, ...]) -> None:
    service.add_job("hold")
    with iris.start(*DEMO, "job", *verb, "job-1") as running:
        service.wait_for_streams(1)
        running.interrupt()
        done = running.finish()
    assert done.status == 130
    assert "iris --cluster demo job logs -f job-1" in done.err


def test_a_reader_that_goes_away_ends_it_quietly(iris: Runner, service: FakeService) -> None:
    job = service.add_job("hold")
    job.run()
    job.write(b"".join(LINES) * 100)
    with iris.start(*DEMO, "job", "logs", "-f", "job-1") as running:
        running.read(10)
        running.hang_up()
        done = running.wait_without_stdout()
    assert (done.status, done.err) == (141, "")


def test_no_controller(iris: Runner) -> None:
    iris.state_dir.mkdir(parents=True)
    for words in (["job", "list"], ["cluster", "status"], ["job", "run", "--", "x"], ["events"]):
        done = iris(*DEMO, *words)
        assert (done.status, done.out) == (5, b"")
        assert "the controller of cluster demo is not running" in done.err
        assert "start it: iris --cluster demo cluster start" in done.err
    assert iris(*DEMO, "job", "wait", "x").status == 115


def test_a_dead_controllers_file(iris: Runner, controller: FakeController) -> None:
    # A process id that no process has: beyond the kernel's limit.
    controller.write_file("127.0.0.1:1", "x", pid=2**22 + 1)
    done = iris(*DEMO, "job", "list")
    assert done.status == 5 and "is not running" in done.err


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_file_that_cannot_be_used(iris: Runner, controller: FakeController, text: str) -> None:
    path = iris.state_dir / "controller.json"
    path.write_text(text)
    done = iris(*DEMO, "job", "list")
    assert done.status == 5 and f"iris: {path}: " in done.err
    assert "no controller runs; start it: iris --cluster demo cluster start" in done.err


def test_a_file_that_was_lost(iris: Runner, controller: FakeController) -> None:
    (iris.state_dir / "controller.json").unlink()
    words = ["iris-controller", "--state-dir", str(iris.state_dir)]
    with subprocess.Popen([sys.executable, "-", *words], stdin=subprocess.PIPE) as process:
        try:
            done = iris(*DEMO, "job", "list")
            assert done.status == 5
            gone = f"{iris.state_dir}/controller.json is not there"
            assert f"runs as process {process.pid}, but {gone}" in done.err
            assert "iris --cluster demo cluster stop" in done.err
            (iris.state_dir / "controller.json").write_text("{}")
            assert f"process {process.pid}; remove {iris.state_dir}" in iris(*DEMO, "job", "list").err
        finally:
            process.kill()


def test_a_controller_that_hangs_up(iris: Runner, controller: FakeController) -> None:
    controller.write_file("127.0.0.1:1", "x")
    done = iris(*DEMO, "job", "list")
    assert done.status == 5 and "does not answer at 127.0.0.1:1" in done.err


@pytest.mark.parametrize("words", [["--help"], ["version"], ["job", "run", "--help"], [*DEMO, "job", "list"]])
def test_a_full_disk_is_one_line(iris: Runner, service: FakeService, words: list[str]) -> None:
    service.add_job("hold")
    with Path("/dev/full").open("wb") as full:
        done = iris(*words, stdout=full)
    assert done.status == 1
    assert done.err == "iris: cannot write standard output: No space left on device\n"


@pytest.mark.parametrize("words", [["--help"], [*DEMO, "job", "list"]])
def test_a_closed_stdout_is_no_defect(iris: Runner, service: FakeService, words: list[str]) -> None:
    service.add_job("hold")
    again = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    done = iris("-m", "iris_cli", *words, program=("-c", again))
    assert (done.status, done.out, done.err) == (0, b"", "")
