"""Tasks that leave ticks of the boot clock on their host's disk, and a cluster with short times.

All hosts of a lab have one kernel, and so one clock: what ran when is compared
exactly, however busy the machine is and whatever became of the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab
from tests.hosts.test_manual_cluster import ManualCluster

# Outlives what Iris removes. $1 is a name of the test's own for this job.
PLACE = "/var/tmp/ticks"
SCRIPT = f"""\
ticks={PLACE}/$1.$IRIS_TASK_INDEX.$IRIS_ATTEMPT
mkdir -p {PLACE}
while [ ! -e {PLACE}/$1.end ]; do
  read -r up _ </proc/uptime
  echo "$up"
  echo "$up" >>"$ticks"
  sleep 0.1
done
"""
ENOUGH = 3


class QuickCluster(ManualCluster):
    """Times of seconds; `forwarded` where hosts cannot dial the controller."""

    def __init__(
        self,
        home: Path,
        lab: Lab,
        hosts: list[Host],
        *,
        name: str = "test",
        idle_timeout: str = "1m",
        task_lease: str = "30s",
        orphan_timeout: str = "30m",
        forwarded: bool = False,
    ) -> None:
        home.mkdir(exist_ok=True)
        super().__init__(home, lab, hosts, idle_timeout=idle_timeout)
        text = self.config.read_text()
        if forwarded:
            text = re.sub("controller: .*\n", "", text)
        for old, new in (
            ("name: test", f"name: {name}"),
            ("task_lease: 20s", f"task_lease: {task_lease}"),
            ("connect_timeout: 5s", "connect_timeout: 2s, keepalive_interval: 1s"),
            ("suspect_after: 5s", f"suspect_after: 2s, orphan_timeout: {orphan_timeout}"),
        ):
            assert old in text
            text = text.replace(old, new)
        self.name = name
        self.config.write_text(text)

    def workers(self) -> list[str]:
        """The states of the workers that there are."""
        return [
            worker["state"].removeprefix("WORKER_STATE_") for worker in self.json("worker", "list")["workers"]
        ]

    def states(self, job: str) -> list[str]:
        """The states of a job's tasks."""
        return [task["state"].removeprefix("TASK_STATE_") for task in self.json("job", "show", job)["tasks"]]

    def losses(self, job: str) -> list[tuple[int, int]]:
        """Of every task how often it ran, and how often it lost its host."""
        return [(task["attempts"], task["losses"]) for task in self.json("job", "show", job)["tasks"]]


@dataclass(frozen=True)
class Run:
    """One attempt of a task on a host; times are seconds of the boot clock."""

    host: str
    task: int
    attempt: int
    ticks: tuple[float, ...]


class Ticking:
    """A job whose tasks tick, on hosts that a test can look into whatever the network does."""

    def __init__(self, cluster: ManualCluster, hosts: list[Host], *flags: str, name: str = "job") -> None:
        self.hosts = hosts
        self.name = name
        self.id = cluster.submit("--cpu", "2", *flags, "--", "sh", "-c", SCRIPT, "sh", name)

    def runs(self) -> list[Run]:
        """Every attempt that ever ran, in the order in which they began."""
        script = f'cd {PLACE} 2>/dev/null && for file in "$1".*.*; do echo "$file" $(cat "$file"); done'
        found = []
        for host in self.hosts:
            if not host.is_on:
                continue
            for line in host.run(["sh", "-c", script, "sh", self.name]).stdout.decode().splitlines():
                file, *ticks = line.split()
                _, task, attempt = file.split(".")
                if ticks:
                    found.append(Run(host.name, int(task), int(attempt), tuple(map(float, ticks))))
        return sorted(found, key=lambda run: run.ticks[0])

    def begun(self, count: int = 1) -> list[Run]:
        """Waits until so many attempts have ticked for a while."""
        wait_until(lambda: sum(len(run.ticks) >= ENOUGH for run in self.runs()) >= count, 90)
        return self.runs()

    def goes_on(self) -> None:
        """Waits for more ticks of the newest attempt."""
        *_, run = self.runs()
        wait_until(lambda: len(self.runs()[-1].ticks) > len(run.ticks) + ENOUGH)

    def end(self) -> None:
        """Lets all of them end by themselves."""
        for host in self.hosts:
            if host.is_on:
                host.write(f"{PLACE}/{self.name}.end", b"")

    def never_twice(self) -> None:
        """No attempt began before the one before it had ended."""
        last: dict[int, Run] = {}
        for run in self.runs():
            before = last.get(run.task)
            assert before is None or before.ticks[-1] <= run.ticks[0], (before, run)
            last[run.task] = run


MakeQuick = Callable[..., QuickCluster]


@pytest.fixture
def quick(lab: Lab, tmp_path: Path) -> Iterator[MakeQuick]:
    """Makes clusters by their names, and kills what is left of them."""
    made: list[QuickCluster] = []

    def one(hosts: list[Host], *, name: str = "test", **options: object) -> QuickCluster:
        made.append(QuickCluster(tmp_path / name, lab, hosts, name=name, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for cluster in made:
        cluster.destroy()


def on_host(host: Host, *words: str) -> list[int]:
    """The host's processes whose command line has all these words; their pids here."""
    return [pid for pid, line in host.processes().items() if all(word in line for word in words)]
