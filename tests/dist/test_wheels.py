"""Every package builds, and its wheel installs with only the siblings that it needs."""

import zipfile
from pathlib import Path

import pytest

from tests.dist.wheels import EXECUTABLES, PACKAGES, ROOT, install, run, wheel_of

LIBRARIES = {"iris-config", "iris-platform"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_installs_with_only_the_siblings_it_needs(name: str, python: Path, wheels: Path) -> None:
    installed = install(python, wheels, name)
    siblings = {"iris-config": {"iris-config"}, "iris-platform": LIBRARIES}.get(name, LIBRARIES | {name})
    assert installed & PACKAGES.keys() == siblings
    # Who starts machines brings what it takes; hosts and libraries do not.
    takes = {"paramiko", "google-cloud-tpu"}
    assert installed & takes == (takes if name in ("iris-controller", "iris-cli") else set())
    run(python, "-c", f"import {name.replace('-', '_')}, iris_proto.v1.config_pb2")


def test_every_wheel_has_the_license(wheels: Path) -> None:
    for name in PACKAGES:
        with zipfile.ZipFile(wheel_of(name, wheels)) as wheel:
            (license_file,) = (entry for entry in wheel.namelist() if entry.endswith("/LICENSE"))
            assert wheel.read(license_file) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize(("name", "executable"), EXECUTABLES.items())
def test_an_executable_knows_its_version(name: str, executable: str, python: Path, wheels: Path) -> None:
    install(python, wheels, name)
    version = wheel_of(name, wheels).name.split("-")[1]
    assert version in run(python.with_name(executable), "--version")
