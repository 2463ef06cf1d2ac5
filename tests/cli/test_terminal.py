"""What is different where somebody sits in front of it."""

from __future__ import annotations

from tests.cli.fake_service import FakeService
from tests.cli.runner import Runner
from tests.cli.terminal import Terminal

DEMO = ("--cluster", "demo")


def test_colours_are_for_terminals(iris: Runner, service: FakeService) -> None:
    job = service.add_job("echo")
    job.run()
    job.end()
    with Terminal(iris, *DEMO, "job", "list") as terminal:
        assert terminal.finish() == 0
    assert "\x1b[32mSUCCEEDED\x1b[0m" in terminal.shown
    with Terminal(iris, *DEMO, "job", "list", NO_COLOR="1") as terminal:
        assert terminal.finish() == 0
    assert "SUCCEEDED" in terminal.shown and "\x1b" not in terminal.shown
    assert b"\x1b" not in iris(*DEMO, "job", "list").out


def test_a_note_does_not_hang_on_to_an_unfinished_line(iris: Runner, service: FakeService) -> None:
    with Terminal(iris, *DEMO, "job", "run", "--", "hold") as terminal:
        job = service.wait_for_job()
        job.run()
        job.write(b"50%")
        terminal.wait_for("50%")
        job.end()
        assert terminal.finish() == 0
    # Any line of ours may be the next one.
    after = terminal.shown.partition("50%")[2]
    assert after.startswith("\n") and "\niris: job job-1 SUCCEEDED" in after


def test_an_error_does_not_hang_on_to_an_unfinished_line(iris: Runner, service: FakeService) -> None:
    service.streams_end = "end"
    job = service.add_job("hold")
    job.run()
    job.write(b"50%")
    with Terminal(iris, *DEMO, "job", "logs", "-f", "job-1", IRIS_RECONNECT_TIMEOUT="100ms") as terminal:
        assert terminal.finish() == 8
    assert "50%\niris: " in terminal.shown
