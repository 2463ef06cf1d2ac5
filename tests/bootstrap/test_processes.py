"""Real processes, seen and ended through /proc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iris_platform import processes
from iris_platform.cgroup import cgroup_members, remove_cgroup
from tests.bootstrap.support import PATIENCE_S, eventually

# Of this run alone, since marks are looked for on the whole machine.
MARK = f"IRIS_TEST_MARK_{os.getpid()}"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes and ends them after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*argv: str, **env: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def test_boot_id_names_the_kernels_boot_and_our_namespace() -> None:
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert processes.boot_id() == f"{kernel}.{processes.start_time(1)}"


def test_process_is_alive_until_it_is_a_zombie(start: Start) -> None:
    process = start("sleep", "1000")
    begun = processes.start_time(process.pid)
    assert begun is not None
    assert processes.is_alive(process.pid, begun)
    assert not processes.is_alive(process.pid, begun + 1)
    process.kill()
    # Nobody has reaped it.
    eventually(lambda: processes.start_time(process.pid) is None, "a zombie")
    assert process.pid in processes.children_of(os.getpid())
    assert not processes.is_alive(process.pid, begun)


def test_no_such_process_has_no_start() -> None:
    assert processes.start_time(2**22 + 1) is None


def test_name_with_brackets_and_blanks(start: Start, tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b c"
    odd.symlink_to("/bin/sleep")
    process = start(str(odd), "1000")
    eventually(lambda: b"a) S" in Path(f"/proc/{process.pid}/comm").read_bytes(), "the name")
    assert os.getpid() == processes.parents()[process.pid]


def test_descendants_are_found_across_sessions(start: Start) -> None:
    process = start("sh", "-c", "setsid sh -c 'echo $$; sleep 1000; true' & sleep 1000; true")
    inner = int(read_line(process))
    eventually(lambda: len(processes.descendants(process.pid)) == 3, "both sleeps and the shell")
    assert inner in processes.descendants(process.pid)
    processes.kill_all(lambda: processes.with_descendants([process.pid], processes.parents()))


def test_marks_are_exact(start: Start) -> None:
    process = start("sleep", "1000", **{MARK: "a", f"X{MARK}": "b"})
    other = start("sleep", "1000", **{MARK: "ab"})
    none = start("sleep", "1000", **{f"X{MARK}": "a"})
    eventually(lambda: processes.marked(MARK, "ab") == [other.pid], "the other's mark")
    assert processes.marked(MARK, "a") == [process.pid]
    assert processes.mark_of(none.pid, MARK) is None
    assert processes.mark_of(process.pid, MARK, (f"X{MARK}", "b")) == "a"
    assert processes.mark_of(process.pid, MARK, (f"X{MARK}", "")) is None
    assert processes.marks(MARK, (f"X{MARK}", "b")) == {process.pid: "a"}
    assert processes.marks(MARK) == {process.pid: "a", other.pid: "ab"}


def test_process_whose_first_thread_has_ended_still_counts(start: Start) -> None:
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=lambda: (print('up', flush=True), time.sleep(1000))).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    process = start("python3", "-c", code, **{MARK: "thread"})
    assert read_line(process) == "up"
    eventually(
        lambda: "Z" in Path(f"/proc/{process.pid}/stat").read_text().split(")")[1].split()[0], "state Z"
    )
    assert processes.start_time(process.pid) is not None
    assert processes.marked(MARK, "thread") == [process.pid]


def test_signal_reaches_only_the_process_that_is_meant(start: Start) -> None:
    process = start("sleep", "1000")
    begun = processes.start_time(process.pid)
    assert begun is not None
    assert not processes.send_signal(process.pid, begun - 1, 9)
    assert process.poll() is None
    assert processes.send_signal(process.pid, begun, 9)
    assert process.wait(10) == -9
    assert not processes.send_signal(process.pid, begun, 9)


def test_kill_all_ends_what_forks_while_it_is_killed(start: Start) -> None:
    code = "import os, time\nfor _ in range(8): os.fork()\nprint('x', flush=True)\ntime.sleep(1000)"
    process = start("python3", "-c", code, **{MARK: "forks"})
    read_line(process)
    processes.kill_all(lambda: processes.marked(MARK, "forks"))
    assert processes.marked(MARK, "forks") == []


def test_kill_all_gives_up_in_the_end() -> None:
    now = 0.0

    def sleep(pause_s: float) -> None:
        nonlocal now
        now += pause_s

    immortal = 2**22 + 1
    with pytest.raises(processes.StillAlive, match=str(immortal)) as caught:
        processes.kill_all(lambda: [immortal], 5.0, clock=lambda: now, sleep=sleep)
    assert caught.value.pids == (immortal,)
    assert now == pytest.approx(5.0)


def test_one_clean_scan_is_not_enough() -> None:
    looks = iter([[], [2**22 + 1], [], [], []])
    seen = []

    def find() -> list[int]:
        seen.append(next(looks))
        return seen[-1]

    processes.kill_all(find, sleep=lambda _: None)
    # Empty, one (looked at again before it is signalled), and two empty in a row.
    assert [len(look) for look in seen] == [0, 1, 0, 0, 0]


def test_wait_until_asks_until_it_is_true() -> None:
    asked = iter([False, False, True])
    pauses: list[float] = []
    assert processes.wait_until(lambda: next(asked), 9.0, clock=lambda: 0.0, sleep=pauses.append)
    assert pauses == [0.002, 0.004]


def test_clean_host_kills_what_is_listed_and_what_is_marked(start: Start, tmp_path: Path) -> None:
    listed = start("env", "-i", "sleep", "1000")
    of_another_boot = start("env", "-i", "sleep", "1000")
    marked = start(
        "sh",
        "-c",
        "env -i setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000; true",
        IRIS_HOST_DIR=str(tmp_path),
    )
    below = int(read_line(marked))
    elsewhere = start("sleep", "1000", IRIS_HOST_DIR=f"{tmp_path}/other")

    def line(boot: str, process: subprocess.Popen[bytes]) -> str:
        start_time = processes.start_time(process.pid)
        entry = {"kind": "process", "pid": process.pid, "start_time": start_time}
        return json.dumps({"kind": "boot", "boot_id": boot}) + "\n" + json.dumps(entry) + "\n"

    text = line("another", of_another_boot) + line(processes.boot_id(), listed) + '{"pid": 1, "ki'
    (tmp_path / processes.KEEPER_FILE).write_text(text)
    processes.clean_host(tmp_path)
    assert (listed.wait(10), marked.wait(10)) == (-9, -9)
    assert processes.start_time(below) is None
    assert of_another_boot.poll() is None
    assert elsewhere.poll() is None


def test_clean_host_of_nothing(tmp_path: Path) -> None:
    processes.clean_host(tmp_path)


def test_clean_host_kills_what_took_its_mark_off_and_kept_its_log(tmp_path: Path) -> None:
    log = tmp_path / "tasks/job-0-7-1/log"
    log.parent.mkdir(parents=True)
    with log.open("wb") as out, (tmp_path / "other").open("wb") as other:
        task = subprocess.Popen(["sleep", "1000"], env={}, stdout=out)
        stranger = subprocess.Popen(["sleep", "1000"], env={}, stdout=other, cwd=log.parent)
    # Whoever only reads it stays.
    reader = subprocess.Popen(
        ["tail", "-f", str(log)], env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL
    )
    try:
        processes.clean_host(tmp_path)
        assert task.wait(PATIENCE_S) == -signal.SIGKILL
        assert (stranger.poll(), reader.poll()) == (None, None)
    finally:
        for child in (task, stranger, reader):
            child.kill()
            child.wait()


def test_group_of_a_host(tmp_path: Path) -> None:
    """What was born into it is found there, whatever it did to be forgotten."""
    code = (
        "import os, sys; from pathlib import Path; from iris_platform import processes;"
        "group = processes.enter_cgroup(Path(sys.argv[1])); print(group, flush=True); sys.stdin.read();"
        "processes.leave_cgroup(group)"
    )
    keeper = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    group = keeper.stdout.readline().strip()
    try:
        if not group:
            pytest.skip("no control group of version 2 can be made here")
        assert cgroup_members(group) == {keeper.pid}
        below = Path(group) / "below"
        below.mkdir()
        child = subprocess.Popen(["sleep", "1000"])
        (below / "cgroup.procs").write_text(str(child.pid))
        assert cgroup_members(group) == {keeper.pid, child.pid}
        remove_cgroup(group)
        assert Path(group).exists()
        boot = {"kind": "boot", "boot_id": processes.boot_id(), "pid": 0, "start_time": 0, "cgroup": group}
        (tmp_path / processes.KEEPER_FILE).write_text(json.dumps(boot) + "\n")
        keeper.communicate()
        assert Path(group).exists()
        processes.clean_host(tmp_path)
        assert child.wait(PATIENCE_S) == -signal.SIGKILL
        assert not Path(group).exists()
    finally:
        keeper.kill()
        keeper.wait()
    assert cgroup_members(group) == set()
