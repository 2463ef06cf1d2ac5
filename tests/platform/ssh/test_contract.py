"""What a connection promises, asked of the real one and of the one in memory."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from iris_platform.base import Refused, Unreachable
from iris_platform.ssh import CommandResult, RemoteFileMissing, SshConnection
from iris_platform.ssh.memory import MemoryHost
from tests.platform.ssh.conftest import Dial, MakeSshd
from tests.platform.ssh.sshd import Sshd

CAT_AND_FAIL = ("sh", "-c", "cat; echo bad >&2; exit 3")
FOR_EVER = ("sleep", "3600")


@dataclass
class Bench:
    """A host, a connection to it, and what a test may do to it."""

    ssh: SshConnection
    folder: str
    lose: Callable[[], object]
    mode_of: Callable[[str], int]


def real(sshd: Sshd, dial: Dial) -> Bench:
    folder = sshd.folder / "there"
    folder.mkdir()
    return Bench(
        dial(sshd.target), str(folder), sshd.kill_connections, lambda path: Path(path).stat().st_mode & 0o777
    )


def in_memory() -> Bench:
    host = MemoryHost(directories={"/", "/there"})
    host.programs[("printf",)] = lambda argv, data: CommandResult(
        0, "".join(f"{w}\0" for w in argv[2:]).encode(), b""
    )
    host.programs[CAT_AND_FAIL] = lambda argv, data: CommandResult(3, data, b"bad\n")
    host.programs[FOR_EVER] = lambda argv, data: None

    def lose() -> None:
        host.is_down = True

    return Bench(host.connect(), "/there", lose, lambda path: host.files[path].mode)


@pytest.fixture(params=["real", "memory"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return in_memory()
    make: MakeSshd = request.getfixturevalue("make_sshd")
    dial: Dial = request.getfixturevalue("dial")
    return real(make(), dial)


def test_commands(bench: Bench) -> None:
    ssh = bench.ssh
    assert ssh.run(["printf", r"%s\0", "a b", "$(c)"], timeout_s=20).out == b"a b\0$(c)\0"
    assert ssh.run(CAT_AND_FAIL, timeout_s=20, input=b"data") == CommandResult(3, b"data", b"bad\n")
    cut = ssh.run(CAT_AND_FAIL, timeout_s=20, input=b"0123456789", max_output=5)
    assert cut == CommandResult(3, b"01234", b"bad\n", True)
    unknown = ssh.run(["no-such-program"], timeout_s=20)
    assert unknown.status == 127 and b"not found" in unknown.err
    with pytest.raises(ValueError, match="argv"):
        ssh.run([], timeout_s=20)
    with pytest.raises(Unreachable, match="did not end within 1 s"):
        ssh.run(FOR_EVER, timeout_s=1)


def test_streams(bench: Bench) -> None:
    with bench.ssh.stream(CAT_AND_FAIL, timeout_s=20, input=b"data") as command:
        pieces = list(command)
        assert (command.status, command.truncated) == (3, False)
    assert b"".join(piece.data for piece in pieces if not piece.is_error) == b"data"
    assert b"".join(piece.data for piece in pieces if piece.is_error) == b"bad\n"


def test_files(bench: Bench, tmp_path: Path) -> None:
    ssh, path = bench.ssh, f"{bench.folder}/file"
    with pytest.raises(RemoteFileMissing):
        ssh.get(path, 10)
    ssh.put(b"one", path)
    assert (ssh.get(path, 10), bench.mode_of(path)) == (b"one", 0o600)
    (tmp_path / "source").write_bytes(b"two!")
    ssh.put(tmp_path / "source", path, 0o755)
    assert (ssh.get(path, 4), bench.mode_of(path)) == (b"two!", 0o755)
    for refused in (
        lambda: ssh.get(path, 3),
        lambda: ssh.get(bench.folder, 10),
        lambda: ssh.put(b"x", bench.folder),
        lambda: ssh.put(b"x", f"{bench.folder}/nowhere/file"),
    ):
        with pytest.raises(Refused):
            refused()


def test_forwards(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with bench.ssh.forward_local("127.0.0.1", port) as address:
            host, _, number = address.partition(":")
            with socket.create_connection((host, int(number)), 20), listener.accept()[0]:
                pass
        with bench.ssh.forward_remote(0, ("127.0.0.1", port)) as bound:
            assert bound > 0
            with pytest.raises(Refused, match=str(bound)):
                bench.ssh.forward_remote(bound, ("127.0.0.1", port)).__enter__()


@pytest.mark.parametrize("end", ["lose", "close"])
def test_after_its_end_nothing_is_known(bench: Bench, end: str) -> None:
    assert bench.ssh.is_alive
    (bench.lose if end == "lose" else bench.ssh.close)()
    for call in (
        lambda: bench.ssh.run(CAT_AND_FAIL, timeout_s=20),
        lambda: bench.ssh.put(b"x", f"{bench.folder}/file"),
        lambda: bench.ssh.get(f"{bench.folder}/file", 10),
        lambda: bench.ssh.stream(CAT_AND_FAIL, timeout_s=20).__enter__(),
        lambda: bench.ssh.forward_remote(0, ("127.0.0.1", 1)).__enter__(),
    ):
        with pytest.raises(Unreachable):
            call()
    assert not bench.ssh.is_alive
    bench.ssh.close()


def test_a_host_that_is_down_takes_no_connection() -> None:
    with pytest.raises(Unreachable, match="down"):
        MemoryHost(is_down=True).connect()
