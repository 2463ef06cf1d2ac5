"""Every package builds, and its wheel installs with only the siblings that it needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {
    "iris-config": "libs/iris-config",
    "iris-platform": "libs/iris-platform",
    "iris-controller": "apps/iris-controller",
    "iris-bootstrap": "apps/iris-bootstrap",
    "iris-cli": "apps/iris-cli",
}
LIBRARIES = {"iris-config", "iris-platform"}


def run(*command: str | Path) -> str:
    # Relative: uv takes a list here, and the path of a clone may hold a space.
    env = {**os.environ, "UV_CONSTRAINT": "constraints.txt", "UV_BUILD_CONSTRAINT": "constraints.txt"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


def wheel_of(name: str, wheels: Path) -> Path:
    (wheel,) = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    return wheel


def install(python: Path, wheels: Path, name: str) -> set[str]:
    """Install from `wheels` and nowhere else; returns what is there afterwards."""
    run("uv", "pip", "install", "--quiet", "--python", python, "--no-index", "--find-links", wheels, name)
    listing = run("uv", "pip", "list", "--quiet", "--python", python, "--format", "freeze")
    return {line.partition("==")[0] for line in listing.splitlines()}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_installs_with_only_the_siblings_it_needs(name: str, python: Path, wheels: Path) -> None:
    installed = install(python, wheels, name)
    siblings = {"iris-config": {"iris-config"}, "iris-platform": LIBRARIES}.get(name, LIBRARIES | {name})
    assert installed & PACKAGES.keys() == siblings
    assert not installed & {"paramiko", "google-cloud-tpu"}
    run(python, "-c", f"import {name.replace('-', '_')}, iris_proto.v1.config_pb2")


def test_every_wheel_has_the_license(wheels: Path) -> None:
    for name in PACKAGES:
        with zipfile.ZipFile(wheel_of(name, wheels)) as wheel:
            (license_file,) = (entry for entry in wheel.namelist() if entry.endswith("/LICENSE"))
            assert wheel.read(license_file) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize(
    ("name", "executable"),
    [("iris-cli", "iris"), ("iris-controller", "iris-controller"), ("iris-bootstrap", "iris-bootstrap")],
)
def test_an_executable_knows_its_version(name: str, executable: str, python: Path, wheels: Path) -> None:
    install(python, wheels, name)
    version = wheel_of(name, wheels).name.split("-")[1]
    assert version in run(python.with_name(executable), "--version")
