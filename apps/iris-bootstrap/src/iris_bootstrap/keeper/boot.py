"""Starts a keeper on a host directory, after whatever was there before is gone, and takes it down.

Knows nothing of what happens in between.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from iris_bootstrap.keeper.clock import boot_s, wall_ms
from iris_bootstrap.keeper.dead_man import DeadMan
from iris_bootstrap.keeper.ending import Clock
from iris_bootstrap.keeper.journal import read_journal
from iris_bootstrap.keeper.link import make_session_command
from iris_bootstrap.keeper.lock import AlreadyRunning, lock_as_keeper
from iris_bootstrap.keeper.loop import Keeper
from iris_bootstrap.keeper.memory import Memory
from iris_bootstrap.keeper.spawn import Spawner, base_environment
from iris_bootstrap.keeper.tasks import Tasks
from iris_bootstrap.keeper.tree import Trees, become_subreaper
from iris_bootstrap.log import Log, logger
from iris_platform import processes
from iris_platform.health_port import open_health_port

# What a launcher reads from its pipe once the boot line is written.
READY = b"ready\n"


def run_keeper(
    host_dir: Path,
    orphan_timeout_s: float,
    ready_fd: int | None = None,
    session_command: list[str] | None = None,
    dead_man_command: list[str] | None = None,
) -> int:
    """Be the keeper of `host_dir` until it leaves; returns the exit status.

    `session_command` stands in for the real session's. `dead_man_command` has to
    succeed before an orphan leaves.
    """
    log = logger("keeper")
    _keep_descriptors_to_ourselves()
    try:
        # Held by the descriptor, until the process ends.
        lock_as_keeper(host_dir)
        become_subreaper()
        processes.clean_host(host_dir)
        command = session_command or make_session_command(host_dir)
        cgroup = processes.enter_cgroup(host_dir)
        # Before anything says that we are there.
        health = open_health_port()
        dead_man = DeadMan(dead_man_command, log) if dead_man_command else None
        memory, keeper = _make_keeper(host_dir, command, orphan_timeout_s, cgroup, log, dead_man)
        if health is not None:
            keeper.answer_on(health)
    except (AlreadyRunning, processes.StillAlive, OSError) as error:
        log("not_started", error=str(error))
        return 1
    if ready_fd is not None:
        # Whoever started us may be gone by now.
        with suppress(OSError):
            os.write(ready_fd, READY)
        os.close(ready_fd)
    why = keeper.run()
    status = 0
    try:
        processes.clean_host(host_dir)
    except processes.StillAlive as error:
        log("not_clean", error=str(error))
        status = 1
    memory.add_agent({"kind": "left", "reason": why})
    memory.flush()
    processes.leave_cgroup(cgroup)
    log("left", why=why)
    return status


def _make_keeper(
    host_dir: Path,
    session_command: list[str],
    orphan_timeout_s: float,
    cgroup: str,
    log: Log,
    dead_man: DeadMan | None,
) -> tuple[Memory, Keeper]:
    clock = Clock(boot_s, wall_ms)
    path = host_dir / processes.KEEPER_FILE
    spawner = Spawner(host_dir)
    memory = Memory(path, processes.boot_id())
    memory.take_over(read_journal(path), wall_ms(), spawner.log_bytes)
    pid = os.getpid()
    boot = {"kind": "boot", **memory.boot._asdict(), "pid": pid, "start_time": processes.start_time(pid)}
    memory.add_agent({**boot, "cgroup": cgroup})
    if (error := memory.flush()) is not None:
        raise error
    log("started", host_dir=str(host_dir), attempts=len(memory.attempts))
    tasks = Tasks(base_environment(os.environb), spawner, Trees(host_dir), memory, clock, log)
    return memory, Keeper(session_command, tasks, memory, clock, orphan_timeout_s, log, dead_man)


def _keep_descriptors_to_ourselves() -> None:
    """Whoever started us may have left descriptors open; tasks are to have none of them."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            # One of them is the one that listed them, and is closed.
            with suppress(OSError):
                os.set_inheritable(fd, False)
