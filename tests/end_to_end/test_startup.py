"""What keeps the three executables from starting: one clear line, the right status, nothing left.

Mounts are made in a namespace of the child's own, so that none outlives it.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from iris_config import load_config
from iris_platform import processes
from iris_platform.env_probe import HOST_FILE
from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import COMMAND_S, LocalCluster, Result, wait_until

BIN = Path(sys.executable).parent

# A tmpfs over $DIR with the cluster's directories in it: read-only, or without room.
READ_ONLY = 'mount -t tmpfs none "$DIR" && mkdir -p "$DIR/here" && mount -o remount,ro "$DIR"'
FULL = 'mount -t tmpfs -o size=8k none "$DIR" && mkdir -p "$DIR/here"; head -c 65536 /dev/zero >"$DIR/x"'


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalCluster]:
    """A cluster that was never started."""
    cluster = LocalCluster(tmp_path)
    yield cluster
    cluster.destroy()


def run(cluster: LocalCluster, words: list[str], mount: str = "true", directory: str = "") -> Result:
    """A command of ours, after a mount that only it and what it starts can see."""
    script = f'{mount} 2>/dev/null; exec timeout -k 5 {COMMAND_S / 2:g} "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(BIN / words[0]), *words[1:]],
        env={**cluster.environ, "DIR": directory},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def controller_words(cluster: LocalCluster, **places: str) -> list[str]:
    resolved = cluster.home / "resolved.json"
    resolved.write_text(load_config(cluster.config).to_json())
    found = {"config": str(resolved)}
    found |= {name: str(cluster.home / name) for name in ("state-dir", "pki-dir", "local-root")}
    found |= {name.replace("_", "-"): value for name, value in places.items()}
    return ["iris-controller", *(word for name, value in found.items() for word in (f"--{name}", value))]


def mounted(cluster: LocalCluster) -> str:
    path = cluster.home / "mounted"
    path.mkdir()
    return str(path)


@pytest.mark.parametrize(
    ("place", "mount"),
    [
        ("state_dir", READ_ONLY),
        ("pki_dir", READ_ONLY),
        ("local_root", READ_ONLY),
        ("state_dir", FULL),
        # Not the local root: a disk may have room again by the time that a slice is wanted.
        ("pki_dir", FULL),
    ],
)
def test_the_controllers_directories(fresh: LocalCluster, place: str, mount: str) -> None:
    directory = mounted(fresh)
    done = run(fresh, controller_words(fresh, **{place: f"{directory}/here"}), mount, directory)
    assert done.code == 2
    assert done.err.startswith(f"iris-controller: {directory}/here") and done.err.count("\n") == 1
    words = ("Read-only file system", "cannot be written") if mount == READ_ONLY else ("No space", "full")
    assert any(word in done.err for word in words), done.err
    assert fresh.processes() == {}


@pytest.mark.parametrize("option", ["--state-dir", "--pki-dir", ""])
def test_the_operators_directories(fresh: LocalCluster, option: str) -> None:
    directory = mounted(fresh)
    words = ["iris", "--config", str(fresh.config), "cluster", "start"]
    if option:
        words += [option, f"{directory}/here"]
    else:
        fresh.environ["XDG_STATE_HOME"] = directory
    done = run(fresh, words, READ_ONLY, directory)
    assert done.code == 1 and "Read-only file system" in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("iris: ")]) == 1
    assert fresh.processes() == {}


def test_the_agents_directory(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="10m")
    cluster.iris("job", "run", "--", "true")
    host = next((cluster.home / "state" / "iris-local").rglob(HOST_FILE)).parent
    copied = f'cp {shlex.quote(str(host / HOST_FILE))} "$DIR/host.json"'
    directory = mounted(cluster)
    read_only = f'mount -t tmpfs none "$DIR" && {copied} && mount -o remount,ro "$DIR"'
    for detach in ([], ["--detach"]):
        words = ["iris-bootstrap", "run", "--host-dir", directory, *detach]
        done = run(cluster, words, read_only, directory)
        assert done.code == 1 and "Read-only file system" in done.err, done
        assert done.err.count("\n") == 1, done
        # The agent that has a directory keeps it.
        second = run(cluster, ["iris-bootstrap", "run", "--host-dir", str(host), *detach])
        assert second.code == 1 and "another agent has this directory" in second.err, second
    cluster.iris("job", "run", "--", "true")


def test_a_second_controller(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    pid = cluster.controller_pid()
    done = run(cluster, controller_words(cluster, state_dir=str(cluster.state_dir)))
    assert done.code == 2
    assert done.err == f"iris-controller: {cluster.state_dir}: in use by process {pid} (controller)\n"
    assert cluster.controller_pid() == pid
    cluster.iris("cluster", "status")


def test_a_port_that_is_taken(fresh: LocalCluster) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        text = fresh.config.read_text()
        fresh.config.write_text(f"{text}controller: {{ local: {{ port: {port} }} }}\n")
        done = run(fresh, controller_words(fresh))
        line = f"iris-controller: controller.local.port: cannot listen on 127.0.0.1:{port}: in use?"
        assert (done.code, done.err) == (2, f"{line}\n")
        started = fresh.iris("cluster", "start", expect=1)
        assert f"  {line}\n" in started.err
        assert fresh.processes() == {}
    fresh.iris("cluster", "start")
    fresh.iris("cluster", "stop", "-y")


def test_what_is_no_configuration(fresh: LocalCluster) -> None:
    pipe, garbage, huge = (fresh.home / name for name in ("pipe", "garbage", "huge"))
    os.mkfifo(pipe)
    garbage.write_bytes(os.urandom(4096) + b"\xff")
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    for path in (Path("/dev/zero"), fresh.home, pipe, garbage, huge, fresh.home / "none"):
        for verb in (["cluster", "start"], ["cluster", "stop", "-y"], ["job", "list"]):
            done = run(fresh, ["iris", "--config", str(path), *verb])
            assert done.code == 2 and done.err.startswith(str(path)), done
            assert done.err.splitlines()[-1] == f"iris: {path} cannot be used"
        done = run(fresh, controller_words(fresh, config=str(path)))
        assert done.code == 2 and done.err.startswith(f"iris-controller: {path}:"), done
        assert done.err.count("\n") == 1
    assert fresh.processes() == {}


def test_a_stop_proves_its_end_only_where_it_can_write(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.iris("cluster", "stop", "-y")
    state = str(cluster.state_dir)
    again = 'mount --bind "$DIR" "$DIR" && mount -o remount,bind,ro "$DIR"'
    done = run(cluster, ["iris", "--config", str(cluster.config), "cluster", "start"], again, state)
    assert done.code == 1 and "Read-only file system" in done.err
    done = run(cluster, ["iris", "--config", str(cluster.config), "cluster", "stop", "-y"], again, state)
    # Nothing is there, and nothing has to be written to see that.
    assert done.code == 0, done


def test_a_controller_and_an_agent_without_any_stream(make_cluster: MakeCluster) -> None:
    """Their locks and journals do not get the numbers that others write errors to."""
    cluster = make_cluster(idle_timeout="10m")
    cluster.iris("job", "run", "--", "true")
    host = next((cluster.home / "state" / "iris-local").rglob(HOST_FILE))
    alone = cluster.home / "alone"
    alone.mkdir()
    # Nobody answers there, so that it disturbs no one.
    (alone / HOST_FILE).write_text(host.read_text().replace(str(cluster.state_dir), str(cluster.home / "no")))
    agent = ["iris-bootstrap", "run", "--host-dir", str(alone)]
    for words, ready in (
        (controller_words(cluster), "state-dir/controller.json"),
        (agent, "alone/keeper.jsonl"),
    ):
        command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(BIN / words[0]), *words[1:]]
        process = subprocess.Popen(command, env=cluster.environ)
        try:
            wait_until((cluster.home / ready).exists)
            # An agent's journal is there before it listens to signals.
            wait_until(partial(processes.catches, process.pid, signal.SIGTERM))
            links = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
            assert links == ["/dev/null"] * 3
            process.terminate()
            assert process.wait(COMMAND_S) == 0
        finally:
            process.kill()
            process.wait(COMMAND_S)
    refused = subprocess.run(
        [
            "sh",
            "-c",
            'exec "$@" 2>&-',
            "sh",
            str(BIN / "iris-controller"),
            *controller_words(cluster, config="/")[1:],
        ],
        env=cluster.environ,
        timeout=COMMAND_S,
        check=False,
    )
    assert refused.returncode == 2
