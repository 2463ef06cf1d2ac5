"""The five packages, and how a test builds and installs them."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {
    "iris-config": "libs/iris-config",
    "iris-platform": "libs/iris-platform",
    "iris-controller": "apps/iris-controller",
    "iris-bootstrap": "apps/iris-bootstrap",
    "iris-cli": "apps/iris-cli",
}
EXECUTABLES = {"iris-cli": "iris", "iris-controller": "iris-controller", "iris-bootstrap": "iris-bootstrap"}


def run(*command: str | Path, **environment: str) -> str:
    # Relative: uv takes a list here, and the path of a clone may hold a space.
    constraints = {"UV_CONSTRAINT": "constraints.txt", "UV_BUILD_CONSTRAINT": "constraints.txt"}
    env = {**os.environ, **constraints, **environment}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(name: str, wheels: Path) -> Path:
    (wheel,) = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    return wheel


def install(python: Path, wheels: Path, name: str) -> set[str]:
    """Install from `wheels` and nowhere else; returns what is there afterwards."""
    run("uv", "pip", "install", "--quiet", "--python", python, "--no-index", "--find-links", wheels, name)
    listing = run("uv", "pip", "list", "--quiet", "--python", python, "--format", "freeze")
    return {line.partition("==")[0] for line in listing.splitlines()}
