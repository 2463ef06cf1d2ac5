from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iris_platform import processes
from iris_platform.ssh import KnownHosts, SshConnection, SshSettings, SshTarget, connect
from tests.platform.ssh.sshd import SSHD, Sshd

MakeSshd = Callable[..., Sshd]
Dial = Callable[..., SshConnection]


@pytest.fixture(autouse=True)
def no_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys, and no agent: nothing of whoever runs the tests."""
    home = tmp_path / "own-home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Every thread and every descriptor of a test is gone soon after it."""
    threads, descriptors = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    yield

    def left() -> tuple[list[threading.Thread], int]:
        more = [thread for thread in threading.enumerate() if thread not in threads]
        return more, len(os.listdir("/proc/self/fd")) - descriptors

    def is_clean() -> bool:
        more, descriptors = left()
        return not more and descriptors <= 0

    assert processes.wait_until(is_clean, 30), left()


@pytest.fixture
def make_sshd(tmp_path: Path, nothing_leaks: None) -> Iterator[MakeSshd]:
    """Servers, named; `extra` goes into sshd_config."""
    if SSHD is None:
        pytest.skip("no OpenSSH server on this machine (Debian: openssh-server)")
    pytest.importorskip("paramiko", reason="paramiko is not installed: iris-platform[ssh]")
    made: list[Sshd] = []

    def make(name: str = "server", extra: str = "") -> Sshd:
        made.append(Sshd(tmp_path / name, extra))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def sshd(make_sshd: MakeSshd) -> Sshd:
    return make_sshd()


@pytest.fixture
def known_hosts(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "cluster" / "known_hosts")


@pytest.fixture
def dial(known_hosts: KnownHosts, nothing_leaks: None) -> Iterator[Dial]:
    """Connections that are closed when the test is over."""
    made: list[SshConnection] = []

    def make(target: SshTarget, settings: SshSettings | None = None) -> SshConnection:
        made.append(connect(target, settings or SshSettings(connect_timeout_s=20), known_hosts))
        return made[-1]

    yield make
    for connection in made:
        connection.close()
