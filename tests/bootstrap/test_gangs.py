"""Members of gangs wait in PREPARING, each with a port of its own, until all are released (B12, B55)."""

from __future__ import annotations

import errno
import json
import resource
import socket

import pytest

from iris_bootstrap.keeper import ports
from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.keeper.frames import Known, Lease, Release, Start, Stop
from iris_bootstrap.keeper.ports import FIRST_PORT, LAST_PORT, NoPort, reserve_port
from tests.bootstrap.conftest import StartKeeper
from tests.bootstrap.support import KEY, KeeperUnderTest, eventually, python

# Says what it was told of its gang, then takes its own port.
_MEMBER = """
import os, socket
print(os.environ["IRIS_COORDINATOR_ADDRESS"], os.environ["IRIS_TASK_ADDRESSES"])
port = int(os.environ["IRIS_TASK_ADDRESSES"].rsplit(":", 1)[1])
socket.create_server(("", port))
print("bound")
"""


def is_free(port: int) -> bool:
    """Whether a server could take a port."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
            one.listen()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def test_member_starts_when_it_is_released_and_can_take_its_port(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, *python(_MEMBER), is_gang=True)
    port = session.prepared(KEY)
    assert FIRST_PORT <= port <= LAST_PORT
    assert not is_free(port)
    assert keeper.log_of(KEY) == ""
    env = {"IRIS_COORDINATOR_ADDRESS": "h0:1", "IRIS_TASK_ADDRESSES": f"h0:1,h1:{port}"}
    session.send(Release(KEY, env), Release(KEY, env))
    report = session.ended(KEY)
    assert [(r.state, r.port) for r in session.reports[KEY]] == [
        ("PREPARING", port),
        ("RUNNING", port),
        ("SUCCEEDED", port),
    ]
    assert session.reports[KEY][0].started_at_ms == 0 < report.started_at_ms
    assert keeper.log_of(KEY) == f"h0:1 h0:1,h1:{port}\nbound\n"
    session.send(Release(KEY, env), Release("job/5/7/1", env), Start(KEY, "", {}))
    session.run("job/1/7/1", "true")
    session.ended("job/1/7/1")
    assert len(session.reports[KEY]) == 3
    assert "job/5/7/1" not in session.reports


def test_port_is_kept_from_other_keepers_while_its_attempt_lives(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "sleep", "1000", is_gang=True)
    port = session.prepared(KEY)
    session.send(Release(KEY, {}))
    session.read_until(lambda: session.reports[KEY][-1].state == "RUNNING", "the start")
    # The program has not bound it, yet nobody of Iris takes it.
    assert is_free(port)
    assert ports._try_port(port) is None
    session.send(Stop(KEY, "job_stopped"))
    session.ended(KEY)
    taken = ports._try_port(port)
    assert taken is not None
    taken.close()


def test_stop_ends_a_member_that_waits(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "true", is_gang=True)
    port = session.prepared(KEY)
    session.send(Stop(KEY, "job_stopped"), Release(KEY, {}))
    report = session.ended(KEY)
    assert (report.state, report.reason, report.port, report.started_at_ms) == (
        "KILLED",
        "job_stopped",
        port,
        0,
    )
    assert is_free(port)
    session.run("job/1/7/1", "true")
    session.ended("job/1/7/1")
    assert len(session.reports[KEY]) == 2


def test_lease_ends_a_member_that_waits(keeper: KeeperUnderTest) -> None:
    """B42, for a gang that was never complete."""
    session = keeper.accept()
    session.run(KEY, "true", is_gang=True)
    session.prepared(KEY)
    deadline_s = boot_s() + 0.4
    session.send(Lease(deadline_s, 0.4, 1800.0))
    report = session.ended(KEY)
    assert boot_s() >= deadline_s
    assert (report.state, report.reason) == ("KILLED", "lease_expired")


def test_member_that_waits_keeps_the_agent_from_leaving(start_keeper: StartKeeper) -> None:
    keeper = start_keeper(orphan_timeout_s=60.0)
    session = keeper.accept()
    session.run(KEY, "true", is_gang=True)
    session.prepared(KEY)
    now_s = boot_s()
    # Contact was long ago; the lease holds for a while.
    session.send(Lease(now_s + 0.5, 600.0, 0.1))
    assert session.ended(KEY).reason == "lease_expired"
    assert boot_s() >= now_s + 0.5
    session.part()
    assert keeper.process.wait(20) == 0


def test_new_session_hears_of_a_member_that_waits(keeper: KeeperUnderTest) -> None:
    """B41: a session's death costs a gang nothing."""
    session = keeper.accept()
    session.run(KEY, "sh", "-c", "echo $IRIS_TASK_ADDRESSES", is_gang=True)
    port = session.prepared(KEY)
    session.die()
    again = keeper.accept()
    (known,) = [message for message in again.told if isinstance(message, Known)]
    assert known.report is not None
    assert (known.report.state, known.report.port) == ("PREPARING", port)
    assert not is_free(port)
    again.send(Release(KEY, {"IRIS_TASK_ADDRESSES": "all"}))
    assert again.ended(KEY).state == "SUCCEEDED"
    assert keeper.log_of(KEY) == "all\n"


def test_keeper_that_dies_loses_a_member_that_waits(start_keeper: StartKeeper) -> None:
    first = start_keeper()
    session = first.accept()
    session.run(KEY, "true", is_gang=True)
    port = session.prepared(KEY)
    first.kill()
    session.die()
    second = start_keeper()
    told = second.accept().told
    (known,) = [message for message in told if isinstance(message, Known)]
    assert known.report is not None
    assert (known.report.state, known.report.reason, known.report.port) == ("KILLED", "keeper_lost", port)
    assert is_free(port)
    assert second.leave() == 0


def test_no_port_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        monkeypatch.setattr(ports, "FIRST_PORT", number)
        monkeypatch.setattr(ports, "LAST_PORT", number)
        with pytest.raises(NoPort, match=f"no free port was found between {number} and {number}"):
            reserve_port()
    port = reserve_port()
    assert port.number == number
    with pytest.raises(NoPort):
        reserve_port()
    port.close()
    port.close()
    reserve_port().close()


def test_keeper_without_descriptors_says_no_port(keeper: KeeperUnderTest) -> None:
    """Not enough to hold another port; enough for everything else to go on."""
    session = keeper.accept()
    keys = [f"job/{index}/7/1" for index in range(80)]
    session.run("before/0/7/1", "true")
    session.ended("before/0/7/1")
    soft, hard = resource.prlimit(keeper.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(keeper.process.pid, resource.RLIMIT_NOFILE, (60, hard))
    session.run(keys[0], "true", is_gang=True)
    session.send(*(Start(key, "", {}) for key in keys[1:]))
    session.read_until(lambda: len(session.reports) == 81, "all reports")
    refused = {r.reason for key in keys for r in session.reports[key] if r.state == "KILLED"}
    assert refused == {"no_port"}
    resource.prlimit(keeper.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    session.run("after/0/7/1", "true")
    assert session.ended("after/0/7/1").state == "SUCCEEDED"


def test_port_is_on_record(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, "true", is_gang=True)
    port = session.prepared(KEY)

    def is_listed() -> bool:
        lines = map(json.loads, (keeper.host_dir / "keeper.jsonl").read_text().splitlines())
        return {"kind": "port", "id": KEY, "port": port} in list(lines)

    eventually(is_listed, "the port on record")
