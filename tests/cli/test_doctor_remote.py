"""`iris doctor` and a controller's host: what its answers mean, and what runs on it for the doctor."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iris_cli.doctor.asking import argv_of
from iris_cli.doctor.checks import Check, Result
from iris_cli.doctor.controller_host import SiteDoctor, reached_check
from iris_cli.doctor.hosts import Wanted
from iris_config.endpoint import Endpoint
from iris_platform.controller_vm import Site
from iris_platform.controller_vm.site import SITE_FILE
from iris_platform.paths import default_paths
from iris_platform.ssh.connection import CommandResult
from iris_platform.ssh.memory import MemoryHost
from tests.cli.runner import Runner
from tests.cli.test_doctor import FACTS, NOW_MS
from tests.harness.ports import free_port

OURS = {"iris-cluster": "demo", "iris-cluster-id": "aaaaaaaaaa"}
THEIRS = {"iris-cluster": "other", "iris-cluster-id": "bbbbbbbbbb"}
ANEW = {"iris-cluster": "demo", "iris-cluster-id": "bbbbbbbbbb"}
ROOM = {"there": "/", "real": "/x", "free_bytes": 10**10, "trouble": ""}


class Box:
    """A controller's host, and what its programs answer."""

    def __init__(
        self, labels: dict[str, str] | None = None, phase: str = "absent", trouble: str = ""
    ) -> None:
        self.host = MemoryHost()
        self.host.programs["sh",] = self._script
        self.host.programs["/usr/bin/python3",] = self._on_host
        self.labels, self.phase, self.trouble = labels or {}, phase, trouble
        self.room: dict[str, Any] = dict(ROOM)
        self.reaches = "connected SSH-2.0-x"

    def _script(self, argv: tuple[str, ...], data: bytes) -> CommandResult:
        status = {
            "status": "running",
            "phase": self.phase,
            "pid": 7,
            "labels": self.labels,
            "detail": "exit 1",
        }
        answer = {**FACTS, "labels": {"controller": self.labels}} if argv[5] == "probe" else status
        return CommandResult(0, json.dumps(answer).encode(), b"")

    def _on_host(self, argv: tuple[str, ...], data: bytes) -> CommandResult:
        command, words = argv[6], argv[8:]
        answer: dict[str, object] = {"trouble": self.trouble}
        if command == "room":
            answer = {"mounts": "none / ext4 rw 0 0\n", "rooms": dict.fromkeys(words, self.room)}
        elif command == "dial":
            answer = dict.fromkeys(json.loads(data)["to"], self.reaches)
        return CommandResult(0, json.dumps(answer).encode() + b"\n", b"")

    def examine(self, cluster_id: str = "", **places: str) -> tuple[Wanted, dict[str, Check]]:
        site = Site("box", 700, cluster_id=cluster_id, **places)  # type: ignore[arg-type]
        told: list[Check] = []
        doctor = SiteDoctor(
            "demo", site, Endpoint("out", 700), self.host.connect, 60, told.append, lambda: NOW_MS
        )
        with doctor.seat() as seat:
            checks = [*seat.checks]
            checks += [check for found in seat.reached({"w": ("10.0.0.2", 22)}).values() for check in found]
        assert checks == told
        assert all(check.fix for check in checks if check.result is not Result.OK)
        return seat.wanted, {check.check: check for check in checks}


def test_a_good_host() -> None:
    box = Box()
    wanted, found = box.examine()
    assert {check.result for check in found.values()} == {Result.OK}
    assert found["state directory"].message == "/var/lib/iris-host/controller/state/state"
    assert found["reached"].subject == "w"
    listening = wanted.listening
    assert listening is not None and listening.endpoint == Endpoint("out", 700)
    # What listens there has the word that hosts are to hear.
    assert any(
        argv[6:7] == ("listen",) and argv[8:] == (listening.word, "700", "701") for argv in box.host.calls
    )


@pytest.mark.parametrize(
    ("labels", "known", "result", "words", "cluster_id"),
    [
        (OURS, "aaaaaaaaaa", "ok", "ours: its controller", "aaaaaaaaaa"),
        # By its name, for who never started it: and workers are compared with its id.
        (OURS, "", "ok", "ours: its controller", "aaaaaaaaaa"),
        (THEIRS, "", "failed", "belongs to cluster other", ""),
        (THEIRS, "aaaaaaaaaa", "failed", "belongs to cluster other", "aaaaaaaaaa"),
        (ANEW, "aaaaaaaaaa", "failed", "our name and other keys", "aaaaaaaaaa"),
    ],
)
def test_whose_it_is(labels: dict[str, str], known: str, result: str, words: str, cluster_id: str) -> None:
    wanted, found = Box(labels, "ready").examine(known)
    assert found["owner"].result.value == result and words in found["owner"].message
    assert wanted.cluster_id == cluster_id


