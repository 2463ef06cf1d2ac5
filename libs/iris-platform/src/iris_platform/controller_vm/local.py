"""A controller as a detached process on this machine; see `ControllerVm`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from iris_platform import file_lock, interrupts, processes
from iris_platform.base import Refused, StartFailed, Unreachable
from iris_platform.controller_file import (
    ControllerFileError,
    ControllerRecord,
    read_controller_file,
)
from iris_platform.controller_table import controllers_in_table
from iris_platform.controller_vm.base import ControllerState, ControllerStatus, Probe, StateTaken, nothing
from iris_platform.controller_vm.forget import forget_places
from iris_platform.files import make_private_dir, read_tail, write_atomic
from iris_platform.launch import ProcessId, end_processes, find_executable, start_detached
from iris_platform.paths import ClusterPaths
from iris_platform.state_lock import CONTROLLER, read_holder, refuse_network_file_system

EXECUTABLE = "iris-controller"
START_LOCK = "start.lock"
LOG_TAIL_BYTES = 4096
START_S = 30.0
STOP_S = 20.0
# One that has run for long and lost its file writes it again within this.
SETTLE_S = 6.0


class LocalController:
    """A controller as a detached process on this machine."""

    def __init__(
        self,
        paths: ClusterPaths,
        probe: Probe,
        command: Sequence[str] | None = None,
        *,
        start_s: float = START_S,
        stop_s: float = STOP_S,
    ) -> None:
        """`command` replaces the executable (argv in front of the options)."""
        self._paths = paths
        self._probe = probe
        self._command = command
        self._start_s = start_s
        self._stop_s = stop_s

    def known_by(self) -> str:
        """See `ControllerVm.known_by`: nobody but its own machine."""
        return ""

    def start(self, config: str, before: Callable[[], None] = nothing) -> ControllerStatus:
        """See `ControllerVm.start`."""
        argv = self._argv()
        make_private_dir(self._paths.state_dir)
        refuse_network_file_system(self._paths.state_dir)
        # Long enough for another start's whole wait to end first.
        lock = file_lock.hold(self._paths.state_dir / START_LOCK, 2 * self._start_s)
        try:
            with lock:
                record = self._wait_for_other() or self._start(argv, config, before)
                return ControllerStatus(ControllerState.SERVING, record.pid, record.address)
        except TimeoutError as error:
            raise StartFailed(f"another cluster start is going on: {error}") from error

    def discover(self) -> ControllerStatus | None:
        """See `ControllerVm.discover`."""
        status = self.status()
        return None if status.state is ControllerState.ABSENT else status

    def _record(self) -> ControllerRecord | None:
        """What reaches it. A record of a dead process is none.

        Raises:
            ControllerFileError: controller.json is there and unusable.
        """
        record = read_controller_file(self._paths.controller_file)
        return record if record and processes.is_alive(record.pid, record.start_time) else None

    def status(self) -> ControllerStatus:
        """See `ControllerVm.status`."""
        try:
            record = self._record()
        except ControllerFileError:
            record = None
        if record is not None:
            state = ControllerState.SERVING if self._probe(record) else ControllerState.UNRESPONSIVE
            return ControllerStatus(state, record.pid, record.address)
        process = find_controller(self._paths)
        if process is not None:
            return ControllerStatus(ControllerState.UNRESPONSIVE, process.pid)
        return ControllerStatus(ControllerState.ABSENT)

    def restart(self, config: str) -> ControllerStatus:
        """See `ControllerVm.restart`."""
        self.stop()
        return self.start(config)

    def stop(self) -> bool:
        """See `ControllerVm.stop`. Also one that has not yet said where it is."""
        return stop_controller(self._paths, self._stop_s)

    def kept(self) -> dict[str, str]:
        """See `ControllerVm.kept`."""
        places = {"state_dir": self._paths.state_dir, "pki_dir": self._paths.pki_dir}
        return {name: str(path) if path.exists() else "" for name, path in places.items()}

    def forget(self) -> None:
        """See `ControllerVm.forget`."""
        forget_places(self._paths)

    def _argv(self) -> list[str]:
        command = self._command
        if command is None:
            executable = find_executable(EXECUTABLE)
            if executable is None:
                raise Refused(
                    f"{EXECUTABLE} is neither beside this Python nor on PATH; is iris-controller installed?"
                )
            command = [executable]
        paths = self._paths
        return [
            *command,
            *("--state-dir", str(paths.state_dir.absolute())),
            *("--pki-dir", str(paths.pki_dir.absolute())),
            *("--config", str(paths.config_file.absolute())),
            *("--local-root", str(paths.local_root.absolute())),
            "--resume",
        ]

    def _wait_for_other(self) -> ControllerRecord | None:
        """The controller that runs already, once it serves."""
        process = find_controller(self._paths)
        if process is None:
            return None
        patience_s = self._start_s
        if processes.age_s(process.pid) > patience_s:
            patience_s = min(patience_s, SETTLE_S)
        record = self._serving(process, patience_s)
        if record is None and process.is_alive():
            raise StartFailed(
                f"a controller runs already (process {process.pid}) but did not answer"
                f" within {patience_s:g} s{self._why_silent(process.pid)}; its log: {self._paths.controller_log}"
            )
        return record

    def _why_silent(self, pid: int) -> str:
        """What can be seen of why a live controller does not answer, and what helps."""
        path = self._paths.controller_file
        if processes.is_stopped(pid):
            return f": it was halted; let it go on: kill -CONT {pid}"
        try:
            known = read_controller_file(path)
        except ControllerFileError as error:
            return f": {error}; remove that file, and the controller writes it again"
        return "" if known else f": {path} is gone; `iris cluster stop` ends it, then start it again"

    def _start(self, argv: list[str], config: str, before: Callable[[], None]) -> ControllerRecord:
        self._refuse_while_stopped()
        before()
        log = self._paths.controller_log
        log_start = log.stat().st_size if log.exists() else 0
        process = None
        try:
            # Cut in two, it would be a process that nobody knows of yet.
            with interrupts.held():
                process = self._spawn(argv, config)
            record = self._serving(process, self._start_s) if process else None
        except KeyboardInterrupt:
            with interrupts.held():
                if process is not None and not self._serves():
                    _end([process], grace_s=1.0)
            raise
        if record is not None:
            return record
        ended = process is None or not process.is_alive()
        if process is not None:
            _end([process], grace_s=1.0)
        self._refuse_while_stopped()
        what = "ended" if ended else f"did not answer within {self._start_s:g} s"
        tail = read_tail(log, LOG_TAIL_BYTES, log_start).strip() or "(it wrote nothing)"
        raise StartFailed(f"the controller {what}; the end of {log}:\n{tail}")

    def _spawn(self, argv: list[str], config: str) -> ProcessId | None:
        write_atomic(self._paths.config_file, config.encode("utf-8"))
        try:
            return start_detached(argv, self._paths.controller_log, os.environ)
        except (OSError, subprocess.SubprocessError) as error:
            raise StartFailed(f"cannot start {argv[0]}: {error}") from error

    def _refuse_while_stopped(self) -> None:
        holder = read_holder(self._paths.state_dir)
        if holder is not None and holder.role != CONTROLLER:
            raise StateTaken(f"{self._paths.state_dir}: in use by process {holder.pid} ({holder.role})")

    def _serves(self) -> bool:
        return self.status().state is ControllerState.SERVING

    def _serving(self, process: ProcessId, timeout_s: float) -> ControllerRecord | None:
        """What reaches the controller once it serves; None if `process` ended or time ran out."""
        found: list[ControllerRecord] = []

        def settled() -> bool:
            # Asked first: one that ends after its last look was looked at.
            alive = process.is_alive()
            with suppress(ControllerFileError):
                record = self._record()
                if record is not None and self._probe(record):
                    found.append(record)
            return bool(found) or not alive

        processes.wait_until(settled, timeout_s)
        return found[0] if found else None


def find_controller(paths: ClusterPaths) -> ProcessId | None:
    """The live controller process of a cluster, if there is one.

    By controller.json, else by who holds the directory's lock: one that is
    just starting, or whose file was lost; else by the process table: one whose
    state directory was removed.
    """
    known = _known_controller(paths)
    return known or next(iter(controllers_in_table(paths)), None)


def find_controllers(paths: ClusterPaths) -> list[ProcessId]:
    """Every live controller process that has any of a cluster's places."""
    known = _known_controller(paths)
    return list(dict.fromkeys([*([known] if known else []), *controllers_in_table(paths)]))


