"""The bench as fixtures: a conftest imports what its folder uses, the hooks included."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.harness.hosts.lab import Lab
from tests.harness.hosts.needs import BenchLacks


@pytest.fixture
def lab() -> Generator[Lab]:
    """An empty lab."""
    with Lab() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """A test that needs what this machine lacks is skipped, with the reason."""
    try:
        return (yield)
    except BenchLacks as lack:
        pytest.skip(str(lack))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    """So is one whose fixture does."""
    try:
        return (yield)
    except BenchLacks as lack:
        pytest.skip(str(lack))
