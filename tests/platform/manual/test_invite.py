"""Letting a controller in and out again: the file is as it was found, whatever it was."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from iris_platform.base import Refused
from iris_platform.manual.invite import OPTIONS, invite, is_invited, uninvite
from iris_platform.ssh import CommandResult
from iris_platform.ssh.memory import MemoryHost

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPEseEOD98A0B1DRgrkrl6mN"
OWN = "ssh-rsa AAAAB3 me@laptop"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def host(home: Path) -> MemoryHost:
    """A host whose `sh` is this machine's, with a home of its own."""

    def run(argv: tuple[str, ...], data: bytes) -> CommandResult:
        env = {"HOME": str(home), "PATH": os.environ["PATH"]}
        done = subprocess.run(argv, input=data, capture_output=True, env=env, timeout=20)
        return CommandResult(done.returncode, done.stdout, done.stderr)

    found = MemoryHost()
    found.programs[("sh",)] = run
    return found


def tree(home: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(home.rglob("*")):
        mode = path.lstat().st_mode
        found[str(path.relative_to(home))] = mode, path.read_bytes() if path.is_file() else None
    return found


def with_keys(text: str, mode: int = 0o600) -> Callable[[Path], None]:
    def make(home: Path) -> None:
        (home / ".ssh").mkdir(mode=0o700)
        (home / ".ssh/authorized_keys").write_text(text)
        (home / ".ssh/authorized_keys").chmod(mode)

    return make


def linked(home: Path) -> None:
    with_keys("")(home)
    (home / ".ssh/authorized_keys").rename(home / "elsewhere")
    (home / "elsewhere").write_text(f"{OWN}\n")
    (home / ".ssh/authorized_keys").symlink_to(home / "elsewhere")


BEFORE: dict[str, Callable[[Path], None]] = {
    "nothing": lambda home: None,
    "directory": lambda home: (home / ".ssh").mkdir(mode=0o755),
    "empty": with_keys(""),
    "one key": with_keys(f"{OWN}\n", 0o644),
    "no newline at the end": with_keys(OWN),
    "several": with_keys(f"# mine\n{OWN}\n\n{OWN}2\n"),
    "a link": linked,
}


@pytest.mark.parametrize("before", BEFORE)
def test_what_was_there_is_there_afterwards(before: str, host: MemoryHost, home: Path) -> None:
    BEFORE[before](home)
    old = tree(home)
    connection = host.connect()
    invite(connection, KEY, "abcdefghij")
    invite(connection, KEY, "abcdefghij")
    path = home / ".ssh/authorized_keys"
    (line,) = [line for line in path.read_text().splitlines() if KEY in line]
    assert line.startswith(f"{OPTIONS} {KEY} iris-abcdefghij-")
    assert is_invited(connection, "abcdefghij") and not is_invited(connection, "klmnopqrst")
    assert path.stat().st_mode & 0o777 == (0o644 if before == "one key" else path.stat().st_mode & 0o777)
    uninvite(connection, "abcdefghij")
    assert tree(home) == old and not is_invited(connection, "abcdefghij")
    uninvite(connection, "abcdefghij")
    assert tree(home) == old


def test_keys_that_came_since_stay(host: MemoryHost, home: Path) -> None:
    connection = host.connect()
    invite(connection, KEY, "abcdefghij")
    path = home / ".ssh/authorized_keys"
    path.write_text(path.read_text() + f"{OWN}\n")
    invite(connection, f"{KEY}B", "klmnopqrst")
    uninvite(connection, "abcdefghij")
    assert OWN in path.read_text() and "iris-klmnopqrst" in path.read_text()
    uninvite(connection, "klmnopqrst")
    assert path.read_text() == f"{OWN}\n"


def test_another_key_of_the_same_cluster_takes_the_place(host: MemoryHost, home: Path) -> None:
    connection = host.connect()
    invite(connection, KEY, "abcdefghij")
    invite(connection, f"{KEY}B", "abcdefghij")
    (line,) = (home / ".ssh/authorized_keys").read_text().splitlines()
    assert line.startswith(f"{OPTIONS} {KEY}B iris-abcdefghij-")
    uninvite(connection, "abcdefghij")
    assert tree(home) == {}


def test_a_line_that_an_earlier_release_left_behind_goes_too(host: MemoryHost, home: Path) -> None:
    with_keys(OWN)(home)
    old = tree(home)
    connection = host.connect()
    invite(connection, KEY, "abcdefghij")
    path = home / ".ssh/authorized_keys"
    path.write_text(path.read_text() + f"{OPTIONS} {KEY}B iris-abcdefghij-x\n")
    for _ in range(2):
        invite(connection, f"{KEY}B", "abcdefghij")
        own, line = path.read_text().splitlines()
        assert own == OWN and line.startswith(f"{OPTIONS} {KEY}B iris-abcdefghij-")
    assert path.stat().st_mode & 0o777 == 0o600
    uninvite(connection, "abcdefghij")
    assert tree(home) == old


def test_a_host_that_cannot_write_says_so(host: MemoryHost, home: Path) -> None:
    (home / ".ssh").write_text("a file, not a directory")
    with pytest.raises(Refused, match=r"root@memory:22: ~/\.ssh/authorized_keys: .*(File exists|Not a dir)"):
        invite(host.connect(), KEY, "abcdefghij")
    assert (home / ".ssh").read_text() == "a file, not a directory"


def test_a_key_is_data(host: MemoryHost, home: Path) -> None:
    invite(host.connect(), "ssh-ed25519 $(touch pwned)';touch pwned;'", "abcdefghij")
    assert not list(home.rglob("pwned")) and not Path("pwned").exists()
