"""A home with a configuration, and a stand-in controller as a process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from iris_platform import PlatformSettings, create_platform, processes
from iris_platform.base import HostResources, SliceSpec
from iris_platform.controller_file import read_controller_file
from iris_platform.identity import ensure_identity
from iris_platform.names import slice_labels, slice_name
from iris_platform.paths import ClusterPaths
from iris_proto.v1.config_pb2 import LocalProvider, ProviderConfig
from tests.cli.runner import Finished, Runner

AGENT = Path(__file__).parent.parent / "platform" / "stand_in_agent.py"
CONFIG = """\
name: demo
scale_groups:
  here: { provider: { local: {} }, max_slices: 2 }
  there: { provider: { local: {} }, zones: [attic] }
"""


@dataclass
class Bench:
    """A home with a configuration, and an interpreter with a stand-in controller beside it."""

    iris: Runner

    @property
    def paths(self) -> ClusterPaths:
        state = self.iris.home / "state"
        return ClusterPaths(
            state / "iris" / "demo", state / "iris-pki" / "demo", state / "iris-local" / "demo"
        )

    @property
    def config(self) -> Path:
        return self.iris.home / "demo.yaml"

    def start(self, *words: str) -> Finished:
        return self.iris("cluster", "start", "--config", "demo.yaml", *words)

    def stop(self, *words: str) -> Finished:
        return self.iris("cluster", "stop", "--config", "demo.yaml", *words)

    def install(self, *faults: str) -> None:
        """The controller that the next start finds."""
        program = self.iris.home / "bin" / "iris-controller"
        fault = "".join(f" {word}" for word in faults)
        program.write_text(
            f'#!/bin/sh\nexec {self.iris.python} -m tests.cli.stand_in_controller{fault} "$@"\n'
        )
        program.chmod(0o755)

    def pid(self) -> int | None:
        record = read_controller_file(self.paths.controller_file)
        return record.pid if record else None

    def add_slice(self, number: int, group: str = "here", zone: str = "local") -> str:
        """A slice with an agent that runs, as a controller would have made it."""
        identity = ensure_identity("demo", self.paths.pki_dir)
        agent = (sys.executable, "-I", "-S", str(AGENT))
        local = ProviderConfig(local=LocalProvider())
        settings = PlatformSettings(local, (zone,), identity, self.paths, agent_command=agent)
        name = slice_name(identity.cluster_id, group, 1_700_000_000_000, number)
        labels = slice_labels("demo", identity.cluster_id, group, name)
        create_platform(settings).create_slice(
            SliceSpec(name, group, 1, HostResources(1000), "cpu", labels), zone
        )
        return name

    def agents(self) -> list[int]:
        """The processes of every slice."""
        root = self.paths.local_root.resolve()
        marks = processes.marks(processes.HOST_MARK)
        return [pid for pid, value in marks.items() if Path(value).is_relative_to(root)]