def test_who_listens_there() -> None:
    wanted, found = Box(OURS, "ready").examine()
    assert wanted.listening is not None and wanted.listening.is_ours
    assert "process 7" in found["ports"].message
    wanted, found = Box(trouble="cannot listen on port 700: in use").examine()
    assert wanted.listening is not None and not wanted.listening.word
    assert "port 700" in found["ports"].message and "controller.manual.port" in found["ports"].fix
    box = Box(OURS, "backing_off")
    assert "exit 1" in box.examine()[1]["ports"].message
    # Its next start must not find our stand-in there.
    assert not any(argv[6:7] == ("listen",) for argv in box.host.calls)


def test_directories_of_its_own() -> None:
    box = Box()
    box.room["trouble"] = "Permission denied"
    box.room["free_bytes"] = 5
    _, found = box.examine(state_dir="/srv/state")
    assert found["state directory"].result is Result.FAILED
    assert "storage.pki_dir" in found["keys directory"].fix
    assert found["disk"].result is Result.FAILED


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("connected", "no SSH server speaks"),
        ("connected HTTP/1.1 400", "no SSH server speaks"),
        ("refused", "nobody listens there"),
        ("failed timed out", "timed out"),
        ("", "did not say"),
    ],
)
def test_a_host_that_is_not_reached(answer: str, words: str) -> None:
    check = reached_check("w", ("10.0.0.2", 22), answer, "box")
    assert check.result is Result.FAILED and words in check.message
    between = "TCP from the controller's host box to port 22 of 10.0.0.2"
    assert between in check.fix or not answer


def test_a_cluster_that_has_its_controller_elsewhere(iris: Runner) -> None:
    path = iris.home / "demo.yaml"
    path.write_text("name: demo\ncontroller: { manual: { host: box } }\nscale_groups: {}\n")
    state = iris.home / "state" / "iris" / "demo"
    assert default_paths("demo").state_dir.name == state.name
    state.mkdir(parents=True)
    (state / SITE_FILE).write_text('{"host": "old", "port": 10400}')
    done = iris("doctor", str(path), "-o", "json")
    (bad,) = [check for check in done.document["checks"] if check["result"] == "failed"]
    assert "was started with its controller on old" in bad["message"] and "stop it first" in bad["fix"]


# -- what runs on hosts ------------------------------------------------------


@pytest.fixture
def stand_in() -> Iterator[subprocess.Popen[bytes]]:
    port = free_port("127.0.0.1", together=2)
    argv = argv_of(sys.executable, "listen", 20, "word", str(port), str(port + 1))
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def on_host(command: str, *words: str, given: object = None) -> Any:
    argv = argv_of(sys.executable, command, 20, *words)
    done = subprocess.run(argv, input=json.dumps(given).encode(), capture_output=True, timeout=20, check=True)
    return json.loads(done.stdout)


def test_what_is_dialled(stand_in: subprocess.Popen[bytes]) -> None:
    assert stand_in.stdout is not None
    assert json.loads(stand_in.stdout.readline()) == {"trouble": ""}
    port, free = int(stand_in.args[-1]), free_port("127.0.0.1")  # type: ignore[index,arg-type]
    to = {
        "a": ("127.0.0.1", port),
        "b": ("127.0.0.1", free),
        "c": ("127.0.0.1", 70_000),
        "d": ("no.invalid", 1),
    }
    found = on_host("dial", given={"wait_s": 5, "hears": True, "to": to})
    assert (found["a"], found["b"]) == ("connected word", "refused")
    assert found["c"].startswith("failed ") and found["d"].startswith("failed ")
    assert on_host("listen", "other", str(port))["trouble"].startswith(f"cannot listen on port {port}")
    # Nobody reads it any more.
    stand_in.stdout.close()
    assert stand_in.wait(10) == 0
    socket.create_server(("127.0.0.1", port)).close()


def test_a_stand_in_ends_at_its_deadline() -> None:
    port = free_port("127.0.0.1")
    argv = argv_of(sys.executable, "listen", 1, "word", str(port))
    assert subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20).returncode == -14


def test_what_there_is_room_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    good, bad = str(tmp_path / "a" / "b"), str(tmp_path / "file" / "b")
    found = on_host("room", good, bad)
    assert found["rooms"][good]["there"] == str(tmp_path) and not found["rooms"][good]["trouble"]
    assert found["rooms"][bad]["trouble"] == "Not a directory"
    assert " / " in found["mounts"] and not (tmp_path / "a").exists()
