"""Starts a session under a keeper, and does the keeper's last duty if that dies.

Knows nothing of what is said in between.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from iris_bootstrap import __version__
from iris_bootstrap.keeper import frames
from iris_bootstrap.log import Log, logger
from iris_bootstrap.session.agent import Agent
from iris_bootstrap.session.book import Memory
from iris_bootstrap.session.concurrent import run_until_first
from iris_bootstrap.session.disk import read_epoch
from iris_bootstrap.session.guard import KeeperGone, clean_up_after, find_keeper, watch_keeper
from iris_bootstrap.session.ledger import Identity, Ledger, Timings
from iris_bootstrap.session.pipe import KeeperPipe, open_pipe
from iris_bootstrap.session.translate import read_memory
from iris_platform import env_probe


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
    pipe = await open_pipe(pipe_fd)
    keeper = find_keeper(pipe)
    place = env_probe.probe(host_dir)
    epoch, commit = read_epoch(host_dir)
    try:
        boot, memory = await _read_memory(
            pipe, Memory(highest_epoch=epoch, highest_commit=commit), place.address
        )
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
            zone=place.zone,
        )
        await Agent(host_dir, place, boot.boot_id, Ledger(identity, memory), pipe).run()
    except KeeperGone as gone:
        log("keeper_gone", why=str(gone))
        # Here and now: whatever else is still going on in this process can wait.
        clean_up_after(host_dir, keeper, log)
        raise


async def _read_memory(pipe: KeeperPipe, memory: Memory, host: str) -> tuple[frames.State, Memory]:
    """What the keeper remembers, and which boot this is."""
    found: list[frames.State] = []

    async def read() -> None:
        while (messages := await pipe.read()) is not None:
            if (state := read_memory(messages, memory, host)) is not None:
                found.append(state)
                return
        raise KeeperGone("the pipe has ended")

    # No controller has said yet how long that may be.
    await run_until_first(read(), watch_keeper(pipe, lambda: Timings().suspect_after_s))
    return found[0], memory
