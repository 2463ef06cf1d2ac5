"""What every test of this folder starts from."""

import sys
from pathlib import Path

import pytest

from tests.dist.wheels import PACKAGES, run, wheel_of


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five wheels, each built from its own sdist, and all that they depend on."""
    house = tmp_path_factory.mktemp("wheels")
    for folder in PACKAGES.values():
        run("uv", "build", "--quiet", "--out-dir", house, folder)
    ours = [wheel_of(name, house) for name in PACKAGES]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "download", "--quiet", "--only-binary", ":all:", "-c", "constraints.txt", "-d", house, *ours)
    return house


@pytest.fixture
def python(tmp_path: Path) -> Path:
    run("uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    return tmp_path / "venv/bin/python"
