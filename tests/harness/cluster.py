"""A real local cluster, driven through the installed executables as a person would.

Everything of a cluster lives under one directory that also marks its processes,
so a test can prove that none is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = "XDG_STATE_HOME"
COMMAND_S = 60.0
EVENT_S = 60.0
LOOK_S = 0.05
# The pause after a look is so many times as long, within bounds.
PAUSES = 2.0
LONGEST_PAUSE_S = 0.5

CONFIG = """\
name: {name}
scale_groups:
  here:
    provider: {{ local: {{}} }}
    max_slices: {max_slices}
    slice_size: {slice_size}
    host_resources: {{ cpu: {cpu} }}
    idle_timeout: {idle_timeout}
    task_lease: {task_lease}
timeouts:
  beat_interval: 500ms
  suspect_after: {suspect_after}
  stop_grace: 2s
"""


def wait_until(met: Callable[[], bool], deadline_s: float = EVENT_S) -> None:
    """Looks again and again, for what nobody announces; fails after the deadline.

    A look that takes long, as a command does, is taken less often: one after the
    other they would slow down what they wait for.
    """
    pause = threading.Event()
    began = time.monotonic()
    deadline = began + deadline_s
    while not met():
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"never happened within {deadline_s:g} s")
        pause.wait(min(max(LOOK_S, PAUSES * (now - began)), LONGEST_PAUSE_S))
        began = time.monotonic()


@dataclass(frozen=True)
class Result:
    """What a command left: its exit status and both outputs."""

    code: int
    out: str
    err: str


class EventWatch:
    """`iris events --follow`: waits for what the cluster records, instead of sleeping."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._news = threading.Condition()
        self.events: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.events += json.loads(line)["events"]
                self._news.notify_all()

    def seen(self, kind: str, what: str) -> list[dict[str, Any]]:
        """The events of a kind that entered this state."""
        return [e for e in list(self.events) if e["kind"] == kind and e["what"] == what]

    def wait(self, met: Callable[[EventWatch], bool], deadline_s: float = EVENT_S) -> None:
        """Waits until the events meet a condition; fails with all of them after the deadline."""
        with self._news:
            story = "\n".join(f"{e['kind']} {e['subject']} {e['what']} {e['reason']}" for e in self.events)
            assert self._news.wait_for(lambda: met(self), deadline_s), f"never happened; seen:\n{story}"

    def wait_for(self, kind: str, what: str, count: int = 1) -> None:
        """Waits until so many things of a kind have entered a state."""
        self.wait(lambda watch: len(watch.seen(kind, what)) >= count)

    def close(self) -> None:
        """Ends the command."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class LocalCluster:
    """One cluster in one directory."""

    def __init__(
        self,
        home: Path,
        *,
        name: str = "test",
        max_slices: int = 2,
        slice_size: int = 1,
        cpu: float = 2,
        idle_timeout: str = "1s",
        task_lease: str = "10m",
        suspect_after: str = "5s",
        extra: str = "",
    ) -> None:
        self.home = home
        self.name = name
        self.config = home / f"{name}.yaml"
        self.config.write_text(
            CONFIG.format(
                name=name,
                max_slices=max_slices,
                slice_size=slice_size,
                cpu=cpu,
                idle_timeout=idle_timeout,
                task_lease=task_lease,
                suspect_after=suspect_after,
            )
            + extra
        )
        self.environ = {**os.environ, MARK: str(home / "state"), "NO_COLOR": "1"}
        self.environ.pop("IRIS_CONFIG", None)

    @property
    def state_dir(self) -> Path:
        """The controller's state directory."""
        return self.home / "state" / "iris" / self.name

    def spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Starts `iris` and does not wait for it."""
        executable = str(Path(sys.executable).parent / "iris")
        command = [executable, "--config", str(self.config), *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environ, text=True, **{**pipes, **options})

    def iris(self, *arguments: str, expect: int | None = 0) -> Result:
        """Runs `iris` to its end; fails unless it exits as expected (None: whatever)."""
        process = self.spawn(*arguments)
        try:
            out, err = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"iris {arguments} hangs; so far:\n{out}\n{err}") from None
        result = Result(process.returncode, out, err)
        assert expect is None or result.code == expect, f"iris {arguments}: {result}"
        return result

    def json(self, *arguments: str) -> Any:
        """What `iris -o json` prints."""
        return json.loads(self.iris("-o", "json", *arguments).out)

    def submit(self, *arguments: str) -> str:
        """`iris job run --detach`; the job's id."""
        return self.iris("job", "run", "--detach", *arguments).out.strip()

    @contextmanager
    def events(self) -> Iterator[EventWatch]:
        """Watches events while the block runs."""
        watch = EventWatch(self.spawn("-o", "json", "events", "--follow", stderr=subprocess.DEVNULL))
        try:
            yield watch
        finally:
            watch.close()

    def controller_pid(self) -> int:
        """The controller's process, as `controller.json` says."""
        return int(json.loads((self.state_dir / "controller.json").read_text())["pid"])

    def kill_controller(self) -> None:
        """SIGKILL to the controller, and nothing else; returns when it is gone."""
        pid = self.controller_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in self.processes())

    def pids(self, *words: str) -> list[int]:
        """The cluster's processes whose command line has all these words."""
        return [pid for pid, line in self.processes().items() if all(word in line for word in words)]

    def processes(self) -> dict[int, str]:
        """Everything alive that this cluster started, by pid, with its command line."""
        mark = f"{MARK}={self.environ[MARK]}".encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    found[int(entry.name)] = b" ".join(words).decode(errors="replace").strip()
            except OSError:
                # It ended while we looked.
                continue
        return found

    def destroy(self) -> None:
        """Kills whatever is left, so that a failed test leaves nothing behind."""
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
