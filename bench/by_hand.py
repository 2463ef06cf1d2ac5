"""A cluster whose controller is the product's and whose hosts are started by whoever measures.

What would have been done on each host is written down by `programs/by_hand.py`; who
does it, and how, is the measurement's affair. Nothing is on another machine as far as
the controller knows: agents dial its TLS port with certificates of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.companion import PROGRAMS
from iris_config import load_config
from iris_platform.controller_file import read_controller_file
from iris_platform.files import make_private_dir
from iris_platform.launch import find_executable
from iris_platform.paths import default_paths
from tests.harness.cluster import LocalCluster, wait_until
from tests.harness.ports import free_port

# For hosts that get no script, only an agent of this machine.
NO_BUNDLE = f"{'0' * 64} /nonexistent"
START_S = 30.0

CONFIG = """\
name: bench
controller: {{ advertise_address: "{address}:{port}" }}
autoscaler: {{ max_creates_per_minute: 1000 }}
scale_groups:
  here:
    provider: {{ manual: {{ hosts: [{hosts}] }} }}
    host_resources: {{ cpu: {cpu} }}
    slice_size: {slice_size}
    idle_timeout: 1h
    task_lease: 10m
timeouts: {{ beat_interval: 500ms, suspect_after: 5s, stop_grace: 2s }}
"""


@dataclass(frozen=True)
class Given:
    """What one host is to be given: the startup script, or its parts, and a token to be used once."""

    slice_name: str
    index: int
    document: Mapping[str, Any]
    script: str
    token: str


class ByHandCluster(LocalCluster):
    """See the module. `address` is where hosts find this machine."""

    def __init__(
        self,
        home: Path,
        *,
        hosts: int = 1,
        cpu: float = 64,
        slice_size: int = 1,
        address: str = "127.0.0.1",
        bundle: str = NO_BUNDLE,
    ) -> None:
        super().__init__(home, name="bench")
        self._hosts = home / "by-hand"
        self.environ.update({"BY_HAND": str(self._hosts), "BY_HAND_BUNDLE": bundle})
        names = ", ".join(f"by-hand-{number}" for number in range(hosts))
        port = free_port("0.0.0.0", together=2)
        self.config.write_text(
            CONFIG.format(hosts=names, cpu=cpu, slice_size=slice_size, address=address, port=port)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the controller; returns when it serves."""
        paths = default_paths(self.name, self.environ)
        self._hosts.mkdir()
        make_private_dir(paths.state_dir)
        paths.config_file.write_text(load_config(self.config).to_json())
        options = {
            "--state-dir": paths.state_dir,
            "--pki-dir": paths.pki_dir,
            "--config": paths.config_file,
            "--local-root": paths.local_root,
        }
        words = [str(word) for option in options.items() for word in option]
        with (self.home / "controller.log").open("ab") as log:
            self._process = process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / "by_hand.py"), *words],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def serves() -> bool:
            assert process.poll() is None, (self.home / "controller.log").read_text()[-2_000:]
            return read_controller_file(paths.controller_file) is not None

        wait_until(serves, START_S)

    def given(self, count: int) -> list[Given]:
        """What the hosts of the slices that were asked for are to be given, when there are so many."""
        wait_until(lambda: len(list(self._hosts.glob("*.json"))) >= count)
        found = []
        for path in sorted(self._hosts.glob("*.json")):
            slice_name, _, index = path.stem.rpartition("-")
            found.append(Given(slice_name, int(index), **json.loads(path.read_bytes())))
        return found

    def start_agent_here(self, given: Given) -> None:
        """Start the agent of one host as a process of this machine; returns when it has joined and runs."""
        place = self.home / f"{given.slice_name}-{given.index}"
        place.mkdir(mode=0o700)

        def filled(value: Any) -> Any:
            return value.replace("@work@", str(place)) if isinstance(value, str) else value

        for name, content in given.document["files"].items():
            if isinstance(content, dict):
                content = json.dumps({key: filled(value) for key, value in content.items()})
            (place / name).write_text(content)
        (place / given.document["secret"]).write_text(given.token)
        agent = find_executable("iris-bootstrap")
        assert agent is not None, "the product is installed"
        words = [filled(word) for word in given.document["arguments"]]
        done = subprocess.run(
            [agent, *words, "--detach"], env=self.environ, capture_output=True, text=True, timeout=START_S
        )
        assert done.returncode == 0, done.stderr

    def destroy(self) -> None:
        """See `LocalCluster.destroy`."""
        super().destroy()
        if self._process is not None:
            self._process.wait()


@contextmanager
def by_hand_cluster(cluster: ByHandCluster) -> Iterator[ByHandCluster]:
    """With its controller, which ends with the block and all that the cluster started here."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()
