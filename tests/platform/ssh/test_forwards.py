"""Ports that lead through a real connection, with real traffic."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from iris_platform import processes
from iris_platform.base import Refused, Unreachable
from iris_platform.ssh import SshConnection
from tests.harness.ports import free_port
from tests.platform.ssh.conftest import Dial, MakeSshd
from tests.platform.ssh.sshd import Sshd

Serve = Callable[[socket.socket], None]
BIG = os.urandom(6 << 20)


@pytest.fixture
def ssh(sshd: Sshd, dial: Dial) -> SshConnection:
    return dial(sshd.target)


def echo(sock: socket.socket) -> None:
    while data := sock.recv(1 << 16):
        sock.sendall(data)


def digest(sock: socket.socket) -> None:
    """Reads to the end, then answers: works only if one direction can end alone."""
    total = hashlib.sha256()
    while data := sock.recv(1 << 16):
        total.update(data)
    sock.sendall(total.digest())


@contextlib.contextmanager
def server(serve: Serve) -> Iterator[int]:
    threads: list[threading.Thread] = []
    socks: list[socket.socket] = []

    def carry(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            serve(sock)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    socks.append(sock)
                    threads.append(threading.Thread(target=carry, args=(sock,)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(10)
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)


@contextlib.contextmanager
def way(ssh: SshConnection, kind: str, port: int) -> Iterator[tuple[str, int]]:
    """An address that leads to `port` through `ssh`, in one direction or the other."""
    if kind == "local":
        with ssh.forward_local("127.0.0.1", port) as address:
            host, _, number = address.partition(":")
            yield host, int(number)
    else:
        with ssh.forward_remote(0, ("127.0.0.1", port)) as bound:
            yield "127.0.0.1", bound


def ask(address: tuple[str, int], data: bytes) -> bytes:
    answer = b""

    def send() -> None:
        with contextlib.suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

    with socket.create_connection(address, 30) as sock:
        sender = threading.Thread(target=send)
        sender.start()
        while piece := sock.recv(1 << 16):
            answer += piece
        sender.join(30)
    return answer


both = pytest.mark.parametrize("kind", ["local", "remote"])


@both
def test_traffic_both_ways_at_once(ssh: SshConnection, kind: str) -> None:
    with server(echo) as port, way(ssh, kind, port) as address:
        assert ask(address, BIG) == BIG


@both
def test_a_direction_that_ends_alone(ssh: SshConnection, kind: str) -> None:
    with server(digest) as port, way(ssh, kind, port) as address:
        assert ask(address, BIG) == hashlib.sha256(BIG).digest()


@both
def test_a_reader_that_is_slow_stops_nobody_else(ssh: SshConnection, kind: str) -> None:
    with server(echo) as port, way(ssh, kind, port) as address, socket.create_connection(address, 30) as slow:
        slow.setblocking(False)
        # It sends until nothing more fits anywhere, and reads nothing.
        with contextlib.suppress(BlockingIOError):
            while slow.send(b"x" * (1 << 16)):
                pass
        assert ask(address, b"hello") == b"hello"
        assert ssh.run(["true"], timeout_s=20).status == 0


@both
def test_what_nobody_reads_is_not_piled_up(ssh: SshConnection, kind: str) -> None:
    sent = [0]

    def pour(sock: socket.socket) -> None:
        sock.settimeout(2)
        while sent[0] < 200_000_000:
            sent[0] += sock.send(b"x" * (1 << 16))

    with server(pour) as port, way(ssh, kind, port) as address, socket.create_connection(address, 30) as sock:
        assert sock.recv(1) == b"x"
        before = -1
        while before != sent[0]:
            before = sent[0]
            threading.Event().wait(0.5)
        # Kernel buffers, the channel's window and ours; without bounds, everything.
        assert before < 40_000_000


@both
def test_many_connections(ssh: SshConnection, kind: str) -> None:
    answers: dict[int, bytes] = {}

    def go(address: tuple[str, int], number: int) -> None:
        answers[number] = ask(address, b"%d " % number * 5000)

    with server(echo) as port, way(ssh, kind, port) as address:
        for _ in range(3):
            threads = [threading.Thread(target=go, args=(address, number)) for number in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert answers == {number: b"%d " % number * 5000 for number in range(24)}
            answers.clear()


@both
def test_when_it_is_left_connections_end_and_the_port_is_free(ssh: SshConnection, kind: str) -> None:
    with server(echo) as port, contextlib.ExitStack() as stack:
        with way(ssh, kind, port) as address:
            sock = stack.enter_context(socket.create_connection(address, 30))
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        assert sock.recv(1) == b""
        with pytest.raises(ConnectionError):
            socket.create_connection(address, 30)
    assert ssh.is_alive


@both
def test_a_connection_that_dies_under_a_forward(ssh: SshConnection, sshd: Sshd, kind: str) -> None:
    with server(echo) as port, way(ssh, kind, port) as address:
        with socket.create_connection(address, 30) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            sshd.kill_connections()
            with contextlib.suppress(ConnectionError):
                assert sock.recv(1) == b""
        assert processes.wait_until(lambda: not ssh.is_alive, 20)
        with contextlib.suppress(ConnectionError):
            assert ask(address, b"x") == b""


@both
def test_nothing_at_the_end_of_the_way(ssh: SshConnection, kind: str) -> None:
    with way(ssh, kind, free_port()) as address:
        with contextlib.suppress(ConnectionError):
            assert ask(address, b"x") == b""
        assert ssh.is_alive


def test_several_ports_there_lead_to_several_places(ssh: SshConnection) -> None:
    with server(echo) as first, server(digest) as second:
        wanted = free_port()
        with ssh.forward_remote(0, ("127.0.0.1", first)) as a:
            with ssh.forward_remote(wanted, ("127.0.0.1", second)) as b:
                assert b == wanted
                assert ask(("127.0.0.1", a), b"x") == b"x"
                assert ask(("127.0.0.1", b), b"x") == hashlib.sha256(b"x").digest()
            assert ask(("127.0.0.1", a), b"y") == b"y"


def test_a_port_there_is_on_its_loopback_only(ssh: SshConnection) -> None:
    with ssh.forward_remote(0, ("127.0.0.1", 1)) as port, open("/proc/net/tcp") as table:
        bound = [line.split()[1] for line in table if line.split()[1].endswith(f":{port:04X}")]
    assert "0100007F" in {address.split(":")[0] for address in bound}
    assert "00000000" not in {address.split(":")[0] for address in bound}


def test_a_port_that_is_taken_there(ssh: SshConnection) -> None:
    with (
        server(echo) as port,
        pytest.raises(Refused, match=f"forwards no port {port} to us.*AllowTcpForwarding"),
    ):
        ssh.forward_remote(port, ("127.0.0.1", port)).__enter__()


def test_a_server_that_forwards_nothing(make_sshd: MakeSshd, dial: Dial) -> None:
    ssh = dial(make_sshd(extra="AllowTcpForwarding no\n").target)
    with pytest.raises(Refused, match="forwards no port of its own choice to us"):
        ssh.forward_remote(0, ("127.0.0.1", 1)).__enter__()
    with ssh.forward_local("127.0.0.1", 1) as address, contextlib.suppress(ConnectionError):
        assert ask((address.split(":")[0], int(address.split(":")[1])), b"x") == b""


def test_a_connection_that_is_gone(ssh: SshConnection) -> None:
    ssh.close()
    with pytest.raises(Unreachable, match="the connection is gone; connect again"):
        ssh.forward_remote(0, ("127.0.0.1", 1)).__enter__()
