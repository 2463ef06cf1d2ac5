"""`iris doctor`: this machine, the configuration, and what a host's answers mean."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from iris_cli.doctor.checks import Check, Result
from iris_cli.doctor.directories import LEAST_FREE_BYTES, disk_check
from iris_cli.doctor.hosts import HostDoctor, Listening, Wanted, reach_check
from iris_cli.doctor.local import check_machine
from iris_cli.doctor.on_host import PortTaken
from iris_cli.doctor.ports import Beacon
from iris_cli.doctor.wheels import check_wheels
from iris_config.endpoint import Endpoint
from iris_platform.base import ContainerSpec
from iris_platform.bootstrap import NO_CONTAINER
from iris_platform.bundle import AGENT
from iris_platform.paths import ClusterPaths
from iris_platform.ssh import HostKeyChanged, SshTarget
from iris_platform.ssh.connection import CommandResult
from iris_platform.ssh.memory import MemoryHost
from tests.cli.runner import Runner
from tests.cli.terminal import Terminal

GOOD = "name: demo\nscale_groups:\n  here: { provider: { local: {} } }\n"
NOW_MS = 1_700_000_000_000
ENDPOINT = Endpoint("10.0.0.1", 10400)
STAND_IN, OURS, NOBODY = (
    Listening(ENDPOINT, word="w"),
    Listening(ENDPOINT, is_ours=True),
    Listening(ENDPOINT),
)
FACTS = {
    "status": "found",
    "python": "3.11.2",
    "machine": "x86_64",
    "executable": "/usr/bin/python3",
    "root": "/var/lib/iris-host",
    "free_bytes": 10**10,
    "wall_ms": NOW_MS,
    "labels": {"worker": {}, "controller": {}},
}


# -- the command -------------------------------------------------------------


def write(iris: Runner, text: str) -> str:
    path = iris.home / "demo.yaml"
    path.write_text(text)
    return str(path)


def test_a_local_cluster_on_a_good_machine(iris: Runner) -> None:
    done = iris("doctor", write(iris, GOOD))
    assert done.status == 0, done
    # Once, since nobody sits in front of it.
    lines = [line.split(": ") for line in done.text.splitlines()]
    assert [line[0] for line in lines] == ["configuration", *["this machine"] * 4]
    assert [line[2] for line in lines] == ["ok"] * 5
    assert done.err == ""
    # It made nothing.
    assert [path.name for path in iris.home.iterdir()] == ["demo.yaml"]


def test_a_terminal_gets_a_table_in_the_end(iris: Runner) -> None:
    with Terminal(iris, "doctor", write(iris, GOOD)) as terminal:
        assert terminal.finish() == 0
    lines, header, rows = terminal.shown.partition("HOST ")
    assert header and lines.count(": ok") == rows.count("  ok") == 5


def test_one_document_and_a_wide_table(iris: Runner) -> None:
    path = write(iris, GOOD)
    done = iris("--config", path, "doctor", "-o", "json")
    first = done.document["checks"][0]
    assert first == {
        "subject": "configuration",
        "check": "valid",
        "result": "ok",
        "message": path,
        "fix": "",
    }
    assert path in iris("doctor", path, "-o", "wide").text


def test_a_wrong_configuration_ends_there(iris: Runner) -> None:
    done = iris("doctor", write(iris, "name: demo\nscale_grups: {}\n"), "-o", "json")
    assert done.status == 2
    found = [check for check in done.document["checks"] if check["result"] == "failed"]
    assert "scale_grups" in found[0]["message"] and found[0]["fix"].endswith("demo.yaml:2")
    assert iris("doctor", "nowhere.yaml").status == 2


def test_a_state_directory_that_cannot_be_made(iris: Runner) -> None:
    text = GOOD + "storage: { state_dir: /proc/nothing/here }\n"
    done = iris("doctor", write(iris, text), "-o", "json")
    assert done.status == 1
    found = {check["check"]: check for check in done.document["checks"]}
    assert found["state directory"]["result"] == "failed"
    assert "storage.state_dir" in found["state directory"]["fix"]
    assert found["keys directory"]["result"] == "ok"


# -- this machine ------------------------------------------------------------


def test_a_machine_is_left_as_it_was(tmp_path: Path) -> None:
    checks = check_machine(ClusterPaths(tmp_path / "a" / "b", tmp_path / "c", tmp_path / "d"))
    assert {check.result for check in checks} == {Result.OK}
    assert os.listdir(tmp_path) == []


def test_a_disk_with_little_room() -> None:
    assert disk_check("h", LEAST_FREE_BYTES, "/").result is Result.OK
    full = disk_check("h", LEAST_FREE_BYTES - 1, "/")
    assert full.result is Result.FAILED and full.fix


def test_a_beacon_says_its_word_and_frees_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            Beacon((port,))
    with Beacon((port,)) as beacon:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), 5) as peer:
                assert peer.recv(64).decode() == beacon.word
    with Beacon((port,)) as again:
        assert again.word != beacon.word
    with pytest.raises(PortTaken, match="no port 65536"):
        Beacon((65536,))


# -- hosts -------------------------------------------------------------------


def machine(facts: Mapping[str, Any], dial: Mapping[str, str] | None = None, status: int = 0) -> MemoryHost:
    """A host on which the script says `facts`, and whose tries to reach us end as in `dial`."""
    host = MemoryHost()
    host.programs["sh",] = lambda argv, data: CommandResult(status, json.dumps(facts).encode(), b"")
    host.programs["/usr/bin/python3",] = lambda argv, data: CommandResult(0, json.dumps(dial).encode(), b"")
    return host


def examine(
    host: MemoryHost,
    cluster_id: str = "",
    listening: Listening = NOBODY,
    container: ContainerSpec = NO_CONTAINER,
) -> dict[str, Check]:
    told: list[Check] = []
    wanted = Wanted("demo", cluster_id, listening, container)
    doctor = HostDoctor(lambda target: host.connect(), wanted, told.append, lambda: NOW_MS)
    checks = doctor.examine("h", SshTarget("h"))
    assert checks == told
    assert all(check.fix for check in checks if check.result is not Result.OK)
    return {check.check: check for check in checks}


def test_a_good_host() -> None:
    host = machine(FACTS, {"10400": "connected w", "10401": "connected w"})
    found = examine(host, listening=Listening(ENDPOINT, word="w"))
    assert list(found) == ["ssh", "python", "disk", "clock", "owner", "reaches us"]
    assert {check.result for check in found.values()} == {Result.OK}


def test_wheels_that_are_not_here_and_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert check_wheels({AGENT: set()}) is None
    check = check_wheels({AGENT: {("3.11", "x86_64")}})
    assert check is not None and check.result is Result.WARNING
    assert check.message.startswith("the agent: wheels of ") and "once" in check.fix
    (tmp_path / "cache").write_text("a file, not a directory")
    check = check_wheels({AGENT: {("3.11", "x86_64")}})
    assert check is not None and check.result is Result.FAILED
    assert "cannot be kept" in check.message and "XDG_CACHE_HOME" in check.fix


@pytest.mark.parametrize(("status", "result"), [(0, Result.OK), (96, Result.FAILED)])
def test_a_controller_elsewhere_has_to_be_let_in(status: int, result: Result) -> None:
    host = machine(FACTS)
    probe = host.programs["sh",]
    host.programs["sh",] = lambda argv, data: (
        CommandResult(status, b"", b"") if "iris-abcdefghij" in argv else probe(argv, data)
    )
    wanted = Wanted("demo", "abcdefghij", lets_in=True)
    doctor = HostDoctor(lambda target: host.connect(), wanted, lambda check: None, lambda: NOW_MS)
    (check,) = [one for one in doctor.examine("h", SshTarget("h")) if one.check == "lets it in"]
    assert check.result is result and ("cluster start" in check.fix) == (result is Result.FAILED)
    assert "lets it in" not in examine(machine(FACTS), "abcdefghij")


def test_an_image_needs_an_engine_and_no_python_of_ours() -> None:
    image = ContainerSpec("ghcr.io/team/iris:1", [], {}, {})
    found = examine(machine({**FACTS, "python": "3.15.0", "engine": "podman"}), container=image)
    assert {found[name].result for name in ("python", "engine")} == {Result.OK}
    assert found["engine"].message == "podman, for ghcr.io/team/iris:1"
    trouble = "docker: Cannot connect to the Docker daemon"
    found = examine(machine({**FACTS, "engine": "", "engine_trouble": trouble}), container=image)
    assert (found["engine"].result, found["engine"].message) == (Result.FAILED, trouble)
    assert examine(machine({**FACTS, "python": "3.15.0"}))["python"].result is Result.FAILED


def test_a_host_that_is_down() -> None:
    host = machine(FACTS)
    host.is_down = True
    found = examine(host)
    assert list(found) == ["ssh"] and "is down" in found["ssh"].message


def test_a_host_key_that_changed() -> None:
    def refuse(target: SshTarget) -> Any:
        raise HostKeyChanged("the host key of h has changed; remove line 1 of FILE")

    (check,) = HostDoctor(refuse, Wanted("demo", "", NOBODY), lambda check: None).examine("h", SshTarget("h"))
    assert check.result is Result.FAILED and "remove line 1" in check.message


def test_what_the_script_says_of_python() -> None:
    failed = {"status": "failed", "step": "python", "reason": "python3 3.9 is too old", "log_tail": ""}
    found = examine(machine(failed, status=2))
    assert found["python"].message == "python3 3.9 is too old" and "3.10" in found["python"].fix
    found = examine(machine({**FACTS, "python": "3.14.0"}))
    assert found["python"].result is Result.FAILED


def test_a_host_without_room_for_the_script() -> None:
    host = machine(FACTS)
    host.programs["sh",] = lambda argv, data: CommandResult(97, b"", b"No space left on device")
    found = examine(host)
    assert "No space left" in found["disk"].message.replace("'", "")


@pytest.mark.parametrize(
    ("offset_s", "result"),
    [(0, "ok"), (60, "ok"), (-60, "ok"), (61, "failed"), (-61, "failed")],
)
def test_a_clock(offset_s: int, result: str) -> None:
    found = examine(machine({**FACTS, "wall_ms": NOW_MS + 1000 * offset_s}))
    assert found["clock"].result.value == result


@pytest.mark.parametrize(
    ("cluster", "cluster_id", "result", "words"),
    [
        ("demo", "aaaaaaaaaa", "ok", "ours: slice s1"),
        ("demo", "bbbbbbbbbb", "failed", "our name and other keys"),
        ("other", "bbbbbbbbbb", "failed", "belongs to cluster other"),
    ],
)
def test_whose_a_host_is(cluster: str, cluster_id: str, result: str, words: str) -> None:
    labels = {"iris-cluster": cluster, "iris-cluster-id": cluster_id, "iris-slice": "s1"}
    found = examine(machine({**FACTS, "labels": {"worker": labels}}), "aaaaaaaaaa")
    assert found["owner"].result.value == result and words in found["owner"].message


@pytest.mark.parametrize(
    ("listening", "answer", "result"),
    [
        (STAND_IN, "connected w", "ok"),
        (STAND_IN, "connected v", "failed"),
        (STAND_IN, "connected", "failed"),
        (STAND_IN, "refused", "failed"),
        (STAND_IN, "failed timed out", "failed"),
        (OURS, "connected", "ok"),
        (OURS, "refused", "failed"),
        (NOBODY, "connected", "warning"),
        (NOBODY, "refused", "warning"),
        (NOBODY, "failed No route to host", "failed"),
    ],
)
def test_whether_a_host_reaches_us(listening: Listening, answer: str, result: str) -> None:
    check = reach_check("h", {"10400": answer, "10401": answer}, listening)
    assert check.result.value == result
    assert bool(check.fix) == (result != "ok")


def test_a_host_that_does_not_say_what_it_reaches() -> None:
    host = machine(FACTS)
    host.answer(["/usr/bin/python3"], b"killed\n", status=137)
    assert examine(host, listening=STAND_IN)["reaches us"].result is Result.FAILED