def _known_controller(paths: ClusterPaths) -> ProcessId | None:
    """The live controller that the state directory's files name."""
    try:
        record = read_controller_file(paths.controller_file)
    except ControllerFileError:
        record = None
    named = ProcessId(record.pid, record.start_time) if record else None
    if named is not None and named.is_alive():
        return named
    holder = read_holder(paths.state_dir)
    # We look from the outside: what we hold ourselves is no controller.
    if holder is None or holder.role != CONTROLLER or holder.pid == os.getpid():
        return None
    return ProcessId(holder.pid, holder.start_time)


def stop_controller(paths: ClusterPaths, grace_s: float) -> bool:
    """SIGTERM, then SIGKILL after `grace_s`; returns whether there was one.

    Raises:
        Unreachable: it outlived SIGKILL, or another one came up meanwhile.
    """
    found = find_controllers(paths)
    if not found:
        return False
    _end(found, grace_s)
    other = find_controller(paths)
    if other is not None:
        raise Unreachable(f"process {found[0].pid} was stopped but {other.pid} has taken its place")
    with suppress(ControllerFileError):
        record = read_controller_file(paths.controller_file)
        # A clean end removes it; after SIGKILL it would name a dead process.
        if record is not None and (record.pid, record.start_time) in found:
            paths.controller_file.unlink(missing_ok=True)
    return True


def _end(found: Sequence[ProcessId], grace_s: float) -> None:
    try:
        end_processes(found, grace_s)
    except processes.StillAlive as error:
        raise Unreachable(f"the controller does not end: {error}") from error
