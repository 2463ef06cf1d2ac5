"""Hosts are made, are apart from each other and from this machine, and are what they are said to be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.hosts import Lab
from tests.harness.hosts.bases import BARE
from tests.hosts.talk import ANSWER_S, ssh


def test_eight_hosts_answer_ssh_and_reach_each_other(lab: Lab) -> None:
    hosts = lab.hosts(8)
    assert len({host.address for host in hosts}) == len({host.host_key for host in hosts}) == 8
    for host, neighbour in zip(hosts, hosts[1:] + hosts[:1], strict=True):
        probe = f"import socket; print(socket.create_connection(('{neighbour.address}', 22), 5).recv(4))"
        done = ssh(lab, host, f'hostname; python3 -c "{probe}"')
        assert done.stdout == f"{host.name}\nb'SSH-'\n", done.stderr


def test_sixty_four_hosts_at_once(lab: Lab) -> None:
    hosts = lab.hosts(64)
    assert ssh(lab, hosts[-1], "hostname").stdout == "h63\n"
    with pytest.raises(AssertionError, match="at most 64"):
        lab.host("one more")


def test_what_a_host_writes_is_its_own(lab: Lab) -> None:
    a, b = lab.hosts(2)
    assert ssh(lab, a, "echo mine | tee /etc/mine /tmp/mine /run/mine /dev/shm/mine").returncode == 0
    for path in ("/etc/mine", "/tmp/mine", "/run/mine", "/dev/shm/mine"):
        assert a.read(path) == b"mine\n"
        assert not Path(path).exists()
        with pytest.raises(FileNotFoundError):
            b.read(path)


def test_a_host_sees_its_own_processes_only(lab: Lab) -> None:
    host = lab.host("a")
    assert host.output("ps", "-o", "comm=", "-p", "1").strip().startswith("init")
    assert str(os.getpid()) not in host.output("ps", "-e", "-o", "args=")
    assert host.output("hostname") == "a\n" != subprocess.check_output(["hostname"], text=True)


def test_nothing_of_the_test_s_environment_or_home_is_the_host_s(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_LEAK", "leaked")
    host = lab.host("a")
    first = host.output("cat", "/proc/1/environ")
    assert first.startswith("PATH=") and "IRIS" not in first
    assert "IRIS" not in host.output("env") and "IRIS" not in ssh(lab, host, "env").stdout
    assert set(host.output("ls", "-A", "/root").split()) <= {".ssh", ".pyenv"}


def test_a_command_gets_its_arguments_input_status_and_deadline(lab: Lab) -> None:
    host = lab.host("a")
    done = host.run(["sh", "-c", 'cat; echo "$1" >&2; exit 7', "x", "$(id); 'a b'"], b"in")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in", b"$(id); 'a b'\n")
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["sleep", "1000"], timeout=0.5)
    assert not [line for line in host.processes().values() if "sleep" in line]


def test_files_are_copied_over_ssh(lab: Lab, tmp_path: Path) -> None:
    host = lab.host("a")
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(3 << 20))
    *words, _, port, where = lab.ssh_command(host)
    copy = ["scp", *words[1:], "-P", port, str(sent), f"{where}:/opt/came"]
    subprocess.run(copy, check=True, timeout=ANSWER_S)
    assert host.read("/opt/came") == sent.read_bytes()


def test_a_user_logs_in_without_rights(lab: Lab) -> None:
    host = lab.host("a")
    assert "Permission denied" in ssh(lab, host, "true", user="ada").stderr
    host.add_user("ada")
    assert ssh(lab, host, "whoami; echo ~", user="ada").stdout == "ada\n/home/ada\n"
    assert ssh(lab, host, "touch /etc/x", user="ada").returncode == 1


def test_memory_is_limited(lab: Lab) -> None:
    host = lab.host("a", memory=128 << 20)
    taking = "python3 -c 'print(len(bytearray({} << 20)))'"
    assert ssh(lab, host, taking.format(32)).stdout == f"{32 << 20}\n"
    assert ssh(lab, host, taking.format(400)).returncode != 0
    assert host.run(["sh", "-c", taking.format(400)]).returncode != 0


def test_two_labs_do_not_meet(lab: Lab) -> None:
    host = lab.host("a")
    with Lab() as other:
        twin = other.host("a")
        assert twin.address != host.address
        assert ssh(other, twin, "hostname").stdout == "a\n"
    assert ssh(lab, host, "hostname").stdout == "a\n"


@pytest.mark.parametrize("base", BARE)
def test_a_bare_host_has_python_and_nothing_to_install_with(lab: Lab, base: str) -> None:
    host = lab.host("a", base=base)
    version = ssh(lab, host, "python3 -c 'import sys; print(sys.version_info[:2])'").stdout
    assert version == f"({BARE[base].replace('.', ', ')})\n"
    for absent in ("pip", "ensurepip"):
        assert host.run(["python3", "-c", f"import {absent}"]).returncode == 1
    for absent in ("pip", "gcc", "curl", "wget", "git", "docker"):
        assert host.run(["sh", "-c", f"command -v {absent}"]).returncode != 0
    # trixie has systemctl, and neither has a systemd that it could talk to.
    assert host.run(["test", "-e", "/run/systemd/system"]).returncode == 1
