"""One connection serves all that is done on a host at about the same time, and none stays open for long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from iris_platform.base import Refused, Unreachable
from iris_platform.manual.connections import Connections
from iris_platform.manual.ssh_hosts import SshHosts
from iris_platform.manual.startup import HostSettings
from iris_platform.ssh import CommandResult, SshConnection, SshTarget
from iris_platform.ssh.memory import MemoryHost
from tests.harness.cluster import wait_until

SOON_S = 20.0


class Dialled:
    """Hosts in memory, and every connection that was made, by host."""

    def __init__(self) -> None:
        self.hosts = {name: MemoryHost(f"root@{name}:22") for name in ("h1", "h2")}
        self.made: list[SshConnection] = []
        self.before: Callable[[], None] = lambda: None

    def dial(self, host: str) -> SshConnection:
        self.before()
        self.made.append(self.hosts[host].connect())
        return self.made[-1]


class TestConnections:
    def test_who_comes_later_has_the_same(self) -> None:
        dialled = Dialled()
        connections = Connections(dialled.dial)
        with connections.use("h1") as first:
            pass
        with connections.use("h1") as second, connections.use("h2") as other:
            assert second is first and other is not first
        assert len(dialled.made) == 2 and first.is_alive

    def test_who_comes_meanwhile_waits_for_the_same(self) -> None:
        dialled, dialling, go = Dialled(), threading.Event(), threading.Event()

        def slow() -> None:
            dialling.set()
            assert go.wait(SOON_S)

        dialled.before = slow
        connections = Connections(dialled.dial)

        def use() -> SshConnection:
            with connections.use("h1") as connection:
                return connection

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(use)
            assert dialling.wait(SOON_S)
            second = pool.submit(use)
            go.set()
            assert first.result(SOON_S) is second.result(SOON_S)

    def test_all_who_wait_hear_why_there_is_none_and_the_next_one_tries_again(self) -> None:
        dialled = Dialled()
        dialled.hosts["h1"].is_down = True
        connections = Connections(dialled.dial)
        with pytest.raises(Unreachable), connections.use("h1"):
            pass
        dialled.hosts["h1"].is_down = False
        with connections.use("h1") as connection:
            assert connection.is_alive

    def test_the_last_one_closes_it_unless_somebody_has_it(self) -> None:
        connections = Connections(Dialled().dial)
        with connections.use("h1", last=True) as alone:
            pass
        assert not alone.is_alive
        with connections.use("h1") as shared:
            with connections.use("h1", last=True) as same:
                assert same is shared
            assert shared.is_alive
        assert shared.is_alive

    def test_what_nobody_uses_is_closed_in_the_end(self) -> None:
        connections = Connections(Dialled().dial, keep_s=0.05)
        with connections.use("h1") as used, connections.use("h2") as left:
            pass
        with connections.use("h1") as again:
            wait_until(lambda: not left.is_alive)
            assert again.is_alive
        wait_until(lambda: not again.is_alive and not used.is_alive)

    def test_a_dead_one_is_none(self) -> None:
        dialled = Dialled()
        connections = Connections(dialled.dial)
        with connections.use("h1") as first:
            first.close()
        with connections.use("h1") as second:
            assert second is not first

    def test_after_silence_the_next_one_begins_anew_and_the_others_finish(self) -> None:
        connections = Connections(Dialled().dial)
        with connections.use("h1") as first:
            with pytest.raises(Unreachable), connections.use("h1"):
                raise Unreachable("no answer")
            assert first.is_alive
            with connections.use("h1") as second:
                assert second is not first
        assert not first.is_alive and second.is_alive

    def test_what_a_host_refuses_is_no_fault_of_its_connection(self) -> None:
        dialled = Dialled()
        connections = Connections(dialled.dial)
        for _ in range(2):
            with suppress(Refused), connections.use("h1"):
                raise Refused("no room")
        with connections.use("h1"):
            pass
        assert all(not connection.is_alive for connection in dialled.made[:-1])


class TestSshHosts:
    def make(self, host: MemoryHost) -> tuple[SshHosts, list[SshConnection]]:
        """The hosts of one bare machine, and every connection that was made to it."""
        dialled = Dialled()
        dialled.hosts["h1"] = host
        host.programs["sh",] = lambda argv, data: CommandResult(0, b"", b"")
        connections = Connections(dialled.dial)
        settings = HostSettings(2, 60.0, 60.0)
        return SshHosts({"h1": SshTarget("h1")}, connections, settings, None), dialled.made

    def test_looks_share_a_connection_and_a_removal_ends_it(self) -> None:
        hosts, made = self.make(MemoryHost())
        for _ in range(2):
            assert not isinstance(hosts.look(["h1"])["h1"], Exception)
        (connection,) = made
        assert connection.is_alive
        hosts.tidy("abcdefghij", ["h1"])
        assert len(made) == 1 and not connection.is_alive

    def test_one_that_broke_while_nobody_used_it_is_made_again_at_once(self) -> None:
        host = MemoryHost()
        hosts, made = self.make(host)
        hosts.look(["h1"])

        def breaks(argv: Sequence[str], data: bytes) -> CommandResult:
            # What it finds: the other end has been started again since.
            host.programs["sh",] = lambda argv, data: CommandResult(0, b"", b"")
            made[0].close()
            raise Unreachable("connection reset by peer")

        host.programs["sh",] = breaks
        assert not isinstance(hosts.look(["h1"])["h1"], Exception)
        assert len(made) == 2

    def test_a_host_that_left_the_file_is_not_dialled(self) -> None:
        hosts, made = self.make(MemoryHost())
        assert isinstance(hosts.look(["h2"])["h2"], Unreachable) and not made
