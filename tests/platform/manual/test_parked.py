"""One connection serves the steps that make a slice, and none stays open for long."""

from __future__ import annotations

from iris_platform.manual.parked import Parked
from iris_platform.manual.ssh_hosts import SshHosts
from iris_platform.manual.startup import HostSettings
from iris_platform.ssh import CommandResult, SshConnection, SshTarget
from iris_platform.ssh.memory import MemoryHost
from tests.harness.cluster import wait_until


def taken(parked: Parked) -> SshConnection | None:
    """The connection of h1."""
    kept = parked.take("h1")
    return kept.connection if kept is not None else None


class TestParked:
    def test_what_is_parked_can_be_taken_once(self) -> None:
        parked, connection = Parked(), MemoryHost().connect()
        parked.park("h1", connection)
        assert parked.take("h2") is None
        assert taken(parked) is connection and connection.is_alive
        assert parked.take("h1") is None

    def test_a_second_one_closes_the_first(self) -> None:
        parked, first, second = Parked(), MemoryHost().connect(), MemoryHost().connect()
        parked.park("h1", first)
        parked.park("h1", second)
        assert not first.is_alive and taken(parked) is second

    def test_a_dead_one_is_none(self) -> None:
        parked, host = Parked(), MemoryHost()
        parked.park("h1", host.connect())
        host.is_down = True
        assert parked.take("h1") is None

    def test_what_nobody_takes_is_closed(self) -> None:
        parked, first, second = Parked(keep_s=0.05), MemoryHost().connect(), MemoryHost().connect()
        parked.park("h1", first)
        wait_until(lambda: not first.is_alive)
        parked.park("h1", second)
        wait_until(lambda: not second.is_alive)
        assert parked.take("h1") is None

    def test_what_is_parked_again_has_no_longer_than_it_had(self) -> None:
        parked, connection = Parked(keep_s=0.05), MemoryHost().connect()
        parked.park("h1", connection)
        kept = parked.take("h1")
        assert kept is not None
        wait_until(lambda: kept.deadline.has_passed)
        parked.park("h1", connection, kept.deadline)
        wait_until(lambda: not connection.is_alive)

    def test_what_was_taken_stays_open(self) -> None:
        parked, one, left = Parked(keep_s=0.05), MemoryHost().connect(), MemoryHost().connect()
        parked.park("h1", one)
        parked.park("h2", left)
        assert taken(parked) is one
        wait_until(lambda: not left.is_alive)
        assert one.is_alive


class TestSshHosts:
    def make(self, host: MemoryHost) -> tuple[SshHosts, list[SshConnection]]:
        """The hosts of one bare machine, and every connection that was made to it."""
        made: list[SshConnection] = []
        host.programs["sh",] = lambda argv, data: CommandResult(0, b"", b"")

        def connect(target: SshTarget) -> SshConnection:
            made.append(host.connect())
            return made[-1]

        return SshHosts({"h1": SshTarget("h1")}, connect, HostSettings(2, 60.0, 60.0), None), made

    def test_looks_alone_keep_nothing(self) -> None:
        hosts, made = self.make(MemoryHost())
        assert [hosts.look(["h1"]) for _ in range(2)] and len(made) == 2
        assert not any(connection.is_alive for connection in made)

    def test_a_look_before_another_step_keeps_its_connection_for_that(self) -> None:
        hosts, made = self.make(MemoryHost())
        hosts.look(["h1"], keep=True)
        (connection,) = made
        # Others who look meanwhile leave it there.
        assert not isinstance(hosts.look(["h1"])["h1"], Exception)
        assert len(made) == 1 and connection.is_alive
        hosts.tidy("abcdefghij", ["h1"])
        assert len(made) == 1 and not connection.is_alive

    def test_one_that_broke_meanwhile_is_made_again(self) -> None:
        hosts, made = self.make(MemoryHost())
        hosts.look(["h1"], keep=True)
        made[0].close()
        assert not isinstance(hosts.look(["h1"])["h1"], Exception)
        assert len(made) == 2
