"""Nothing gets out of the place where hosts are made, and nothing outlives it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Lab
from tests.harness.hosts.cgroups import PREFIX, memory_v1, unified
from tests.harness.hosts.needs import OUTSIDE, lacking

ROOT = Path(__file__).resolve().parents[2]
SEALED = [sys.executable, "-m", "tests.harness.hosts.sealed"]
# Two hosts with work on them, one of them frozen, and then nothing more happens.
BUSY = """
import subprocess, sys
from tests.harness.hosts import Lab
lab = Lab().__enter__()
a, b = lab.hosts(2, memory=64 << 20)
subprocess.run([*lab.ssh_command(a), f"setsid sleep {sys.argv[1]} >/dev/null 2>&1 &"], check=True)
b.freeze()
print("busy", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def sealed() -> None:
    if why := lacking():
        pytest.skip(why)


def test_no_packet_gets_out(lab: Lab) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with (
            socket.socket(socket.AF_INET, kind) as probe,
            pytest.raises(OSError, match="unreachable") as caught,
        ):
            probe.connect(OUTSIDE)
        assert caught.value.errno == errno.ENETUNREACH
    host = lab.host("a")
    script = "import socket, sys; socket.create_connection((sys.argv[1], 9), 5)"
    done = host.run(["python3", "-c", script, OUTSIDE[0]])
    assert done.returncode == 1 and b"Network is unreachable" in done.stderr


def test_a_host_cannot_go_through_the_lab(lab: Lab) -> None:
    host = lab.host("a")
    host.output("ip", "route", "add", "default", "via", lab.address)
    script = "import socket, sys; socket.create_connection((sys.argv[1], 9), 1)"
    assert host.run(["python3", "-c", script, OUTSIDE[0]]).returncode == 1
    with pytest.raises(OSError, match="unreachable"), socket.create_connection(OUTSIDE, 1):
        pass


def test_the_status_and_the_words_of_the_command_are_passed_on() -> None:
    words = [*SEALED, sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(7)", "$(id) 'a b'"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (7, "$(id) 'a b'\n")


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_nothing_is_left_however_it_ends(how: signal.Signals | None) -> None:
    mark = f"{os.getpid()}{how or 0:02d}00"
    words = [*SEALED, sys.executable, "-c", BUSY, mark]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdin
            assert process.stdout.readline() == b"busy\n"
            run = f"{PREFIX}{process.pid}"
            # unshare, its first process, the command, the sweeper, and the work.
            wait_until(lambda: len(_processes(mark)) == 5)
            assert _cgroups(run)
            if how:
                process.send_signal(how)
            else:
                process.stdin.close()
            process.wait(30)
        finally:
            process.kill()
    wait_until(lambda: not _processes(mark))
    wait_until(lambda: not _cgroups(run))


def _processes(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(entry.name)
    return found


def _cgroups(run: str) -> list[Path]:
    return [root / run for root in (unified(), memory_v1()) if root and (root / run).exists()]
