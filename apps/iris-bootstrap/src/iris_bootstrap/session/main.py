"""Starts a session under a keeper, and does the keeper's last duty if that dies.

Knows nothing of what is said in between.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from iris_bootstrap import __version__
from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.lock import lock_as_cleaner
from iris_bootstrap.log import Log, logger
from iris_bootstrap.session.agent import Agent, KeeperGone
from iris_bootstrap.session.book import Memory
from iris_bootstrap.session.disk import read_epoch
from iris_bootstrap.session.ledger import Identity, Ledger
from iris_bootstrap.session.pipe import KeeperPipe, open_pipe
from iris_bootstrap.session.translate import read_memory
from iris_platform import env_probe, processes


def run_session(host_dir: Path, pipe_fd: int) -> int:
    """Be the session of a host until its keeper goes; returns the exit status."""
    log = logger("session")
    try:
        asyncio.run(_serve(host_dir, pipe_fd, log))
    except KeeperGone:
        return 1
    except (env_probe.ProbeError, OSError, ValueError) as error:
        log("failed", error=str(error))
        return 1
    return 0


async def _serve(host_dir: Path, pipe_fd: int, log: Log) -> None:
    keeper_pid = os.getppid()
    pipe = await open_pipe(pipe_fd)
    place = env_probe.probe(host_dir)
    epoch, commit = read_epoch(host_dir)
    try:
        boot, memory = await _read_memory(pipe, Memory(highest_epoch=epoch, highest_commit=commit))
        identity = Identity(
            cluster_id=place.cluster_id,
            slice_name=place.slice_name,
            worker_index=place.worker_index,
            boot_id=boot.boot_id,
            previous_boot_id=boot.previous_boot_id,
            cpu_millis=place.cpu_millis,
            memory_bytes=place.memory_bytes,
            version=__version__,
            labels=place.labels,
        )
        await Agent(host_dir, place, boot.boot_id, Ledger(identity, memory), pipe).run()
    except KeeperGone:
        log("keeper_gone")
        # Here and now: whatever else is still going on in this process can wait.
        _clean(host_dir, keeper_pid, log)
        raise


async def _read_memory(pipe: KeeperPipe, memory: Memory) -> tuple[frames.State, Memory]:
    """What the keeper remembers, and which boot this is."""
    while (messages := await pipe.read()) is not None:
        if (state := read_memory(messages, memory)) is not None:
            return state, memory
    raise KeeperGone


def _clean(host_dir: Path, keeper_pid: int, log: Log) -> None:
    """Kill all that the keeper left, unless a new one is there to do so."""
    if lock_as_cleaner(host_dir, keeper_pid) is None:
        return
    try:
        processes.clean_host(host_dir)
        log("cleaned")
    except processes.StillAlive as error:
        log("not_clean", error=str(error))
