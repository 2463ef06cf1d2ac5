"""Streams that are closed, full, or that nobody reads, for every command that prints."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.fake_service import FakeService
from tests.cli.runner import DEADLINE_S, Runner

PRINTING = {
    "help": ["--help"],
    "usage": [],
    "noun": ["job"],
    "verb": ["job", "run", "--help"],
    "version": ["version"],
    "status": ["cluster", "status"],
    "jobs": ["job", "list", "-o", "yaml"],
    "job": ["job", "show", "job-1"],
    "logs": ["job", "logs", "job-1"],
    "run": ["job", "run", "--detach", "--", "hold"],
    "echo": ["job", "run", "--", "echo", "x"],
    "groups": ["group", "list"],
    "slices": ["slice", "list", "-o", "json"],
    "workers": ["worker", "list", "-o", "wide"],
    "events": ["events", "-o", "json"],
    "dry run": ["cluster", "stop", "--dry-run"],
    "wrong": ["job", "lsit"],
}


def run(
    iris: Runner, words: list[str], shell: str, pass_fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """The command with its streams as the shell is told."""
    if words and words[0] in ("job", "group", "slice", "worker", "events", "cluster"):
        words = ["--cluster", "demo", *words]
    return subprocess.run(
        ["bash", "-c", f'"$@" {shell}', "bash", str(iris.python), "-m", "iris_cli", *words],
        cwd=iris.home,
        env=iris.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
        pass_fds=pass_fds,
    )


@pytest.fixture
def served(service: FakeService) -> FakeService:
    job = service.add_job("hold")
    job.run()
    job.write(b"line\n")
    job.end()
    return service


@pytest.mark.parametrize("words", PRINTING.values(), ids=PRINTING)
def test_no_stream_brings_a_command_down(iris: Runner, served: FakeService, words: list[str]) -> None:
    usual = run(iris, words, "")
    # Nobody reads any more: ended quietly, or seen through; never a trace.
    read, write = os.pipe()
    os.close(read)
    try:
        for shell in (f">&{write}", f"2>&{write}", f">&{write} 2>&1"):
            done = run(iris, words, shell, (write,))
            assert done.returncode in (141, usual.returncode), (shell, done)
            assert b"Traceback" not in done.stderr and b"BrokenPipe" not in done.stderr
    finally:
        os.close(write)
    for shell in ("<&-", "<&- >&-", "<&- >&- 2>&-"):
        done = run(iris, words, shell)
        assert done.returncode == usual.returncode, (shell, done)
        assert b"Traceback" not in done.stderr
    full = run(iris, words, ">/dev/full")
    if usual.stdout:
        # A job that was submitted goes on.
        submitted = words[:2] == ["job", "run"] and "--help" not in words
        assert full.returncode == (118 if submitted else 1), full
        assert b"iris: cannot write standard output: No space left on device" in full.stderr
    assert b"Traceback" not in full.stderr
    assert run(iris, words, "2>/dev/full").returncode in (1, usual.returncode)


FOLLOWING = {
    "run": ["job", "run", "--", "echo", "hi"],
    "detach": ["job", "run", "--detach", "--", "hold"],
    "run for programs": ["job", "run", "-o", "json", "--", "echo"],
    "wait": ["job", "wait", "-o", "json", "job-1"],
    "logs": ["job", "logs", "-f", "job-1"],
}


@pytest.mark.parametrize("words", FOLLOWING.values(), ids=FOLLOWING)
def test_a_full_disk_stops_no_job(iris: Runner, served: FakeService, words: list[str]) -> None:
    job_id = "job-2" if "run" in words else "job-1"
    done = run(iris, words, ">/dev/full")
    assert done.returncode == 118, done
    assert done.stderr.decode().splitlines()[-2:] == [
        f"iris: cannot write standard output: No space left on device; job {job_id} goes on without it",
        f"      come back: iris --cluster demo job logs -f {job_id}",
    ]


@pytest.mark.parametrize("noun", ["slice", "worker", "job"])
def test_a_note_that_cannot_be_written_fails_nothing(iris: Runner, service: FakeService, noun: str) -> None:
    service.slices, service.workers = [], []
    assert b"no " in run(iris, [noun, "list"], "").stderr
    assert run(iris, [noun, "list"], "2>/dev/full").returncode == 0


def test_an_error_that_cannot_be_written_has_its_status(iris: Runner, service: FakeService) -> None:
    assert run(iris, ["job", "show", "job-9"], "2>/dev/full").returncode == 3


@pytest.mark.parametrize("name", ["jobs", "events"])
def test_the_first_line_is_enough(iris: Runner, served: FakeService, name: str) -> None:
    for _ in range(100):
        served.add_job("hold", "x" * 1000)
    done = run(iris, PRINTING[name], "| head -n 1 | wc -l; exit ${PIPESTATUS[0]}")
    assert (done.stdout.strip(), done.stderr) == (b"1", b"")
    assert done.returncode in (0, 141)


def test_what_is_asked_without_anybody_there(iris: Runner, served: FakeService, tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("name: demo\n")
    done = run(iris, ["cluster", "stop"], "<&-")
    assert b"Traceback" not in done.stderr and done.returncode != 0
