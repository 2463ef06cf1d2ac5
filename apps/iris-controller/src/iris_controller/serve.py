"""Puts the controller together and keeps it running.

Every loop is supervised: one that ends ends the process, with its error.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from iris_config import ConfigError, IrisConfig, read_config_text
from iris_controller.api.listen import bind, build_server, build_tls_server
from iris_controller.api.service import ClusterFacts, ControllerService
from iris_controller.codec.settings import settings, timings
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.shell import logging as shell_logging
from iris_controller.shell.clock import now
from iris_controller.shell.controller import Controller, SteppedDown
from iris_controller.shell.join import PortTaken
from iris_controller.shell.logs import LogStore
from iris_controller.shell.memory import Memory, open_store
from iris_controller.shell.perform import Performer
from iris_controller.shell.platforms import by_provider, distinct, highest_epoch, reachable
from iris_controller.shell.secure import SecurePorts, joining_of, ports_of
from iris_controller.shell.sessions import Sessions
from iris_controller.shell.store import StoreError
from iris_platform import ClusterPaths, Platform, create_platforms, processes
from iris_platform.base import ClusterIdentity
from iris_platform.bootstrap.notify import notify_ready
from iris_platform.controller_file import ControllerRecord, write_controller_file
from iris_platform.files import make_private_dir
from iris_platform.health_port import open_health_port
from iris_platform.identity import IdentityError, ensure_identity
from iris_platform.pki.authority import Authority, ensure_authority
from iris_platform.state_lock import StateDirError, StateLock

log = logging.getLogger(__name__)

# In the state directory: what hosts fetch from the join port, by SHA-256.
BUNDLES = "bundles"
TOKEN_BYTES = 32
# Streams get this long to end at SIGTERM; agents and followers dial again.
STOP_GRACE_S = 1.0
# Without a batch for this long (ticks make one every quarter second), the
# control loop hangs and health says so.
STALL_MS = 10_000
HEALTH_INTERVAL_S = 1.0
GUARD_INTERVAL_S = 1.0


class UnusableError(Exception):
    """What the controller was given cannot be used; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files and directories of the command line."""

    config: Path
    state_dir: Path
    pki_dir: Path
    local_root: Path


def run(places: Places, *, resume: bool, log_level: str) -> int:
    """Serves until SIGTERM or SIGINT.

    Raises:
        UnusableError: configuration, directories, identity, store or port.
    """
    shell_logging.set_up(log_level)
    try:
        config = IrisConfig.from_json(read_config_text(places.config), source=str(places.config))
        with StateLock(places.state_dir) as lock:
            authority, identity = _identify(config, places.pki_dir)
            paths = ClusterPaths(places.state_dir, places.pki_dir, places.local_root)
            secure = SecurePorts(authority, paths.state_dir / BUNDLES) if authority is not None else None
            platforms = _open_platforms(config, identity, paths, secure)
            if secure is not None:
                secure.believe_google(config, platforms)
            cluster = _Cluster(config, identity, paths, platforms, secure)
            return asyncio.run(_serve(cluster, lock, resume=resume))
    except OSError as error:
        raise UnusableError(f"{error.filename or places.state_dir}: {error.strerror}") from error
    except (ConfigError, StateDirError, IdentityError, StoreError, PortTaken) as error:
        raise UnusableError(str(error)) from error


def _identify(config: IrisConfig, pki_dir: Path) -> tuple[Authority | None, ClusterIdentity]:
    """The cluster's id; and its authority, where anything of it is on another machine.

    Raises:
        IdentityError: the keys cannot be used or made.
    """
    if ports_of(config.proto) is None:
        return None, ensure_identity(config.name, pki_dir)
    authority = ensure_authority(config.name, pki_dir, now().wall_ms / 1000)
    return authority, authority.identity


def _open_platforms(
    config: IrisConfig, identity: ClusterIdentity, paths: ClusterPaths, secure: SecurePorts | None
) -> dict[str, Platform]:
    """The platform of every group, by the group's name.

    Raises:
        UnusableError: the configuration is not one that the CLI resolved, or
            asks for what is not there.
    """
    if not config.name:
        raise UnusableError("the configuration has no name: is it one that `iris cluster start` wrote?")
    if any(group.provider.HasField("local") for group in config.scale_groups.values()):
        make_private_dir(paths.local_root)
        # Otherwise every slice would fail, one after the other.
        if not os.access(paths.local_root, os.W_OK | os.X_OK):
            raise UnusableError(f"{paths.local_root}: cannot be written; local slices live there")
    timeouts = config.proto.timeouts
    try:
        return create_platforms(
            config.scale_groups,
            identity,
            paths,
            orphan_timeout_s=timeouts.orphan_timeout.ToSeconds(),
            ssh=config.proto.ssh,
            endpoints=config.proto.endpoints,
            bootstrap=config.proto.bootstrap,
            joining=joining_of(config.proto, secure, paths.state_dir / BUNDLES) if secure else None,
        )
    except ValueError as error:
        raise UnusableError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What is served."""

    config: IrisConfig
    identity: ClusterIdentity
    paths: ClusterPaths
    platforms: Mapping[str, Platform]
    secure: SecurePorts | None


@dataclass
class _Parts:
    """What a running controller is made of."""

    controller: Controller
    performer: Performer
    sessions: Sessions
    service: ControllerService
    health: health_aio.HealthServicer = field(default_factory=health_aio.HealthServicer)


