"""Clouds to test against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cloud import Timings
from tests.platform.gcp.clouds import CloudWorld, cloud_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CloudWorld]:
    """Everything is done at once."""
    with cloud_world(tmp_path) as made:
        yield made


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[CloudWorld]:
    """A cloud whose clock stands still until the test puts it forward."""
    with cloud_world(tmp_path, Timings(), stopped=True) as made:
        yield made


@pytest.fixture(params=["nodes", "queued resources"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CloudWorld]:
    """The same, with slices as nodes and as queued resources."""
    with cloud_world(tmp_path, Timings(), is_queued=request.param != "nodes", stopped=True) as made:
        yield made
