"""Hosts and bundles for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from iris_platform.bundle import Bundle
from tests.platform.bootstrap.hosts import Host, find_python
from tests.platform.bootstrap.made import make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("newer"), "2.0")


@pytest.fixture
def host() -> Iterator[Host]:
    # Not below tmp_path: a socket's address has to hold the name.
    with TemporaryDirectory(prefix="iris-host-") as folder:
        made = Host(Path(folder) / "h", find_python("3.11"))
        yield made
        made.end()
