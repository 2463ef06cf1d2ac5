"""The benches: every platform that has to pass the suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_platform.launch import find_executable
from tests.platform import world
from tests.platform.contract.bench import Bench
from tests.platform.contract.cloud_bench import CloudBench
from tests.platform.contract.local_bench import LocalBench
from tests.platform.gcp.clouds import cloud_world


@pytest.fixture(params=["local with a stand-in", "local", "nodes", "queued resources"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A cluster of each provider in turn; nothing of it may be left."""
    if request.param in ("nodes", "queued resources"):
        with cloud_world(tmp_path, is_queued=request.param != "nodes") as cloud:
            yield CloudBench(cloud)
        return
    command = world.agent()
    if request.param == "local":
        executable = find_executable("iris-bootstrap")
        if executable is None:
            pytest.skip("iris-bootstrap is not installed")
        command = (executable,)
    with world.local_world(tmp_path) as made:
        yield LocalBench(made, command)
