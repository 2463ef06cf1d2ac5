"""A look at a host whose program goes while it is asked."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from iris_platform.base import Unreachable
from iris_platform.ssh import CommandResult, SshConnection
from iris_platform.worker_vm import Found, WorkerVm

FAILS = """\
import json, os, sys
{first}
print(json.dumps({{"status": "failed", "step": "status", "reason": "No such file: " + sys.argv[0]}}))
sys.exit(4)
"""


class HereConnection:
    """Runs on this machine what is meant for a host."""

    def run(self, argv: Sequence[str], *, timeout_s: float) -> CommandResult:
        done = subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False)
        return CommandResult(done.returncode, done.stdout, done.stderr)


def look(root: Path, first: str) -> Found:
    """At a host whose program does this first, and then fails."""
    (root / "host.pyz").write_text(FAILS.format(first=first))
    return WorkerVm(cast(SshConnection, HereConnection()), "h1", str(root)).look()


def test_a_program_that_is_removed_while_it_is_read_has_left_nothing(tmp_path: Path) -> None:
    found = look(tmp_path, "os.unlink(sys.argv[0])")
    assert found == Found(found.boot_id) and found.boot_id


def test_a_program_that_fails_says_nothing_of_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="h1: status: No such file"):
        look(tmp_path, "")
