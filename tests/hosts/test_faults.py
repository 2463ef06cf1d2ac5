"""What can go wrong with a host, as its peers see it."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.hosts.talk import Talk, ssh

# Long enough for an answer on one machine; a word that does not come takes all of it.
SILENCE_S = 1.0
TALKS = "python3 -c 'import time; print(int(time.time()))'"


def test_a_killed_host_says_nothing_more(lab: Lab) -> None:
    host = lab.host("a")
    with Talk(lab, host, impatient=True) as talk:
        host.kill()
        assert not host.is_on
        assert "Timeout, server" in talk.end()


def test_a_host_that_is_powered_off_says_goodbye(lab: Lab) -> None:
    host = lab.host("a")
    note = "trap 'echo asked >/opt/asked; exit' TERM; echo up >/opt/up; while :; do sleep 0.05; done"
    subprocess.Popen([*lab.ssh_command(host), f'nohup sh -c "{note}" >/dev/null 2>&1 &']).wait(10)
    wait_until(lambda: host.run(["test", "-e", "/opt/up"]).returncode == 0)
    with Talk(lab, host) as talk:
        host.power_off()
        assert "closed by remote host" in talk.end()
    host.boot()
    assert host.read("/opt/asked") == b"asked\n"


def test_a_boot_keeps_the_disk_and_is_another_boot(lab: Lab) -> None:
    host = lab.host("a")
    host.write("/opt/kept", b"kept")
    ssh(lab, host, "touch /tmp/x /run/x /dev/shm/x; sleep 1000 >/dev/null 2>&1 &")
    before = (host.boot_id, _start_of_first_process(host))
    assert "sleep 1000" in host.processes().values()
    host.kill()
    host.boot()
    assert host.read("/opt/kept") == b"kept"
    assert ssh(lab, host, "cat /proc/sys/kernel/random/boot_id").stdout.strip() == host.boot_id
    after = (host.boot_id, _start_of_first_process(host))
    assert before[0] != after[0] and before[1] < after[1]
    assert not host.processes()
    assert host.run(["ls", "/tmp/x", "/run/x", "/dev/shm/x"]).stdout == b""


def _start_of_first_process(host: Host) -> int:
    return int(host.read("/proc/1/stat").rpartition(b")")[2].split()[19])


def test_a_fresh_disk_is_as_the_first_one_was(lab: Lab) -> None:
    host = lab.host("a")
    new = host.listing()
    host.write("/opt/lost", b"lost")
    host.output("rm", "/etc/passwd")
    assert host.listing().since(new)
    host.power_off()
    host.boot(fresh_disk=True)
    assert host.listing().since(new) == []
    assert ssh(lab, host, "true").returncode == 0


def test_a_frozen_host_takes_connections_and_says_nothing(lab: Lab) -> None:
    host = lab.host("a")
    with Talk(lab, host) as talk:
        host.freeze()
        with socket.create_connection((host.address, 22), 5) as peer:
            peer.settimeout(SILENCE_S)
            with pytest.raises(TimeoutError):
                peer.recv(1)
        with pytest.raises(subprocess.TimeoutExpired):
            host.run(["true"], timeout=SILENCE_S)
        host.thaw()
        assert talk.echoes("again")


def test_a_frozen_host_can_be_killed(lab: Lab) -> None:
    host = lab.host("a")
    host.freeze()
    host.kill()
    host.boot()
    assert ssh(lab, host, "hostname").stdout == "a\n"


def test_what_goes_over_a_cut_cable_vanishes_and_a_healed_one_goes_on(lab: Lab) -> None:
    host = lab.host("a")
    with Talk(lab, host) as talk:
        host.cut()
        talk.say("later")
        assert not talk.hears("later", SILENCE_S)
        with pytest.raises(TimeoutError):
            socket.create_connection((host.address, 22), SILENCE_S)
        host.heal()
        assert talk.hears("later")


@pytest.mark.parametrize("incoming", [True, False])
def test_a_cable_can_be_cut_one_way(lab: Lab, incoming: bool) -> None:
    host = lab.host("a")
    received = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 99))"
    received += "; print('ready', flush=True); s.settimeout({}); word, peer = s.recvfrom(9)"
    received += "; print(word.decode(), flush=True); s.sendto(b'back', peer)"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.settimeout(SILENCE_S)
        command = [*lab.ssh_command(host), f'python3 -c "{received.format(30)}"']
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as there:
            assert there.stdout and there.stdout.readline() == "ready\n"
            host.cut(incoming=incoming, outgoing=not incoming)
            here.sendto(b"there", (host.address, 99))
            with pytest.raises(TimeoutError):
                here.recv(9)
            # What it did hear, it can tell when the cable is whole again.
            host.heal()
            if incoming:
                here.sendto(b"second", (host.address, 99))
            assert there.stdout.readline() == ("second\n" if incoming else "there\n")


def test_an_address_can_be_another_machine_s(lab: Lab) -> None:
    old, new = lab.hosts(2)
    known, address = lab.known_hosts(old), old.address
    assert ssh(lab, old, "hostname").stdout == "h0\n"
    old.set_address(lab.free_address())
    new.set_address(address)
    assert ssh(lab, new, "hostname").stdout == "h1\n"
    assert ssh(lab, old, "hostname").stdout == "h0\n"
    done = _ssh_knowing(lab, new, known)
    assert done.returncode == 255 and "Host key verification failed" in done.stderr
    new.kill()
    new.boot()
    assert (new.address, ssh(lab, new, "hostname").stdout) == (address, "h1\n")


def test_a_changed_host_key_is_noticed(lab: Lab) -> None:
    host = lab.host("a")
    known = lab.known_hosts(host)
    assert _ssh_knowing(lab, host, known).returncode == 0
    before = host.host_key
    host.new_host_key()
    assert host.host_key != before
    done = _ssh_knowing(lab, host, known)
    assert done.returncode == 255 and "Host key verification failed" in done.stderr
    assert ssh(lab, host, "true").returncode == 0


def _ssh_knowing(lab: Lab, host: Host, known: Path) -> subprocess.CompletedProcess[str]:
    words = [*lab.ssh_command(host, known_hosts=known), "true"]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def test_a_refused_key_is_refused_and_sessions_go_on(lab: Lab) -> None:
    host = lab.host("a")
    with Talk(lab, host) as talk:
        host.refuse_key()
        assert "Permission denied (publickey)" in ssh(lab, host, "true").stderr
        assert talk.echoes("still here")
    host.accept_key()
    assert ssh(lab, host, "true").returncode == 0


def test_a_full_disk_takes_nothing(lab: Lab) -> None:
    host = lab.host("a", disk=16 << 20)
    before = host.listing()
    host.fill_disk()
    for path in ("/opt/x", "/tmp/x", "/var/x"):
        done = ssh(lab, host, f"echo word >{path}")
        assert done.returncode != 0 and "No space left" in done.stderr
    assert host.output("df", "--output=avail", "/").split()[-1] == "0"
    host.free_disk()
    assert ssh(lab, host, "echo word >/opt/x; rm /opt/x /tmp/x /var/x").returncode == 0
    assert host.listing().since(before) == []


@pytest.mark.parametrize("base", ["machine", "bookworm", "trixie"])
def test_a_wrong_clock_is_wrong_for_whoever_logs_in(lab: Lab, base: str) -> None:
    host = lab.host("a", base=base)
    before = host.listing()
    uptime = "python3 -c 'import time; print(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))'"
    for offset in (86_400, -7_200):
        host.set_clock_offset(offset)
        for said in (
            ssh(lab, host, "date +%s; " + TALKS).stdout,
            host.output("sh", "-c", f"date +%s; {TALKS}"),
        ):
            assert len(said.split()) == 2
            for seconds in said.split():
                assert abs(int(seconds) - _now() - offset) < 60
        here = float(subprocess.check_output(["cut", "-d ", "-f1", "/proc/uptime"]))
        assert all(abs(float(clock) - here) < 60 for clock in ssh(lab, host, uptime).stdout.split())
    host.set_clock_offset(0)
    assert abs(int(ssh(lab, host, TALKS).stdout) - _now()) < 60
    assert host.listing().since(before) == []


def _now() -> int:
    return int(subprocess.check_output(["date", "+%s"]))


@pytest.mark.parametrize("base", ["machine", "bookworm"])
def test_a_host_without_python(lab: Lab, base: str) -> None:
    host = lab.host("a", base=base)
    assert ssh(lab, host, "python3 -V").returncode == 0
    host.remove_python()
    assert ssh(lab, host, "python3 -V").returncode == 127
    assert ssh(lab, host, "ls /usr/bin/python*").stdout == ""


def test_a_slow_way_is_late_and_narrow(lab: Lab) -> None:
    host = lab.host("a")
    with lab.slow(host, delay_s=0.5) as (address, port), socket.create_connection((address, port), 5) as peer:
        # There and back.
        peer.settimeout(0.9)
        with pytest.raises(TimeoutError):
            peer.recv(4)
        peer.settimeout(10)
        assert peer.recv(4) == b"SSH-"
    *words, port_flag, _, _ = lab.ssh_command(host)
    with lab.slow(host, bytes_per_s=100_000) as (address, port):
        there = ["-o", f"HostKeyAlias={host.address}", port_flag, str(port), f"root@{address}"]
        command = [*words, *there, "head -c 150000 /dev/zero"]
        start = _ticks()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60)
        assert len(done.stdout) == 150_000
        assert _ticks() - start > 1.3


def _ticks() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])
