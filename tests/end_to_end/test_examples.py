"""The examples do what they say, with nothing but the environment that Iris gives them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from iris_config import load_config
from tests.end_to_end.conftest import MakeCluster

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
DEADLINE_S = 60.0


def free_addresses(count: int) -> list[str]:
    """Ports that nobody has, as agents reserve them: bound once, then let go."""
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in bound]


def task(script: Path, index: int, addresses: list[str]) -> subprocess.Popen[str]:
    gang = {
        "IRIS_TASK_INDEX": str(index),
        "IRIS_TASK_COUNT": str(len(addresses)),
        "IRIS_TASK_ADDRESSES": ",".join(addresses),
        "IRIS_COORDINATOR_ADDRESS": addresses[0],
    }
    return subprocess.Popen(
        [sys.executable, "-I", str(script)],
        env={**os.environ, **gang},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def reduce(order: list[int], script: Path = EXAMPLES / "reduce.py") -> list[tuple[int, str, str]]:
    """The tasks' exit statuses and words, by index, of tasks that were started in this order."""
    addresses = free_addresses(len(order))
    processes = {}
    try:
        for index in order:
            processes[index] = task(script, index, addresses)
        ends = {i: process.communicate(timeout=DEADLINE_S) for i, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
            process.wait(DEADLINE_S)
    return [(processes[index].returncode, *ends[index]) for index in sorted(order)]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 3, 1, 0], [0], [1, 0], list(range(7))])
def test_reduce_gives_every_task_the_sum(order: list[int]) -> None:
    count = len(order)
    total = sum(k % 1009 for k in range(1 << 16)) * count * (count + 1) // 2
    for index, (status, out, err) in enumerate(reduce(order)):
        assert (status, err) == (0, "")
        assert out == f"task {index} of {count}: the sum over 65536 positions is {total}, as it should be\n"


def test_reduce_says_when_it_is_wrong(tmp_path: Path) -> None:
    text = (EXAMPLES / "reduce.py").read_text()
    wrong = tmp_path / "wrong.py"
    wrong.write_text(text.replace("map(int.__add__, parts[into], got)", "map(max, parts[into], got)"))
    for status, out, _ in reduce([0, 1, 2, 3], wrong):
        assert status == 1 and out.endswith("which is WRONG\n")


def test_reduce_needs_a_gang() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("IRIS_")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "reduce.py")],
        env={**environ, "IRIS_TASK_INDEX": "0", "IRIS_TASK_COUNT": "4"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "") and "--gang" in done.stderr


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_is_valid(path: Path) -> None:
    config = load_config(path)
    assert path.stem in (config.name, "demo")


def test_the_gangs_slices_hold_the_gang() -> None:
    (group,) = load_config(EXAMPLES / "gang.yaml").scale_groups.values()
    assert group.slice_size * group.host_resources.cpu == 4


def test_the_gang_runs_on_one_slice_of_two_hosts(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(slice_size=2, cpu=2, idle_timeout="10m")
    command = ("--", sys.executable, str(EXAMPLES / "reduce.py"))
    done = cluster.iris("job", "run", "--replicas", "4", "--gang", *command)
    lines = sorted(done.out.splitlines())
    assert len(lines) == 4
    assert all(line.startswith(f"[{i}] task {i} of 4: ") for i, line in enumerate(lines)), lines
    (job,) = cluster.json("job", "list")["jobs"]
    tasks = cluster.json("job", "show", job["job_id"])["tasks"]
    places = {
        (task["attempt"]["place"]["slice_name"], task["attempt"]["place"]["worker_index"]) for task in tasks
    }
    assert len({name for name, _ in places}) == 1
    assert {index for _, index in places} == {0, 1}
