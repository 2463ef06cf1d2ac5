"""Getting a connection, and every way not to get one."""

from __future__ import annotations

import contextlib
import getpass
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from iris_platform import processes
from iris_platform.base import PermissionMissing, Refused, Unreachable
from iris_platform.ssh import HostKeyChanged, KnownHosts, SshSettings, SshTarget, client, connect, jump_hosts
from tests.harness.ports import free_port
from tests.platform.ssh.conftest import Dial, MakeSshd
from tests.platform.ssh.sshd import Sshd, make_key

SOON = SshSettings(connect_timeout_s=1)


def test_a_connection(sshd: Sshd, dial: Dial) -> None:
    ssh = dial(sshd.target)
    assert ssh.is_alive
    assert ssh.address == f"{sshd.target.user}@127.0.0.1:{sshd.port}"
    assert ssh.run(["echo", "hello"], timeout_s=20).out == b"hello\n"
    ssh.close()
    ssh.close()
    assert not ssh.is_alive


RELAY = """
import os, select, socket, sys
far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    for end in select.select([0, far], [], [])[0]:
        data = os.read(0, 65536) if end == 0 else far.recv(65536)
        if not data:
            sys.exit()
        far.sendall(data) if end == 0 else os.write(1, data)
"""


def test_a_machine_behind_a_program_that_is_known_by_a_name(
    sshd: Sshd, dial: Dial, known_hosts: KnownHosts
) -> None:
    proxy = (sys.executable, "-c", RELAY, str(sshd.port))
    target = replace(sshd.target, host="nowhere.invalid", port=22, known_as="machine.1", proxy=proxy)
    ssh = dial(target)
    assert ssh.run(["echo", "hello"], timeout_s=20).out == b"hello\n"
    assert known_hosts.pinned("machine.1", 22)
    assert not known_hosts.pinned("nowhere.invalid", 22)
    ssh.close()
    assert processes.wait_until(lambda: not ssh.is_alive, 20)


@pytest.mark.parametrize(
    ("proxy", "words"), [("/no/such", "cannot be started"), ("/bin/true", "no SSH connection")]
)
def test_a_program_that_leads_nowhere(sshd: Sshd, dial: Dial, proxy: str, words: str) -> None:
    with pytest.raises((Refused, Unreachable), match=words):
        dial(replace(sshd.target, proxy=(proxy,)))


