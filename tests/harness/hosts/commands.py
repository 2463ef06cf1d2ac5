"""Runs the programs that the bench is made of: argv lists, with a deadline, and words when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

COMMAND_S = 10.0


def call(argv: Sequence[str], stdin: str = "", deadline_s: float = COMMAND_S) -> str:
    """Runs a program of this machine; its output. AssertionError with its complaint if it fails."""
    done = run(argv, stdin.encode(), deadline_s)
    said = (done.stderr or done.stdout).decode(errors="replace").strip()
    assert done.returncode == 0, f"{' '.join(argv)}: {said}"
    return done.stdout.decode()


def run(argv: Sequence[str], stdin: bytes | None, deadline_s: float) -> subprocess.CompletedProcess[bytes]:
    """Runs a program to its end.

    Raises subprocess.TimeoutExpired after the deadline, when the program and its
    children, in whatever process namespace, are dead.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # nsenter does not take its child along when it is killed; a group does.
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin, timeout=deadline_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(list(argv), process.returncode, out, err)
