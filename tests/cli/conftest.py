"""A home directory with a controller in it, and `iris` to talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fake_controller import FakeController
from tests.cli.fake_service import FakeService
from tests.cli.runner import Runner


@pytest.fixture
def iris(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def controller(iris: Runner) -> Iterator[FakeController]:
    fake = FakeController(iris.state_dir)
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def service(controller: FakeController) -> FakeService:
    return controller.service
