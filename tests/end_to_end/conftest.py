"""Clusters for the tests of this folder; each test proves that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cluster import LocalCluster

MakeCluster = Callable[..., LocalCluster]


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[MakeCluster]:
    """Starts clusters; at the end they are stopped, and nothing may be left."""
    made: list[LocalCluster] = []

    def make(**options: Any) -> LocalCluster:
        cluster = LocalCluster(tmp_path, **options)
        made.append(cluster)
        cluster.iris("cluster", "start")
        return cluster

    try:
        yield make
        for cluster in made:
            cluster.iris("cluster", "stop", "-y")
            assert cluster.processes() == {}, "`cluster stop` left processes"
    finally:
        for cluster in made:
            cluster.destroy()


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> LocalCluster:
    """A running cluster: at most two slices of one host with two cpus, idle after a second."""
    return make_cluster()
