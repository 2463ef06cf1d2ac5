"""A controller on this machine, by its file.

The file is read again at every connect, since a controller that was started
again has another address and token.
"""

from __future__ import annotations

import threading
from functools import cached_property

import grpc

from iris_cli.exits import UNREACHABLE
from iris_cli.locate import Cluster
from iris_cli.reach.link import CHANNEL_OPTIONS, Link, RpcFailed, refusal
from iris_cli.statuses import EXIT_STATUS, WORTH_ANOTHER_STREAM
from iris_platform.controller_file import (
    ControllerFileError,
    ControllerRecord,
    read_controller_file,
)
from iris_platform.controller_vm import find_controller
from iris_platform.processes import is_alive, is_stopped

# A controller that starts is waited for so long before it is said not to be there,
# and looked for so often.
START_S = 5.0
LOOK_S = 0.1


class LocalReach:
    """See `Reach`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def open(self) -> Link:
        """See `Reach.open`."""
        record = self._live_record() or self._await_start()
        if record is None:
            raise self._not_running()
        channel = grpc.insecure_channel(record.address, options=CHANNEL_OPTIONS)
        metadata = (("authorization", f"Bearer {record.token}"),)
        return Link(channel, metadata, f"{record.address} (process {record.pid})", record)

    def close(self) -> None:
        """See `Reach.close`: nothing is held."""

    def failure(self, error: grpc.RpcError, link: Link) -> RpcFailed:
        """See `Reach.failure`."""
        record: ControllerRecord = link.facts
        code, log = error.code(), self._cluster.paths.controller_log
        if code is grpc.StatusCode.UNAVAILABLE:
            if not is_alive(record.pid, record.start_time):
                return self._not_running()
            return RpcFailed(
                UNREACHABLE,
                f"the controller (pid {record.pid}) does not answer at {record.address}",
                hint=f"its log: {log}",
                again=code in WORTH_ANOTHER_STREAM,
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return RpcFailed(
                EXIT_STATUS[code],
                f"the controller (pid {record.pid}) did not answer in time",
                hint=_halted(record.pid) or f"its log: {log}",
                again=code in WORTH_ANOTHER_STREAM,
            )
        return refusal(error)

    def _live_record(self) -> ControllerRecord | None:
        """What its file says if that process lives; None where there is none.

        Raises:
            RpcFailed: the file is there and cannot be used.
        """
        try:
            record = read_controller_file(self._cluster.paths.controller_file)
        except ControllerFileError as error:
            raise self._unusable(error) from error
        return record if record and is_alive(record.pid, record.start_time) else None

    def _await_start(self) -> ControllerRecord | None:
        """What a controller that is just starting says of itself, once it does; None where none is."""
        pause = threading.Event()
        for _ in range(round(START_S / LOOK_S)):
            process = find_controller(self._cluster.paths)
            if process is None or is_stopped(process.pid):
                return None
            pause.wait(LOOK_S)
            if record := self._live_record():
                return record
        return None

    def _not_running(self) -> RpcFailed:
        """The error where no controller lives, or none that can be reached."""
        cluster = self._cluster
        process = find_controller(cluster.paths)
        if process is not None:
            return RpcFailed(
                UNREACHABLE,
                f"the controller of cluster {cluster.name} runs as process {process.pid}, but"
                f" {cluster.paths.controller_file} is not there",
                hint=_halted(process.pid)
                or "it writes that file again within seconds; if not, stop and start the cluster: "
                + cluster.command("cluster stop"),
                again=True,
            )
        if self._elsewhere:
            return RpcFailed(
                UNREACHABLE,
                f"the controller of cluster {cluster.name} is to run {self._elsewhere},"
                " of which nothing is known here",
                hint=f"if it runs, get in: {cluster.command('cluster login')};"
                f" if not, start it: {cluster.command('cluster start')}",
            )
        return RpcFailed(
            UNREACHABLE,
            f"the controller of cluster {cluster.name} is not running",
            hint=f"start it: {cluster.command('cluster start')}",
            again=True,
        )

    @cached_property
    def _elsewhere(self) -> str:
        """Where else its file puts the controller; empty where that is here, or not known.

        Read once: who waits for a controller tries again and again.
        """
        # Here, since it takes the configuration's language along.
        from iris_cli import there
        from iris_cli.elsewhere import configured_elsewhere

        config = configured_elsewhere(self._cluster)
        return "" if config is None else there.place(config)

    def _unusable(self, error: ControllerFileError) -> RpcFailed:
        """The error where the file cannot be used; what helps depends on who lives."""
        paths = self._cluster.paths
        process = find_controller(paths)
        if process is None:
            start = self._cluster.command("cluster start")
            return RpcFailed(UNREACHABLE, str(error), hint=f"no controller runs; start it: {start}")
        path = paths.controller_file
        hint = f"the controller runs as process {process.pid}; remove {path}, and it is written again"
        return RpcFailed(UNREACHABLE, str(error), hint=hint)


def _halted(pid: int) -> str:
    """What to do about a controller that was halted; empty where it was not."""
    return f"process {pid} was halted; let it go on: kill -CONT {pid}" if is_stopped(pid) else ""
