"""A detached agent on a host, as the platform starts one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from iris_platform import env_probe, processes
from tests.bootstrap.support import eventually, host_processes


class Agent:
    """A detached agent on a host."""

    def __init__(self, host_dir: Path, controller_file: Path) -> None:
        self.host_dir = host_dir
        place = env_probe.Environment(
            cluster="demo",
            cluster_id="abcdefghij",
            slice_name="iris-abcdefghij-here-1-1",
            worker_index=2,
            group="here",
            zone="local",
            accelerator_type="cpu",
            cpu_millis=4000,
            memory_bytes=0,
            labels={"iris-group": "here"},
            controller_file=controller_file,
            address="127.0.0.1",
        )
        env_probe.write_environment(host_dir, place)

    def start(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "iris_bootstrap",
            "run",
            "--host-dir",
            str(self.host_dir),
            "--detach",
        ]
        return subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=60, env={**os.environ, **environ}
        )

    def pids(self) -> tuple[int, int]:
        """The keeper's and the session's."""
        found: dict[str, int] = {}

        def are_listed() -> bool:
            lines = (self.host_dir / processes.KEEPER_FILE).read_text().splitlines()
            found.update((line["kind"], line["pid"]) for line in map(json.loads, lines) if "pid" in line)
            return {"boot", "session"} <= found.keys()

        eventually(are_listed, "keeper and session on record")
        return found["boot"], found["session"]

    def log(self) -> str:
        return (self.host_dir / "agent.log").read_text()

    def is_gone(self) -> bool:
        return not host_processes(self.host_dir)

    def leave(self) -> None:
        if not self.is_gone():
            os.kill(self.pids()[0], signal.SIGTERM)
            eventually(self.is_gone, f"the agent has left: {self.log()}")
