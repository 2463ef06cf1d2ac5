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
        assert full.returncode == 1, full
        assert full.stderr.decode().splitlines()[-1] == "iris: No space left on device"
    assert b"Traceback" not in full.stderr
    assert run(iris, words, "2>/dev/full").returncode in (1, usual.returncode)


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
