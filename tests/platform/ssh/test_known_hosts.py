"""The cluster's known-hosts file, without a network."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from iris_platform.base import Refused
from iris_platform.ssh import HostKeyChanged, KnownHosts
from iris_platform.ssh.known_hosts import fingerprint
from tests.platform.ssh.sshd import make_key


def blob(seed: str, kind: str = "ssh-ed25519") -> bytes:
    return len(kind).to_bytes(4, "big") + kind.encode() + seed.encode()


@pytest.fixture
def hosts(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "cluster" / "known_hosts")


def test_first_use_pins_and_later_use_compares(hosts: KnownHosts) -> None:
    assert hosts.check("Host.Example", 22, "ssh-ed25519", blob("a"))
    assert not hosts.check("host.example", 22, "ssh-ed25519", blob("a"))
    assert hosts.check("host.example", 2222, "ssh-ed25519", blob("b"))
    assert [line.split()[0] for line in hosts.path.read_text().splitlines()] == [
        "host.example",
        "[host.example]:2222",
    ]
    for changed in (blob("b"), blob("a", "ssh-rsa")):
        with pytest.raises(HostKeyChanged, match=rf"{hosts.path}:1 has .*remove line 1 of {hosts.path}"):
            hosts.check("host.example", 22, "ssh-rsa", changed)
    assert (hosts.path.stat().st_mode & 0o777, hosts.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_look_that_pins_nothing(hosts: KnownHosts) -> None:
    look = KnownHosts(hosts.path, pins=False)
    assert not look.check("h", 22, "ssh-ed25519", blob("a"))
    assert not hosts.path.parent.exists()
    assert hosts.check("h", 22, "ssh-ed25519", blob("a"))
    with pytest.raises(HostKeyChanged):
        look.check("h", 22, "ssh-ed25519", blob("b"))


def test_what_operators_write_into_it(hosts: KnownHosts) -> None:
    hosts.path.parent.mkdir()
    key = base64.b64encode(blob("a")).decode()
    hosts.path.write_text(
        f"# ours\n\na.example,10.0.0.1 ssh-ed25519 {key} a comment\nb.example ssh-ed25519 {key}"
    )
    for name in ("a.example", "10.0.0.1", "b.example"):
        assert not hosts.check(name, 22, "ssh-ed25519", blob("a"))
    # The last line had no end.
    assert hosts.check("c.example", 22, "ssh-ed25519", blob("a"))
    assert len(hosts.path.read_text().splitlines()) == 5


def test_names_that_were_hashed(hosts: KnownHosts, tmp_path: Path) -> None:
    kind, key = Path(f"{make_key(tmp_path / 'key')}.pub").read_text().split()[:2]
    hosts.check("a.example", 2222, kind, base64.b64decode(key))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", hosts.path], check=True, timeout=30, capture_output=True)
    assert "a.example" not in hosts.path.read_text()
    assert not hosts.check("a.example", 2222, kind, base64.b64decode(key))
    with pytest.raises(HostKeyChanged):
        hosts.check("a.example", 2222, "ssh-ed25519", blob("b"))


def test_fingerprints_are_those_of_openssh(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", key], check=True, timeout=30, capture_output=True, text=True
    ).stdout
    assert fingerprint(base64.b64decode(Path(f"{key}.pub").read_text().split()[1])) in shown.split()


@pytest.mark.parametrize(
    "line",
    [
        "a.example",
        "a.example ssh-ed25519",
        "a.example ssh-ed25519 ???",
        "a.example ssh-rsa " + base64.b64encode(blob("a")).decode(),
        "@revoked a.example ssh-ed25519 " + base64.b64encode(blob("a")).decode(),
        "|1|bad ssh-ed25519 " + base64.b64encode(blob("a")).decode(),
        "|1|bad|bad ssh-ed25519 " + base64.b64encode(blob("a")).decode(),
        "\xff",
    ],
)
def test_a_damaged_file_opens_no_door(hosts: KnownHosts, line: str) -> None:
    hosts.path.parent.mkdir()
    hosts.path.write_bytes(b"# fine\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(Refused, match="known_hosts"):
        hosts.check("other.example", 22, "ssh-ed25519", blob("a"))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    hosts = KnownHosts(tmp_path / "file" / "known_hosts")
    with pytest.raises(Refused, match="known_hosts: "):
        hosts.check("a.example", 22, "ssh-ed25519", blob("a"))


PIN_MANY = """
import pathlib, sys
from iris_platform.ssh import KnownHosts
hosts = KnownHosts(pathlib.Path(sys.argv[1]))
blob = b"\\0\\0\\0\\x0bssh-ed25519a"
print(sum(hosts.check(f"host{number}", 22, "ssh-ed25519", blob) for number in range(20)))
"""


def test_processes_at_once_lose_no_line(hosts: KnownHosts) -> None:
    command = [sys.executable, "-c", PIN_MANY, str(hosts.path)]
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(4)
        ]
        pinned = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(pinned) == 20
    names = [line.split()[0] for line in hosts.path.read_text().splitlines()]
    assert sorted(names) == sorted(f"host{number}" for number in range(20))
    assert not [name for name in os.listdir(hosts.path.parent) if "tmp" in name]
