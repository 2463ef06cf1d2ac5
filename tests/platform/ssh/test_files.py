"""Files over a real connection: whole or not at all, and with the host's own reasons."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from iris_platform import processes
from iris_platform.base import Refused, Unreachable
from iris_platform.ssh import RemoteFileMissing, SshConnection
from tests.platform.ssh.conftest import Dial
from tests.platform.ssh.sshd import Sshd

BIG = os.urandom(10 << 20)


@pytest.fixture
def ssh(sshd: Sshd, dial: Dial) -> SshConnection:
    return dial(sshd.target)


@pytest.fixture
def there(sshd: Sshd) -> Path:
    """A directory at the other end."""
    folder = sshd.folder / "there"
    folder.mkdir()
    return folder


def test_ten_megabytes_there_and_back(ssh: SshConnection, there: Path, tmp_path: Path) -> None:
    ssh.put(BIG, f"{there}/bytes", 0o640, timeout_s=60)
    (tmp_path / "source").write_bytes(BIG)
    ssh.put(tmp_path / "source", f"{there}/path", timeout_s=60)
    assert (there / "bytes").read_bytes() == (there / "path").read_bytes() == BIG
    assert stat.S_IMODE((there / "bytes").stat().st_mode) == 0o640
    assert stat.S_IMODE((there / "path").stat().st_mode) == 0o600
    assert ssh.get(f"{there}/bytes", len(BIG), timeout_s=60) == BIG
    assert sorted(os.listdir(there)) == ["bytes", "path"]


@pytest.mark.parametrize("name", ["-n", "it's $(touch pwned)", "new\nline", "ü", " "])
@pytest.mark.parametrize("data", [b"", b"\0\n$HOME"])
def test_odd_names_and_short_contents(ssh: SshConnection, there: Path, name: str, data: bytes) -> None:
    ssh.put(b"old", f"{there}/{name}")
    ssh.put(data, f"{there}/{name}")
    assert os.listdir(there) == [name]
    assert ssh.get(f"{there}/{name}", 100) == data


@pytest.mark.parametrize("path", ["", "file", "-file", "./file", "~/file", "/folder/"])
def test_a_path_that_is_not_a_files(ssh: SshConnection, path: str) -> None:
    with pytest.raises(ValueError, match="not the absolute path of a file"):
        ssh.put(b"x", path)
    with pytest.raises(ValueError, match="not the absolute path of a file"):
        ssh.get(path, 1)


def test_what_cannot_be_written(ssh: SshConnection, there: Path) -> None:
    (there / "folder").mkdir()
    with pytest.raises(Refused, match=r"cannot write .*: no such directory: .*/nowhere$"):
        ssh.put(b"x", f"{there}/nowhere/file")
    with pytest.raises(Refused, match="is a directory"):
        ssh.put(b"x", f"{there}/folder")
    with pytest.raises(FileNotFoundError):
        ssh.put(there / "no such source", f"{there}/file")
    assert os.listdir(there) == ["folder"] and os.listdir(there / "folder") == []


def test_a_full_disk_says_so(ssh: SshConnection, there: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", there], capture_output=True, timeout=20
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        (there / "file").write_bytes(b"old")
        with pytest.raises(Refused, match="No space left on device"):
            ssh.put(b"x" * 1_000_000, f"{there}/file")
        assert (os.listdir(there), (there / "file").read_bytes()) == (["file"], b"old")
    finally:
        subprocess.run(["umount", there], check=True, timeout=20)


def test_what_cannot_be_read(ssh: SshConnection, there: Path) -> None:
    (there / "file").write_bytes(b"12345")
    assert ssh.get(f"{there}/file", 5) == b"12345"
    with pytest.raises(Refused, match="is larger than 4 bytes"):
        ssh.get(f"{there}/file", 4)
    with pytest.raises(RemoteFileMissing, match="nothing does not exist"):
        ssh.get(f"{there}/nothing", 4)
    with pytest.raises(Refused, match=r"cannot read .*is a directory"):
        ssh.get(str(there), 4)


def test_a_shell_that_talks_at_its_start(ssh: SshConnection, sshd: Sshd, there: Path) -> None:
    (sshd.folder / "home" / ".bashrc").write_text("echo Welcome; echo to the machine >&2\n")
    ssh.put(b"data", f"{there}/file")
    assert ssh.get(f"{there}/file", 4) == b"data"


@pytest.mark.parametrize("victim", ["connection", "writer"])
def test_killed_midway_there_is_no_half_file(
    ssh: SshConnection, sshd: Sshd, there: Path, victim: str
) -> None:
    (there / "file").write_bytes(b"old")
    problems: list[Exception] = []

    def put() -> None:
        try:
            # More than fits into any buffer on the way.
            ssh.put(BIG * 40, f"{there}/file", timeout_s=90)
        except (Unreachable, Refused) as error:
            problems.append(error)

    def begun() -> list[Path]:
        return [path for path in there.glob(".file.*.tmp") if path.stat().st_size > 1_000_000]

    thread = threading.Thread(target=put)
    thread.start()
    assert processes.wait_until(lambda: bool(begun()), 60)
    if victim == "connection":
        sshd.kill_connections()
    else:
        for pid, words in processes.command_lines().items():
            if words[:1] == ["cat"] and pid in sshd.connections():
                os.kill(pid, signal.SIGKILL)
    thread.join(90)
    assert problems
    assert (there / "file").read_bytes() == b"old"
    if victim == "writer":
        assert os.listdir(there) == ["file"]


def test_a_client_that_vanishes_leaves_no_half_file(ssh: SshConnection, there: Path) -> None:
    (there / "file").write_bytes(b"old")
    # Time enough to begin on a busy machine, and not to end on a quick one.
    with pytest.raises(Unreachable, match="did not end within"):
        ssh.put(BIG * 40, f"{there}/file", timeout_s=2)
    # What was written reads the end of its input, finds too little and clears up.
    assert processes.wait_until(lambda: os.listdir(there) == ["file"], 30)
    assert (there / "file").read_bytes() == b"old"
