"""The import contracts of pyproject.toml hold, and each of them can break."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.rules.project import ROOT

# A skeleton of the six packages in which every contract is broken, by one line each.
BROKEN = {
    "the applications talk gRPC": ("iris_cli/main.py", "import iris_controller.main"),
    "the rooms of the controller": ("iris_controller/shell/store.py", "import iris_controller.api"),
    "the core has no I/O": ("iris_controller/core/step.py", "import time"),
    "what the core knows of platforms": ("iris_platform/base.py", "import socket"),
    "the codec only converts": ("iris_controller/codec/job.py", "import grpc"),
    "handlers reach platforms": ("iris_controller/api/service.py", "import iris_platform.local"),
    "the keeper needs the standard library": ("iris_bootstrap/keeper/run.py", "import yaml"),
}
REST = [
    "iris_config/load.py",
    "iris_controller/main.py",
    "iris_platform/local.py",
    "iris_platform/names.py",
    "iris_proto/v1.py",
]


def lint_imports(cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        Path(sys.executable).with_name("lint-imports"),
        "--no-cache",
        "--config",
        ROOT / "pyproject.toml",
    ]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True)


def write_modules(root: Path, modules: Mapping[str, str]) -> None:
    for path, source in modules.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source + "\n")
        for folder in file.relative_to(root).parents[:-1]:
            (root / folder / "__init__.py").touch()


def test_the_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_can_break(tmp_path: Path) -> None:
    write_modules(tmp_path, {**dict.fromkeys(REST, ""), **dict(BROKEN.values())})
    done = lint_imports(tmp_path, PYTHONPATH=str(tmp_path))
    assert f"0 kept, {len(BROKEN)} broken" in done.stdout, done.stdout + done.stderr
    assert all(re.search(rf"{name}.* BROKEN", done.stdout) for name in BROKEN)


def import_all(package: str, *roots: Path) -> subprocess.CompletedProcess[str]:
    """Import every module of `package`, where there is nothing but the standard library and `roots`."""
    program = (
        "import importlib, pkgutil, sys\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "package = importlib.import_module(sys.argv[1])\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
    )
    command: list[str | Path] = [sys.executable, "-I", "-S", "-c", program, package, *roots]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_keeper_starts_with_the_standard_library_alone() -> None:
    done = import_all(
        "iris_bootstrap.keeper", ROOT / "apps/iris-bootstrap/src", ROOT / "libs/iris-platform/src"
    )
    assert done.returncode == 0, done.stderr


def test_anything_else_is_noticed(tmp_path: Path) -> None:
    write_modules(tmp_path, {"good/a.py": "import json", "bad/b.py": "import yaml"})
    assert import_all("good", tmp_path).returncode == 0
    assert "No module named 'yaml'" in import_all("bad", tmp_path).stderr
