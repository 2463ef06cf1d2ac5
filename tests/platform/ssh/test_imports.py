"""Whoever has no use for SSH does not pay for it, and whoever lacks it is told."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
import sys
import iris_platform, iris_platform.ssh, iris_platform.ssh.memory, iris_platform.ssh.known_hosts
from iris_platform.ssh import *
print(sorted(name for name in ("paramiko", "cryptography", "google.protobuf", "grpc") if name in sys.modules))
"""
WITHOUT = """
import sys
sys.modules["paramiko"] = None
from pathlib import Path
from iris_platform.ssh import *
for call in (
    lambda: connect(SshTarget("a"), SshSettings(), KnownHosts(Path("x"))),
    lambda: load_user_config("~/.ssh/config"),
    jump_hosts,
):
    try:
        call()
    except SshUnavailable as error:
        print(error)
"""


def run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


def test_nothing_heavy_is_imported() -> None:
    assert run(IMPORTS) == ["[]"]


def test_without_paramiko_the_extra_is_named() -> None:
    assert run(WITHOUT) == 3 * [
        "SSH needs paramiko, which is not installed here: pip install 'iris-platform[ssh]'"
    ]
