"""Processes as /proc shows them: identity, kinship, marks, and killing for good.

Knows nothing of slices, attempts or the wire; standard library only, since the
agent's keeper, its session and the local platform all end processes through
this module. A scan of /proc is never one moment: nothing counts as gone before
two scans in a row have found nothing.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from iris_platform.cgroup import cgroup_members, remove_cgroup
from iris_platform.cgroup import enter_cgroup as enter_cgroup
from iris_platform.cgroup import leave_cgroup as leave_cgroup

# Carried in the environment of every process of a host: the agent's two and
# all of its tasks. Nothing carries the mark = nothing of this host lives.
HOST_MARK = "IRIS_HOST_DIR"
KEEPER_FILE = "keeper.jsonl"

# The exit status of an agent whose slice is being deleted: whoever keeps it running lets it be.
UNWANTED = 79

# Far below the usual limit of 1024 descriptors; the next round takes the rest.
_HANDLES_PER_ROUND = 256


class StillAlive(Exception):
    """Processes outlived SIGKILL for as long as we were ready to wait."""

    def __init__(self, pids: Collection[int], timeout_s: float) -> None:
        self.pids = tuple(sorted(pids))
        listed = ", ".join(map(str, self.pids))
        super().__init__(f"still alive after {timeout_s:g} s of SIGKILL: pid {listed}")


def boot_id() -> str:
    """Names this boot: the kernel's boot id and the start of our pid namespace's first process.

    The second half tells a restarted container from the one before it.
    """
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{kernel}.{start_time(1) or 0}"


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    fields = _stat(pid)
    return None if fields is None or _is_dead(fields) else int(fields[19])


def is_alive(pid: int, start_time_ticks: int) -> bool:
    """Whether `pid` still is the process that started then."""
    return start_time(pid) == start_time_ticks


def is_stopped(pid: int) -> bool:
    """Whether a process was halted (SIGSTOP, a debugger): it lives, and answers nobody."""
    fields = _stat(pid)
    return fields is not None and fields[0] in (b"T", b"t")


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal; False for one that is gone."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        name, _, mask = line.partition(b":")
        if name == b"SigCgt":
            return bool(int(mask, 16) >> (number - 1) & 1)
    return False


def age_s(pid: int) -> float:
    """Seconds since a process started; 0 when it is gone."""
    started = start_time(pid)
    if started is None:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def command_lines() -> dict[int, list[str]]:
    """The arguments of every live process of this user."""
    own = os.geteuid()
    found = {}
    for pid in _pids():
        with suppress(OSError):
            data = _read(f"/proc/{pid}/cmdline")
            if data and os.stat(f"/proc/{pid}").st_uid == own:
                found[pid] = [os.fsdecode(word) for word in data.rstrip(b"\0").split(b"\0")]
    return found


def parents() -> dict[int, int]:
    """Every live process and its parent."""
    table = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and not _is_dead(fields):
            table[pid] = int(fields[1])
    return table


def children_of(pid: int) -> list[int]:
    """The children of a process that were not reaped yet, dead ones included."""
    return [child for child in _pids() if (fields := _stat(child)) is not None and int(fields[1]) == pid]


def with_descendants(roots: Iterable[int], table: Mapping[int, int]) -> set[int]:
    """Those of `roots` that live, and all that descend from any of them.

    `table` is what `parents` returned.
    """
    roots = set(roots)
    children: dict[int, list[int]] = {}
    for pid, parent in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in found:
                found.add(pid)
                todo.append(pid)
    return found | (roots & table.keys())


def descendants(pid: int) -> list[int]:
    """The live children of a process, their children, and so on."""
    return sorted(with_descendants([pid], parents()) - {pid})


def mark_of(pid: int, name: str, beside: tuple[str, str] | None = None) -> str | None:
    """The value of an environment variable that a process was started with; None if we cannot tell.

    With `beside`, another variable and its value, also None where that is not so.
    """
    wanted = b"\0" + os.fsencode(name) + b"="
    block = b"\0" + _environ(pid) + b"\0"
    begin = block.find(wanted)
    if begin < 0 or (beside is not None and os.fsencode("\0{}={}\0".format(*beside)) not in block):
        return None
    return os.fsdecode(block[begin + len(wanted) :].split(b"\0", 1)[0])


def marks(name: str, beside: tuple[str, str] | None = None) -> dict[int, str]:
    """What `mark_of` says of every process, those left out of which it cannot tell."""
    return {pid: value for pid in _pids() if (value := mark_of(pid, name, beside)) is not None}


def marked(name: str, value: str) -> list[int]:
    """The processes that were started with NAME=VALUE in their environment."""
    return sorted(pid for pid, text in marks(name).items() if text == value)


def send_signal(pid: int, start_time_ticks: int, number: int) -> bool:
    """Signal the process that started then, and no later one of the same pid.

    Returns:
        Whether it was there.
    """
    handle = _open_handle(pid)
    try:
        if not is_alive(pid, start_time_ticks):
            return False
        _signal(pid, handle, number)
        return True
    finally:
        if handle is not None:
            os.close(handle)


def kill_round(find: Callable[[], Collection[int]]) -> Collection[int]:
    """SIGKILL what `find` finds, once.

    A pid may be given to another process between a scan and a signal, so each
    is held by a handle first and signalled only if a second scan finds it too.

    Returns:
        What the first scan found.
    """
    seen = find()
    if not seen:
        return seen
    handles = {pid: _open_handle(pid) for pid in sorted(seen)[:_HANDLES_PER_ROUND]}
    try:
        confirmed = set(find())
        for pid, handle in handles.items():
            if pid in confirmed:
                # Another user's: it shows up in every scan until the caller gives up.
                with suppress(PermissionError):
                    _signal(pid, handle, signal.SIGKILL)
    finally:
        for handle in handles.values():
            if handle is not None:
                os.close(handle)
    return seen


def kill_all(
    find: Callable[[], Collection[int]],
    timeout_s: float = 30.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """SIGKILL what `find` finds until two scans in a row find nothing.

    Raises:
        StillAlive: something outlived `timeout_s`.
    """
    clean = 0
    last: Collection[int] = ()

    def twice_clean() -> bool:
        nonlocal clean, last
        last = kill_round(find)
        clean = 0 if last else clean + 1
        return clean >= 2

    if not wait_until(twice_clean, timeout_s, clock=clock, sleep=sleep):
        raise StillAlive(last, timeout_s)


def clean_host(host_dir: Path, timeout_s: float = 30.0) -> None:
    """Kill everything that an agent of `host_dir` and its tasks left, except the caller.

    That is what the keeper's file lists for this boot, what is in the groups
    that it names, what carries the host's mark, what writes to a task's log,
    and all that descends from any of them.

    Raises:
        StillAlive: something outlived `timeout_s`.
    """
    mark = str(host_dir.resolve())
    own = os.getpid()
    groups: set[str] = set()

    def find() -> set[int]:
        listed = _read_listed(host_dir / KEEPER_FILE)
        roots = {pid for pid, start in listed.processes if is_alive(pid, start)}
        groups.update(listed.groups)
        for group in groups:
            roots.update(pid for pid in cgroup_members(group) if start_time(pid) is not None)
        roots.update(marked(HOST_MARK, mark))
        roots.update(_writers(f"{mark}/tasks/"))
        if roots <= {own}:
            return set()
        return with_descendants(roots - {own}, parents()) - {own}

    kill_all(find, timeout_s)
    for group in groups:
        remove_cgroup(group)


def wait_until(
    done: Callable[[], bool],
    timeout_s: float,
    *,
    most_pause_s: float = 0.1,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Ask until `done()` holds, at growing intervals (2 ms to `most_pause_s`); False after `timeout_s`.

    For what nobody announces to us: the end of processes that are not our children.
    """
    deadline = clock() + timeout_s
    pause_s = 0.002
    while not done():
        left_s = deadline - clock()
        if left_s <= 0:
            return False
        sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, most_pause_s)
    return True