def _assemble(cluster: _Cluster) -> _Parts:
    config, identity, paths, platforms = cluster.config, cluster.identity, cluster.paths, cluster.platforms
    desk = cluster.secure.desk if cluster.secure is not None else None
    facts = ClusterFacts(
        name=config.name,
        cluster_id=identity.cluster_id,
        config=config.proto,
        settings=settings(config.proto, identity.cluster_id),
        started_ms=now().wall_ms,
    )
    store = open_store(paths.store_file, paths.pki_dir, identity.cluster_id, secrets.token_bytes)
    memory = Memory(store, paths.pki_dir)
    epoch = memory.begin(now().wall_ms, highest_epoch(platforms.values()))
    logs = LogStore(paths.state_dir / "logs", config.proto.logs.max_size)
    sessions = Sessions(identity.cluster_id, timings(config.proto), logs, desk)

    def deliver(effect: fx.Effect) -> None:
        match effect:
            case fx.CreateSlice() | fx.DeleteSlice() | fx.LookAtSlice() | fx.ListZone():
                performer.perform(effect)
            case _:
                sessions.deliver(effect)

    controller = Controller(facts.settings, epoch, memory, now, deliver)
    provider_of = {name: group.provider for name, group in facts.settings.groups.items()}
    performer = Performer(
        managers={name: platforms[name].vm_manager(group) for name, group in config.scale_groups.items()},
        platform_of=platforms,
        platforms=by_provider(provider_of, platforms),
        post=controller.post,
    )
    sessions.attach(controller, lambda job_id: controller.hub.notify((job_id,)))

    def troubles() -> list[str]:
        return [
            *performer.troubles,
            *(words for one in distinct(platforms.values()) for words in one.troubles()),
        ]

    service = ControllerService(facts, controller, logs, troubles, desk)
    return _Parts(controller, performer, sessions, service)


async def _serve(cluster: _Cluster, lock: StateLock, *, resume: bool) -> int:
    config, identity, paths, secure = cluster.config, cluster.identity, cluster.paths, cluster.secure
    # Nothing of what is loaded is garbage, and to look for some takes as long as all the rest.
    gc.disable()
    parts = _assemble(cluster)
    gc.freeze()
    gc.enable()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    server = build_server(parts.service, parts.sessions, parts.health, token)
    address = bind(server, config.proto.controller.local.port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if resume:
        parts.controller.post(e.ShutdownEnded())
    servers, loops, others = [server], [], ("", "")
    if secure is not None:
        tls_server = build_tls_server(parts.service, parts.sessions, parts.health, identity.cluster_id)
        ports = ports_of(config.proto)
        assert ports is not None, "an authority is made for nothing else"
        others = secure.open(tls_server, ports, parts.controller)
        servers.append(tls_server)
        loops = [secure.join.run(), secure.identity.keep()]
    for one in servers:
        await one.start()
    pid = os.getpid()
    record = ControllerRecord(address, token, pid, processes.start_time(pid) or 0, *others)
    write_controller_file(paths.controller_file, record)
    notify_ready()
    told = (config.name, identity.cluster_id, parts.controller.epoch, address)
    log.info("controller of %s (%s) epoch %d on %s", *told)
    loops += [parts.controller.run(), parts.controller.tick()]
    loops += [_watch_health(parts.controller, parts.health)]
    loops += [_guard_directory(lock, paths.controller_file, record)]
    if (listener := open_health_port()) is not None:
        loops.append(_answer(listener))
    try:
        with reachable(cluster.platforms.values(), others):
            return await _supervise(stop, *loops)
    finally:
        await asyncio.gather(*(one.stop(STOP_GRACE_S) for one in servers))
        parts.performer.close()
        parts.sessions.close()
        await parts.controller.close()
        log.info("controller ended; agents and their tasks go on")


async def _watch_health(controller: Controller, health: health_aio.HealthServicer) -> None:
    """Health is SERVING while the control loop makes progress."""
    while True:
        stalled = now().boot_ms - controller.last_batch_boot_ms > STALL_MS
        serving = health_pb2.HealthCheckResponse
        await health.set("", serving.NOT_SERVING if stalled else serving.SERVING)
        await asyncio.sleep(HEALTH_INTERVAL_S)


async def _answer(listener: socket.socket) -> None:
    """On the health port, as long as the event loop turns."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), sock=listener) as server:
        await server.serve_forever()


async def _guard_directory(lock: StateLock, path: Path, record: ControllerRecord) -> None:
    """Keeps `controller.json` there; without our state directory we are nobody's controller.

    Raises:
        SteppedDown: the directory was removed or replaced.
    """
    while True:
        await asyncio.sleep(GUARD_INTERVAL_S)
        if not lock.is_intact():
            raise SteppedDown("the state directory was removed or replaced")
        if not path.exists():
            log.warning("%s was removed; written again", path)
            write_controller_file(path, record)


async def _supervise(stop: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> int:
    """Runs the loops until `stop`; a loop that ends by itself ends all, with status 1."""
    tasks = [asyncio.create_task(one, name=str(one)) for one in loops]
    stopping = asyncio.create_task(stop.wait(), name="signal")
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopping in done:
            return 0
        for task in done:
            error = task.exception()
            if isinstance(error, SteppedDown):
                log.error("stepping down: %s", error)
            else:
                log.critical("loop %s died", task.get_name(), exc_info=error)
        return 1
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
