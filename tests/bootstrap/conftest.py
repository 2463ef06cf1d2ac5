"""Fixtures of the agent's tests. Each test has a host of its own, and must leave no process on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from iris_platform import processes
from tests.bootstrap.agents import Agent
from tests.bootstrap.controller import PlayedController
from tests.bootstrap.support import KeeperUnderTest, eventually, host_processes


@pytest.fixture
def host_dir(tmp_path: Path) -> Iterator[Path]:
    """A host's directory; whatever carries its mark must be gone soon after the test."""
    path = (tmp_path / "host").resolve()
    path.mkdir()
    yield path
    try:
        eventually(lambda: not host_processes(path), "no process left on this host", timeout_s=5)
    finally:
        processes.clean_host(path)


StartKeeper = Callable[..., KeeperUnderTest]


@pytest.fixture
def start_keeper(host_dir: Path) -> Iterator[StartKeeper]:
    """Starts keepers, on the test's host unless told otherwise."""
    started: list[KeeperUnderTest] = []

    def start(
        where: Path = host_dir, orphan_timeout_s: float = 1800.0, dead_man: Sequence[str] = ()
    ) -> KeeperUnderTest:
        keeper = KeeperUnderTest(where, orphan_timeout_s, dead_man)
        started.append(keeper)
        return keeper

    yield start
    for keeper in started:
        keeper.close()


@pytest.fixture
def keeper(start_keeper: StartKeeper) -> Iterator[KeeperUnderTest]:
    """A keeper that is told to leave at the end of the test, and must."""
    running = start_keeper()
    yield running
    if running.process.poll() is None:
        assert running.leave() == 0


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[PlayedController]:
    """A controller that is up."""
    played = PlayedController(tmp_path / "controller.json")
    played.start()
    yield played
    played.stop()


@pytest.fixture
def agent(host_dir: Path, controller: PlayedController) -> Iterator[Agent]:
    """An agent that has said hello, and leaves cleanly after the test."""
    agent = Agent(host_dir, controller.file)
    started = agent.start()
    assert (started.returncode, started.stderr) == (0, "")
    controller.connected()
    yield agent
    agent.leave()
