"""A home directory with a controller in it, and `iris` to talk to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_platform import processes
from tests.cli.bench import CONFIG, Bench
from tests.cli.fake_controller import FakeController
from tests.cli.fake_service import FakeService
from tests.cli.runner import HOME_MARK, Runner


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


@pytest.fixture
def bench(iris: Runner) -> Iterator[Bench]:
    (iris.home / "bin").mkdir()
    iris.python = iris.home / "bin" / "python"
    iris.python.symlink_to(sys.executable)
    # Found through a link it does not know its virtual environment.
    iris.env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    found = Bench(iris)
    found.config.write_text(CONFIG)
    found.install()
    yield found
    home = str(iris.home)
    processes.kill_all(lambda: [*found.agents(), *processes.marked(HOME_MARK, home)])