class _Listed(NamedTuple):
    """Pid and start time of every process in a keeper's file that is of this boot; the groups likewise."""

    processes: list[tuple[int, int]]
    groups: set[str]


def _read_listed(path: Path) -> _Listed:
    found = _Listed([], set())
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return found
    current = boot_id()
    boot = ""
    for line in lines:
        # Most lines are about attempts that have no process: not worth parsing.
        if b'"pid"' not in line and b'"boot_id"' not in line:
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            # Half a line: its writer was killed.
            continue
        if entry.get("kind") == "boot":
            boot = entry.get("boot_id", "")
        pid, start = entry.get("pid"), entry.get("start_time")
        if boot == current and isinstance(pid, int) and isinstance(start, int):
            found.processes.append((pid, start))
            if group := entry.get("cgroup"):
                found.groups.add(str(group))
    return found


def _writers(tasks: str) -> set[int]:
    """What has a log below `tasks` for its output: nobody but a task and what it started."""
    found = set()
    for pid in _pids():
        for name in ("1", "2"):
            with suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if target.startswith(tasks) and target.endswith(("/log", "/log (deleted)")):
                    found.add(pid)
    return found


def _pids() -> list[int]:
    # A list of names by itself is quicker than paths, and scans come in hundreds.
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third (state) on; None when there is no such process."""
    data = _read(f"/proc/{pid}/stat")
    # The second field is the name in brackets, which may hold brackets and spaces.
    return data[data.rindex(b")") + 2 :].split() if data else None


def _is_dead(fields: list[bytes]) -> bool:
    # The first thread may have ended before others: its process is not dead yet.
    return fields[0] in (b"Z", b"X", b"x") and int(fields[17]) <= 1


def _environ(pid: int) -> bytes:
    data = _read(f"/proc/{pid}/environ")
    if data:
        return data
    fields = _stat(pid)
    if fields is None or fields[0] != b"Z" or _is_dead(fields):
        return b""
    # The first thread has ended and taken its view of the memory along; ask another.
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return b""
    return next(filter(None, (_read(f"/proc/{pid}/task/{thread}/environ") for thread in threads)), b"")


def _read(path: str) -> bytes:
    """A file of /proc; empty when the process is gone or not ours to read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _open_handle(pid: int) -> int | None:
    """A handle that stays with this very process; None where there is none to be had."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        # Gone, or a kernel without it (some sandboxes): then the pid must do.
        return None


def _signal(pid: int, handle: int | None, number: int) -> None:
    with suppress(ProcessLookupError):
        if handle is not None:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
