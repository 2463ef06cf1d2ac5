"""Agents and the controller in an image, under the engines that hosts really have."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.harness.hosts.engines import IMAGE, Image, make_image, start_engine
from tests.hosts.test_manual_cluster import ManualCluster
from tests.hosts.test_remote_controller import RemoteCluster

HEALTH_PORT = 10500
CONTAINER = f"""\
bootstrap:
  container: {{ image: '{IMAGE}', env: {{ GREETING: hello }}, health_port: {HEALTH_PORT} }}
"""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return make_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def clusters() -> Iterator[list[ManualCluster]]:
    made: list[ManualCluster] = []
    yield made
    for cluster in made:
        cluster.destroy()


def start(cluster: ManualCluster, clusters: list[ManualCluster]) -> None:
    clusters.append(cluster)
    cluster.config.write_text(cluster.config.read_text() + CONTAINER)
    cluster.iris("cluster", "start")


def listens(host: Host, port: int) -> bool:
    return f":{port:04X} 00000000:0000 0A" in host.output("cat", "/proc/net/tcp")


def process_of(host: Host, *words: str) -> int:
    """The pid here of the one process with all these words."""
    (found,) = (pid for pid, line in host.processes().items() if all(word in line for word in words))
    return found


ENGINES_GROUP = "cgroup libpod_parent/libpod-"


# What is killed: the container's own process, or the client that we keep running, which leaves
# the container behind.
@pytest.mark.parametrize(
    ("name", "user", "killed"),
    [("docker", "somebody", "iris_bootstrap keeper"), ("podman", "root", "bin/podman run")],
)
def test_agents_in_an_image(
    name: str, user: str, killed: str, image: Image, lab: Lab, tmp_path: Path, clusters: list[ManualCluster]
) -> None:
    host = lab.host("a")
    if user != "root":
        host.add_user(user)
        host.output("usermod", "--append", "--groups", "docker", user)
    engine = start_engine(host, name)
    engine.load(image)
    before = host.listing()
    cluster = ManualCluster(tmp_path, lab, [host], idle_timeout="1m")
    text = cluster.config.read_text()
    cluster.config.write_text(text.replace("ssh_key_file:", f"ssh_user: {user}, ssh_key_file:"))
    start(cluster, clusters)
    script = "hostname; echo $GREETING; command -v iris-bootstrap; id -u"
    name_there, greeting, path, uid = cluster.iris("job", "run", "--", "sh", "-c", script).out.split()
    assert (name_there, greeting) == (host.name, "hello") and path.startswith("/opt/iris/")
    assert uid == host.output("id", "-u", user).strip()
    assert engine.containers() == ["iris-worker"] and listens(host, HEALTH_PORT)
    first = process_of(host, "iris_bootstrap", "keeper")
    job = cluster.submit("--", "sleep", "1000")
    wait_until(lambda: "sleep 1000" in host.processes().values())
    os.kill(process_of(host, killed), signal.SIGKILL)
    wait_until(lambda: cluster.json("job", "show", job)["tasks"][0]["losses"] == 1)
    wait_until(lambda: cluster.json("job", "show", job)["tasks"][0]["state"] == "TASK_STATE_RUNNING")
    # The one that was lost is dead, and not only forgotten.
    assert list(host.processes().values()).count("sleep 1000") == 1
    assert process_of(host, "iris_bootstrap", "keeper") != first
    assert engine.containers() == ["iris-worker"]
    cluster.iris("cluster", "stop", "-y")
    assert (engine.containers(), engine.images()) == ([], [IMAGE])
    # The engine takes its groups away a moment after the container; one that was killed forgets
    # some that are empty, and they are its own. Processes in them would be listed.
    wait_until(lambda: [line for line in host.listing().since(before) if ENGINES_GROUP not in line] == [])
    assert not list(tmp_path.glob("**/bundles/*"))
    assert cluster.processes() == {}


def test_a_controller_in_an_image_beside_an_agent(
    image: Image, lab: Lab, tmp_path: Path, clusters: list[ManualCluster]
) -> None:
    host = lab.host("a")
    engine = start_engine(host, "podman")
    engine.load(image)
    before = host.listing()
    cluster = RemoteCluster(tmp_path, lab, [host, host])
    start(cluster, clusters)
    assert engine.containers() == ["iris-controller"] and listens(host, HEALTH_PORT)
    job = cluster.submit("--", "sh", "-c", "sleep 5; hostname")
    wait_until(lambda: sorted(engine.containers()) == ["iris-controller", "iris-worker"])
    # One port cannot be for both.
    wait_until(lambda: listens(host, HEALTH_PORT + 1))
    # Killed before, it would leave the script that it had uploaded.
    wait_until(lambda: host.output("ls", "/tmp") == "")
    os.kill(process_of(host, "iris-controller", "--resume", "python"), signal.SIGKILL)
    wait_until(lambda: not listens(host, HEALTH_PORT))
    wait_until(lambda: listens(host, HEALTH_PORT))
    cluster.iris("job", "wait", job)
    assert cluster.iris("job", "logs", job).out == f"{host.name}\n"
    (task,) = cluster.json("job", "show", job)["tasks"]
    assert (task["attempts"], task["losses"]) == (1, 0)
    cluster.iris("cluster", "stop", "-y", "--forget")
    assert (engine.containers(), engine.images()) == ([], [IMAGE])
    # The engine takes its groups away a moment after the container.
    wait_until(lambda: host.listing().since(before) == [])
    assert not list(tmp_path.glob("**/bundles/*"))
