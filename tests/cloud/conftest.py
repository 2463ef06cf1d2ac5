"""A cloud with VMs on paper, and the real clients of it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.cloud.clients import TpuUser
from tests.harness.cloud import CloudServer


@pytest.fixture
def cloud() -> Generator[CloudServer]:
    """Its clock is the wall's."""
    with CloudServer() as server:
        yield server


@pytest.fixture
def stopped() -> Generator[CloudServer]:
    """Its clock stands still until the test puts it forward."""
    with CloudServer(stopped=True) as server:
        yield server


@pytest.fixture
def user(cloud: CloudServer) -> Generator[TpuUser]:
    """google-cloud-tpu over gRPC."""
    made = TpuUser(cloud, "grpc")
    yield made
    made.close()


@pytest.fixture
def patient(stopped: CloudServer) -> Generator[TpuUser]:
    """The same, of the cloud whose clock stands still."""
    made = TpuUser(stopped, "grpc")
    yield made
    made.close()


@pytest.fixture(params=["grpc", "rest"])
def either(cloud: CloudServer, request: pytest.FixtureRequest) -> Generator[TpuUser]:
    """google-cloud-tpu over each of its transports."""
    made = TpuUser(cloud, request.param)
    yield made
    made.close()


@pytest.fixture(params=["grpc", "rest"])
def either_patient(stopped: CloudServer, request: pytest.FixtureRequest) -> Generator[TpuUser]:
    """Each of its transports, of the cloud whose clock stands still."""
    made = TpuUser(stopped, request.param)
    yield made
    made.close()