def test_commands_and_files_as_root(
    sshd: Sshd, dial: Dial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "SUDO", ("env", "THROUGH=sudo"))
    ssh = dial(replace(sshd.target, as_root=True))
    assert ssh.run(["sh", "-c", "echo $THROUGH"], timeout_s=20).out == b"sudo\n"
    ssh.put(b"data", str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == b"data"


def test_nothing_listens(dial: Dial) -> None:
    with pytest.raises(Unreachable, match="nothing listens there; check the port"):
        dial(SshTarget("127.0.0.1", free_port()))


def test_a_name_without_an_address(dial: Dial) -> None:
    with pytest.raises(Unreachable, match=r"no-such-host.invalid has no address"):
        dial(SshTarget("no-such-host.invalid"))


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2p1\r\n"])
def test_a_listener_that_says_nothing_or_no_more(dial: Dial, greeting: bytes) -> None:
    with _listener(greeting) as port:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no SSH connection within 1 s"):
            dial(SshTarget("127.0.0.1", port), SOON)
        assert time.monotonic() - began < 10


def test_a_listener_that_is_no_ssh_server(dial: Dial) -> None:
    with (
        _listener(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200) as port,
        pytest.raises(Unreachable, match="no SSH conn"),
    ):
        dial(SshTarget("127.0.0.1", port), SshSettings(connect_timeout_s=5))


def test_a_listener_that_accepts_nothing(dial: Dial) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # The queue is full: who comes next gets no answer to its first packet.
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        with pytest.raises(Unreachable, match="no SSH connection within 1 s; check that the host is up"):
            dial(SshTarget("127.0.0.1", listener.getsockname()[1]), SOON)


def test_a_server_that_is_stuck_in_authentication(make_sshd: MakeSshd, dial: Dial) -> None:
    # Its answer to a key is the end of a command that does not end.
    sshd = make_sshd(
        extra=f"AuthorizedKeysCommand /bin/sleep 30\nAuthorizedKeysCommandUser {getpass.getuser()}\n"
    )
    (sshd.folder / "authorized_keys").unlink()
    with pytest.raises(Unreachable, match="no SSH connection within 2 s"):
        dial(sshd.target, SshSettings(connect_timeout_s=2))


def test_a_host_key_is_pinned_once_and_then_compared(sshd: Sshd, dial: Dial, known_hosts: KnownHosts) -> None:
    dial(sshd.target)
    dial(sshd.target)
    pinned = known_hosts.path.read_text()
    kind, key = (sshd.folder / "host_key.pub").read_text().split()[:2]
    assert pinned == f"[127.0.0.1]:{sshd.port} {kind} {key}\n"

    sshd.new_host_key()
    with pytest.raises(HostKeyChanged) as caught:
        dial(sshd.target)
    words = str(caught.value)
    assert isinstance(caught.value, Refused)
    assert f"{known_hosts.path}:1 has ssh-ed25519 SHA256:" in words
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f '{known_hosts.path}'" in words
    assert len({part[:50] for part in words.split("SHA256:")[1:]}) == 2
    assert known_hosts.path.read_text() == pinned
    # It had no chance to see a key of ours.
    assert "Accepted publickey" not in sshd.log().split("Server listening")[-1]


def test_a_host_is_asked_for_the_kind_of_key_that_is_pinned(
    make_sshd: MakeSshd, dial: Dial, known_hosts: KnownHosts
) -> None:
    sshd = make_sshd()
    sshd.stop()
    make_key(sshd.folder / "rsa_key", kind="rsa")
    config = sshd.folder / "sshd_config"
    only_rsa = config.read_text().replace("host_key", "rsa_key")
    both = only_rsa.replace("PidFile", f"HostKey {sshd.folder}/host_key\nPidFile")
    config.write_text(only_rsa)
    sshd.start()
    dial(sshd.target)
    sshd.stop()
    config.write_text(both)
    sshd.start()
    dial(sshd.target)
    assert known_hosts.path.read_text().count("\n") == 1


def test_a_new_host_is_pinned_once_by_many_at_once(sshd: Sshd, dial: Dial, known_hosts: KnownHosts) -> None:
    problems: list[Exception] = []

    def go() -> None:
        try:
            assert dial(sshd.target).run(["true"], timeout_s=60).status == 0
        except Exception as error:  # any at all: it fails the test, which runs on another thread
            problems.append(error)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not problems
    assert len(known_hosts.path.read_text().splitlines()) == 1
    assert known_hosts.path.stat().st_mode & 0o777 == 0o600


def test_another_key(sshd: Sshd, dial: Dial, tmp_path: Path) -> None:
    key = make_key(tmp_path / "other")
    with pytest.raises(PermissionMissing) as caught:
        dial(replace(sshd.target, key_file=str(key)))
    words = str(caught.value)
    assert words.startswith(
        f"{sshd.target.user}@127.0.0.1:{sshd.port}: the host takes none of the keys offered: {key}"
    )
    assert "PRIVATE" not in words


def test_another_user(sshd: Sshd, dial: Dial) -> None:
    with pytest.raises(PermissionMissing, match=r"^no-such-user@127.*the host takes none"):
        dial(replace(sshd.target, user="no-such-user"))


def test_a_server_that_hangs_up_on_too_many_keys(make_sshd: MakeSshd, dial: Dial, tmp_path: Path) -> None:
    sshd = make_sshd(extra="MaxAuthTries 2\n")
    keys = tuple(str(make_key(tmp_path / f"key{number}")) for number in range(5))
    with pytest.raises(PermissionMissing, match="then the server hung up"):
        dial(replace(sshd.target, key_file=None, identity_files=keys))
    with pytest.raises(PermissionMissing, match="there is none; add one"):
        dial(replace(sshd.target, key_file=None))


def test_no_keys_are_taken_at_all(make_sshd: MakeSshd, dial: Dial) -> None:
    extra = "PubkeyAuthentication no\nPasswordAuthentication yes\nPermitRootLogin yes\n"
    with pytest.raises(PermissionMissing, match=r"takes no keys, only .*password.*; allow public keys"):
        dial(make_sshd(extra=extra).target)


def test_a_second_factor_is_asked_for(make_sshd: MakeSshd, dial: Dial) -> None:
    extra = "AuthenticationMethods publickey,password\nPasswordAuthentication yes\nPermitRootLogin yes\n"
    with pytest.raises(PermissionMissing, match="takes the key and asks for password too"):
        dial(make_sshd(extra=extra).target)


def test_no_algorithm_in_common(make_sshd: MakeSshd, dial: Dial) -> None:
    sshd = make_sshd(extra="Ciphers chacha20-poly1305@openssh.com\n")
    with pytest.raises(Refused, match="no algorithm in common"):
        dial(sshd.target)


def test_a_jump_host(make_sshd: MakeSshd, dial: Dial, known_hosts: KnownHosts) -> None:
    inner, middle, outer = make_sshd("inner"), make_sshd("middle"), make_sshd("outer")
    for server in (middle, outer):
        server.authorize(inner.key)
    user = inner.target.user
    way = f"{user}@127.0.0.1:{outer.port},{user}@127.0.0.1:{middle.port}"
    ssh = dial(replace(inner.target, jump_host=way))
    assert ssh.run(["printenv", "HOME"], timeout_s=20).out.decode().strip() == f"{inner.folder}/home"
    assert len(known_hosts.path.read_text().splitlines()) == 3
    # The connections below belong to it, and end with it.
    for server in (outer, middle):
        assert server.connections()
    ssh.close()
    servers = (outer, middle, inner)
    assert processes.wait_until(lambda: not any(server.connections() for server in servers), 20)

    ssh = dial(replace(inner.target, jump_host=way))
    middle.kill_connections()
    with pytest.raises(Unreachable):
        ssh.run(["true"], timeout_s=20)


def test_jump_hosts_that_do_not_lead_there(make_sshd: MakeSshd, dial: Dial) -> None:
    outer = make_sshd("outer")
    jump = f"{outer.target.user}@127.0.0.1:{outer.port}"
    nobody = SshTarget("127.0.0.1", free_port(), "x", str(outer.key), jump)
    with pytest.raises(Unreachable, match=f"x@127.0.0.1:{nobody.port}|through .*{outer.port}: no connection"):
        dial(nobody)
    closed = make_sshd("closed", extra="AllowTcpForwarding no\n")
    closed.authorize(outer.key)
    with pytest.raises(Refused, match="forwards nothing; set AllowTcpForwarding"):
        dial(replace(nobody, jump_host=f"{outer.target.user}@127.0.0.1:{closed.port}"))
    with _listener(b"") as port, pytest.raises(Unreachable, match="within 1 s"):
        dial(replace(nobody, port=port), SOON)


def test_many_share_the_handshake_with_a_jump_host(make_sshd: MakeSshd, known_hosts: KnownHosts) -> None:
    inner, outer = make_sshd("inner"), make_sshd("outer")
    outer.authorize(inner.key)
    target = replace(inner.target, jump_host=f"{inner.target.user}@127.0.0.1:{outer.port}")
    jumps = jump_hosts()
    with contextlib.ExitStack() as stack:
        stack.callback(jumps.close)
        made = [connect(target, SshSettings(), known_hosts, jumps) for _ in range(4)]
        for ssh in made:
            stack.callback(ssh.close)
        made[0].close()
        assert [ssh.run(["true"], timeout_s=20).status for ssh in made[1:]] == [0, 0, 0]
        assert outer.log().count("Accepted publickey") == 1
        # It is dialled again where it was lost.
        outer.kill_connections()
        assert processes.wait_until(lambda: not made[1].is_alive, 20)
        again = connect(target, SshSettings(), known_hosts, jumps)
        stack.callback(again.close)
        assert again.run(["true"], timeout_s=20).status == 0
        assert outer.log().count("Accepted publickey") == 2


def test_a_cut_line_is_noticed(sshd: Sshd, dial: Dial) -> None:
    # A stopped server's kernel still acknowledges; only what is not read for long ends it.
    ssh = dial(sshd.target, SshSettings(keepalive_s=1))
    sshd.signal_connections(signal.SIGSTOP)
    with pytest.raises(Unreachable):
        ssh.run(["cat"], timeout_s=1, input=b"x" * (1 << 20))
    sshd.signal_connections(signal.SIGCONT)


@contextlib.contextmanager
def _listener(greeting: bytes) -> Iterator[int]:
    """Accepts, says `greeting` and then nothing."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    held.append(sock)
                    sock.sendall(greeting)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for sock in held:
                sock.close()
