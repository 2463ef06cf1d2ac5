"""Agents and the controller in an image, under the engines that hosts really have."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.harness.hosts.engines import IMAGE, Engine, Image, make_image, start_engine
from tests.hosts.test_manual_cluster import ManualCluster
from tests.hosts.test_remote_controller import RemoteCluster

HEALTH_PORT = 10500
CONTAINER = f"""\
bootstrap:
  container: {{ image: '{IMAGE}', env: {{ GREETING: hello }}, health_port: {HEALTH_PORT} }}
"""
LISTENERS = "cat /proc/net/tcp"

Cluster = ManualCluster | RemoteCluster
Add = Callable[[ManualCluster], ManualCluster]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return make_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def clusters() -> Iterator[list[ManualCluster]]:
    made: list[ManualCluster] = []
    yield made
    for cluster in made:
        cluster.destroy()


def with_image(cluster: ManualCluster) -> ManualCluster:
    """Nothing can make a bundle."""
    cluster.config.write_text(cluster.config.read_text() + CONTAINER)
    return cluster


def listens(host: Host, port: int) -> bool:
    return f":{port:04X} 00000000:0000 0A" in host.output("cat", "/proc/net/tcp")


def process_of(host: Host, *words: str) -> int:
    """The pid here of the one process with all these words."""
    (found,) = (pid for pid, line in host.processes().items() if all(word in line for word in words))
    return found


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_agents_in_an_image(
    name: str, image: Image, lab: Lab, tmp_path: Path, clusters: list[ManualCluster]
) -> None:
    host = lab.host("a")
    engine = start_engine(host, name)
    engine.load(image)
    before = host.listing()
    cluster = with_image(ManualCluster(tmp_path, lab, [host], idle_timeout="1m"))
    clusters.append(cluster)
    cluster.iris("cluster", "start")
    ran = cluster.iris("job", "run", "--", "sh", "-c", "hostname; echo $GREETING; command -v iris-bootstrap")
    assert ran.out.split()[:2] == [host.name, "hello"]
    assert ran.out.split()[2].startswith("/opt/iris/")
    assert engine.containers() == ["iris-worker"]
    assert listens(host, HEALTH_PORT)
    keeper = process_of(host, "iris_bootstrap", "keeper")
    job = cluster.submit("--", "sleep", "1000")
    wait_until(lambda: "sleep 1000" in host.processes().values())
    os.kill(keeper, signal.SIGKILL)
    # What ran is dead, not twice there; then it is tried again by another agent.
    cluster.iris("job", "stop", job)
    print(cluster.told(), host.processes())
    again = cluster.iris("job", "run", "--", "hostname")
    assert again.out == f"{host.name}\n"
    assert process_of(host, "iris_bootstrap", "keeper") != keeper
    cluster.iris("cluster", "stop", "-y")
    assert engine.containers() == []
    assert engine.images() == [IMAGE]
    assert host.listing().since(before) == []
    assert not list(tmp_path.glob("**/*.whl")) and not list(cluster.state_dir.glob("bundles/*"))
    assert cluster.processes() == {}
