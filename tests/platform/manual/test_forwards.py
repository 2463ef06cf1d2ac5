"""Ways from hosts back to the controller, over SSH in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iris_platform.base import Refused, Unreachable
from iris_platform.manual.connections import Connections
from iris_platform.manual.forwards import FIRST_PORT, PORT_PAIRS, Forwards, ports_on_hosts
from iris_platform.ssh.connection import CommandResult
from iris_platform.ssh.memory import MemoryConnection, MemoryHost
from tests.harness.cluster import wait_until

PORTS = (20_010, 20_011)
HERE = ("127.0.0.1:4000", "127.0.0.1:4001")
FORWARDS = {20_010: ("127.0.0.1", 4000), 20_011: ("127.0.0.1", 4001)}


class Pool:
    """Hosts in memory, what of them is wanted, and every connection that was made."""

    def __init__(self, directory: Path) -> None:
        self.hosts = {name: MemoryHost(f"root@{name}:22") for name in ("a", "b")}
        self.wanted: set[str] = set()
        self.connections: list[MemoryConnection] = []
        self.directory = directory
        self.forwards = self.make()

    def make(self) -> Forwards:
        return Forwards(Connections(self.dial), lambda: set(self.wanted), PORTS, self.directory)

    def dial(self, host: str) -> MemoryConnection:
        self.connections.append(self.hosts[host].connect())
        return self.connections[-1]

    def is_up(self, host: str) -> bool:
        return self.hosts[host].remote_ports == FORWARDS


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "manual")


@contextmanager
def serving(pool: Pool, *wanted: str) -> Iterator[Forwards]:
    pool.wanted = set(wanted)
    with pool.forwards.serve(HERE):
        yield pool.forwards


def test_the_ports_of_a_cluster_are_always_the_same_and_free_of_the_kernels_own() -> None:
    assert ports_on_hosts("abcdefghij") == ports_on_hosts("abcdefghij")
    found = {ports_on_hosts(f"cluster{n}") for n in range(100)}
    assert len(found) > 90
    assert all(a % 2 == 0 and b == a + 1 for a, b in found)
    assert all(FIRST_PORT <= a < FIRST_PORT + 2 * PORT_PAIRS for a, _ in found)


def test_hosts_with_slices_have_a_way_and_others_have_not(pool: Pool) -> None:
    with serving(pool, "a") as forwards:
        wait_until(lambda: pool.is_up("a"))
        assert pool.hosts["b"].remote_ports == {}
        pool.wanted = {"b"}
        wait_until(lambda: pool.is_up("b") and pool.hosts["a"].remote_ports == {})
        assert forwards.troubles() == []
    assert pool.hosts["b"].remote_ports == {}
    assert list(pool.directory.iterdir()) == []


def test_ensure_returns_when_the_way_is_there(pool: Pool) -> None:
    with serving(pool, "a") as forwards:
        forwards.ensure("a")
        assert pool.is_up("a")
        forwards.ensure("a")
        assert len(pool.connections) == 1


def test_a_connection_that_breaks_is_made_again(pool: Pool) -> None:
    with serving(pool, "a") as forwards:
        forwards.ensure("a")
        pool.connections[0].close()
        wait_until(lambda: len(pool.connections) == 2 and pool.is_up("a"))
        wait_until(lambda: forwards.troubles() == [])


def test_a_host_that_is_down_is_named_until_it_is_back(pool: Pool) -> None:
    pool.hosts["a"].is_down = True
    with serving(pool, "a", "b") as forwards:
        with pytest.raises(Unreachable, match=r"no way back to the controller.*the host is down"):
            forwards.ensure("a")
        forwards.ensure("b")
        (trouble,) = forwards.troubles()
        assert trouble.startswith("host a has no way to the controller")
        pool.hosts["a"].is_down = False
        forwards.ensure("a")
        assert pool.is_up("a") and forwards.troubles() == []


def test_a_taken_port_is_a_reason_and_leaves_nothing_half_done(pool: Pool) -> None:
    pool.hosts["a"].remote_ports[20_011] = ("127.0.0.1", 1)
    with serving(pool, "a") as forwards:
        with pytest.raises(Refused, match=r"20011.*taken there.*advertise_address"):
            forwards.ensure("a")
        assert 20_010 not in pool.hosts["a"].remote_ports


def test_without_a_controller_nothing_is_held(pool: Pool) -> None:
    with pytest.raises(Unreachable, match="does not listen"):
        pool.forwards.ensure("a")
    assert pool.connections == []


def test_what_cannot_be_read_leaves_the_ways_that_are_there(pool: Pool) -> None:
    def unreadable() -> set[str]:
        raise Unreachable("no such disk")

    broken: list[Callable[[], set[str]]] = []
    forwards = Forwards(
        Connections(pool.dial), lambda: broken[0]() if broken else {"a"}, PORTS, pool.directory
    )
    with forwards.serve(HERE):
        forwards.ensure("a")
        broken.append(unreadable)
        wait_until(lambda: forwards.troubles() == ["forwards to new hosts wait: no such disk"])
        assert pool.is_up("a")


def test_the_session_before_is_ended_by_the_one_after(pool: Pool) -> None:
    numbers = iter([(100, 7), (200, 8)])

    def session(argv: tuple[str, ...], data: bytes) -> CommandResult:
        pid, start = next(numbers)
        return CommandResult(0, f"{pid} {start}\n".encode(), b"")

    pool.hosts["a"].programs[("sh",)] = session
    with serving(pool, "a") as forwards:
        forwards.ensure("a")
        (file,) = pool.directory.iterdir()
        assert json.loads(file.read_bytes()) == ["100", "7"]
        pool.connections[0].close()
        wait_until(lambda: len(pool.hosts["a"].calls) == 2)
    first, second = pool.hosts["a"].calls
    assert (first[4:], second[4:]) == (("", ""), ("100", "7"))


@pytest.mark.parametrize("left", ["", "[]", '["1; reboot", "2"]', "{}"])
def test_a_session_file_of_no_use_ends_nobody(pool: Pool, left: str) -> None:
    pool.directory.mkdir(mode=0o700)
    (pool.directory / "session-a.json").write_text(left)
    with serving(pool, "a") as forwards:
        forwards.ensure("a")
    assert pool.hosts["a"].calls[0][4:] == ("", "")
