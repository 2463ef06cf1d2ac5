"""`./dev demo`: a cluster on this machine, from nothing to nothing, to watch.

Drives the installed `iris` as a person would, in a state directory of its own,
and prints every state change as it happens. Exits 0 only if the jobs succeeded,
their results are right and no process is left.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "examples" / "gang.yaml"
TASKS = 4
# Pi to 60 places, to check the job's answer against.
PI = "3.141592653589793238462643383279502884197169399375105820974944"
DIGITS = 300
SCALE_DOWN_S = 20.0
# What every process of the demo carries in its environment.
MARK = "XDG_STATE_HOME"


class DemoFailed(Exception):
    """A step did not do what it should have done."""


class Screen:
    """Lines from several threads, each with the time since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def line(self, text: str, colour: str = "") -> None:
        """Prints one line."""
        stamp = f"{time.monotonic() - self._started:6.2f}s  "
        if self._colour and colour:
            text = f"\x1b[{colour}m{text}\x1b[0m"
        with self._lock:
            sys.stdout.write(f"{stamp}{text}\n")
            sys.stdout.flush()

    def say(self, text: str) -> None:
        """What comes next, for the person who watches."""
        self.line("")
        self.line(text, "1")


class Demo:
    """One run: its state directory, its screen, its environment."""

    def __init__(self, home: Path, screen: Screen) -> None:
        self._home = home
        self._screen = screen
        self._iris = str(Path(sys.executable).parent / "iris")
        self._environ = {**os.environ, MARK: str(home), "NO_COLOR": "1"}
        self._seen: list[tuple[str, str]] = []
        self._news = threading.Condition()

    def run(self) -> None:
        """The whole story.

        Raises:
            DemoFailed: a step did not do what it should have done.
        """
        self._screen.say("1. Start a cluster: one controller, no machine yet.")
        self._show("--config", str(CONFIG), "cluster", "start")
        watcher = self._watch_events()
        try:
            self._screen.say(
                f"2. Run a job of {TASKS} tasks. Nothing can take them, so a slice is asked for."
            )
            self._check_pi(self._run_job("pi"))
            self._screen.say("3. Run a gang: its tasks start together on one slice and know each other.")
            self._check_sum(self._run_job("reduce", "--gang"))
            self._screen.say("4. What is known of them afterwards.")
            self._show("job", "list")
            self._screen.say("5. Nothing waits any more: idle slices are drained and given back.")
            self._await_scale_down()
            self._show("group", "list")
        finally:
            self._screen.say("6. Stop the cluster and prove that nothing is left.")
            self._show("--config", str(CONFIG), "cluster", "stop", "-y")
            watcher.terminate()
            watcher.wait()
        self._prove_empty()

    def _run_job(self, name: str, *options: str) -> list[str]:
        """Runs an example of that name; returns what its tasks printed."""
        return self._show("job", "run", "--name", name, "--replicas", str(TASKS), *options, "--",
                          "python3", str(ROOT / "examples" / f"{name}.py"))  # fmt: skip

    def _show(self, *arguments: str) -> list[str]:
        """Runs `iris` and shows what it says; returns the lines of its stdout."""
        shown = [word.replace(f"{ROOT}/", "$PWD/") for word in arguments]
        self._screen.line(f"$ iris {' '.join(shown)}", "36")
        process = self._spawn(*arguments, stderr=subprocess.PIPE)
        lines: list[str] = []
        threads = [
            threading.Thread(target=self._pump, args=(process.stdout, lines.append)),
            threading.Thread(target=self._pump, args=(process.stderr, lambda line: None)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if process.wait() != 0:
            raise DemoFailed(f"`iris {' '.join(shown)}` ended with exit code {process.returncode}")
        return lines

    def _spawn(self, *arguments: str, stderr: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._iris, *arguments],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def _pump(self, stream: object, take: Callable[[str], object]) -> None:
        for line in stream:  # type: ignore[attr-defined]
            text = line.rstrip("\n")
            self._screen.line(text if len(text) <= 160 else f"{text[:150]}… ({len(text)} characters)")
            take(text)

    def _watch_events(self) -> subprocess.Popen[str]:
        """Shows every event as it happens, beside what the commands say."""
        process = self._spawn("events", "--follow", "-o", "json", stderr=subprocess.DEVNULL)
        threading.Thread(target=self._read_events, args=(process,), daemon=True).start()
        return process

    def _read_events(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            for event in json.loads(line)["events"]:
                why = f"  ({event['reason']})" if event["reason"] else ""
                kind, subject, what = event["kind"], event["subject"], event["what"]
                self._screen.line(f"    · {kind} {subject} {what}{why}", "2")
                with self._news:
                    self._seen.append((kind, what))
                    self._news.notify_all()

    def _await_scale_down(self) -> None:
        def all_gone() -> bool:
            asked = self._seen.count(("slice", "REQUESTING"))
            return 0 < asked == self._seen.count(("slice", "GONE"))

        with self._news:
            if not self._news.wait_for(all_gone, SCALE_DOWN_S):
                raise DemoFailed(f"idle slices were not given back within {SCALE_DOWN_S:g} s")

    def _check_pi(self, words: list[str]) -> None:
        shares = [int(match[1]) for line in words if (match := re.search(r"share (-?\d+)$", line))]
        if len(shares) != TASKS:
            raise DemoFailed(f"expected {TASKS} shares in the job's output, found {len(shares)}")
        digits = str(sum(shares))
        answer = f"{digits[0]}.{digits[1:DIGITS]}"
        self._screen.line(f"the {TASKS} shares add up to {answer[: len(PI)]}…", "32")
        if not answer.startswith(PI):
            raise DemoFailed("that is not pi")

    def _check_sum(self, words: list[str]) -> None:
        sums = [
            match[1] for line in words if (match := re.search(r"positions is (\d+), as it should be$", line))
        ]
        if len(sums) != TASKS or len(set(sums)) != 1:
            raise DemoFailed(f"expected {TASKS} tasks with one sum in the gang's output, found {sums}")
        self._screen.line(f"all {TASKS} tasks have the sum {sums[0]}", "32")

    def _prove_empty(self) -> None:
        left = marked_processes(f"{MARK}={self._home}")
        for pid, command in left:
            self._screen.line(f"still there: {pid} {command}", "31")
        if left:
            raise DemoFailed(f"{len(left)} processes are left")
        self._screen.line("no process of this cluster is left on this machine", "32")


def marked_processes(mark: str) -> list[tuple[int, str]]:
    """Processes with this line in their environment, zombies and ourselves apart."""
    found: list[tuple[int, str]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            # It ended while we looked, or belongs to somebody else.
            continue
        if mark.encode() in environ:
            found.append((int(entry.name), command))
    return found


def main() -> int:
    """Runs the demo; returns the exit status."""
    screen = Screen()
    home = Path(tempfile.mkdtemp(prefix="iris-demo-"))
    try:
        Demo(home, screen).run()
    except DemoFailed as error:
        screen.line(f"demo failed: {error}; its files are in {home}", "31")
        return 1
    shutil.rmtree(home)
    screen.line("done", "32")
    return 0


if __name__ == "__main__":
    sys.exit(main())
