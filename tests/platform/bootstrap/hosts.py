"""A bare host, as far as a directory and an environment can be one: no home, no pip, one `python3` on PATH."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from iris_platform import processes
from iris_platform.base import VmBootstrapSpec
from iris_platform.bootstrap import (
    NO_CONTAINER,
    BundleSource,
    DeadMan,
    Outcome,
    Startup,
    parse_outcome,
    render,
)
from iris_platform.bundle import Bundle
from iris_platform.names import slice_labels

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SLICE = "iris-abcdefghij-g-1700000000000-1"
LABELS = slice_labels("demo", "abcdefghij", "g", SLICE)
DEADLINE_S = 60.0


def find_python(version: str) -> Path:
    """An interpreter of this machine by its minor version; skips where there is none."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(getattr(sys, "_base_executable", sys.executable))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [*sorted(pyenv.glob(f"versions/{version}.*/bin")), Path("/usr/local/bin"), Path("/usr/bin")]
    for folder in folders:
        if (found := folder / f"python{version}").exists():
            return found.resolve()
    pytest.skip(f"this machine has no Python {version}")


@dataclass
class Host:
    """A directory that is a host. `tools` is all of its PATH."""

    folder: Path
    python: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tools.mkdir(parents=True)
        self.home.mkdir()
        (self.tools / "python3").symlink_to(self.python)

    @property
    def tools(self) -> Path:
        return self.folder / "bin"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def root(self) -> Path:
        return self.folder / "r"

    @property
    def worker(self) -> Path:
        return self.root / "worker"

    @property
    def work(self) -> Path:
        return self.worker / "work"

    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.tools), "HOME": str(self.home), "LC_ALL": "C.UTF-8", **self.environ}

    def run(
        self, startup: Startup | str, *words: str, stdin: bytes = b"", wrap: Sequence[str] = ()
    ) -> Outcome:
        """Upload a script and run it, as a caller over SSH does."""
        script = self.folder / "startup.sh"
        script.write_text(startup if isinstance(startup, str) else render(startup))
        done = subprocess.run(
            [*wrap, "/bin/sh", str(script), *words],
            input=stdin,
            capture_output=True,
            env=self.environment(),
            cwd="/",
            timeout=DEADLINE_S,
        )
        assert done.stderr == b"", done.stderr.decode()
        assert done.stdout.count(b"\n") == 1, done.stdout.decode()
        return parse_outcome(done.stdout.decode(), done.returncode)

    def startup(self, bundle: Bundle, mode: str = "serve", **changes: Any) -> Startup:
        """A document for the stand-in agent."""
        parts: dict[str, Any] = {
            "spec": VmBootstrapSpec("worker", NO_CONTAINER, LABELS),
            "bundle": BundleSource(bundle.sha256, path=str(bundle.path)),
            "arguments": (mode, "@work@"),
            "root": str(self.root),
            "manager": "supervisor",
            "dead_man": DeadMan(600),
            "health_s": 20.0,
            "stop_s": 5.0,
        }
        return Startup(**(parts | changes))

    def controller(self, bundle: Bundle, mode: str = "ready", **changes: Any) -> Startup:
        """The same for the stand-in controller."""
        labels = {"iris-cluster": "demo", "iris-cluster-id": "abcdefghij", "iris-role": "controller"}
        spec = VmBootstrapSpec("controller", NO_CONTAINER, labels)
        return self.startup(bundle, spec=spec, arguments=(mode, "@work@"), **changes)

    def state(self, role: str = "worker") -> Mapping[str, Any]:
        path = self.root / role / "state.json"
        found: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def starts(self) -> list[int]:
        """The pid of every start of the stand-in agent."""
        path = self.work / "starts"
        return list(map(int, path.read_text().split())) if path.exists() else []

    def tree(self) -> dict[str, tuple[int, int]]:
        """Every path of the host with its inode and time of change."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            facts = path.lstat()
            found[str(path.relative_to(self.folder))] = (facts.st_ino, facts.st_mtime_ns)
        return found

    def processes(self) -> dict[int, list[str]]:
        """What runs of this host."""
        mark = str(self.folder)
        return {pid: argv for pid, argv in processes.command_lines().items() if any(mark in w for w in argv)}

    def end(self) -> None:
        """Kill what is left."""
        processes.kill_all(lambda: list(self.processes()), 20.0)


def eventually(done: Any, timeout_s: float = 30.0) -> None:
    """Wait for what nobody announces; fails after `timeout_s`."""
    assert processes.wait_until(done, timeout_s), "it did not happen in time"
