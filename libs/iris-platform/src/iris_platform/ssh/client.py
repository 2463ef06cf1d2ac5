"""`SshConnection` over the network, on paramiko; made by `iris_platform.ssh.dial`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import paramiko

from iris_platform.base import Refused, Unreachable
from iris_platform.ssh import remote_files
from iris_platform.ssh.commands import RunningCommand, collect
from iris_platform.ssh.connection import FILE_TIMEOUT_S, MAX_OUTPUT_BYTES, CommandResult, CommandStream
from iris_platform.ssh.deadline import Deadline
from iris_platform.ssh.forwards import RemoteForwards, local_forward
from iris_platform.ssh.target import SshTarget
from iris_platform.ssh.transport import BROKEN, Transport, bounded

# Asks for no password: it fails where one is needed.
SUDO = ("sudo", "-n", "--")


class ParamikoConnection:
    """An authenticated connection; see `SshConnection`.

    `owned` is the connection to the jump host below, closed with this one.
    """

    def __init__(self, transport: Transport, target: SshTarget) -> None:
        self.owned: ParamikoConnection | None = None
        self._transport = transport
        self._address = str(target)
        self._before = SUDO if target.as_root else ()
        self._remote = RemoteForwards(transport, self._address)

    @property
    def address(self) -> str:
        return self._address

    @property
    def is_alive(self) -> bool:
        return self._transport.is_active()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",  # noqa: A002 - its name in subprocess.run
        max_output: int = MAX_OUTPUT_BYTES,
    ) -> CommandResult:
        return self._run(argv, input, max_output, Deadline(timeout_s))

    @contextmanager
    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",  # noqa: A002 - its name in subprocess.run
        max_output: int = MAX_OUTPUT_BYTES,
    ) -> Iterator[CommandStream]:
        command = self._start(argv, input, max_output, Deadline(timeout_s))
        try:
            yield command
        finally:
            command.close()

    def put(
        self, data: bytes | Path, path: str, mode: int = 0o600, *, timeout_s: float = FILE_TIMEOUT_S
    ) -> None:
        remote_files.put(self._runner(timeout_s), self._address, data, path, mode)

    def get(self, path: str, max_bytes: int, *, timeout_s: float = FILE_TIMEOUT_S) -> bytes:
        return remote_files.get(self._runner(timeout_s), self._address, path, max_bytes)

    def forward_local(self, host: str, port: int) -> AbstractContextManager[str]:
        return local_forward(self.open_channel, self._address, host, port)

    def forward_remote(self, bind_port: int, target: tuple[str, int]) -> AbstractContextManager[int]:
        return self._remote.forward(bind_port, target)

    def open_channel(self, host: str, port: int, deadline: Deadline) -> paramiko.Channel:
        """A TCP connection from there to `host:port`, as a channel.

        Raises:
            Refused: the server does not forward.
            Unreachable: the other end of it does not answer, or this connection broke.
        """
        try:
            with bounded(self._transport, deadline):
                return self._transport.open_channel(
                    "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=deadline.left()
                )
        except BROKEN as error:
            where = f"{host}:{port} through {self._address}"
            # RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED
            if isinstance(error, paramiko.ChannelException) and error.code == 1:
                raise Refused(
                    f"{where}: that server forwards nothing; set AllowTcpForwarding in its sshd_config"
                ) from error
            raise Unreachable(
                f"{where}: no connection: {str(error) or 'it hung up'}; check host, port and firewalls"
            ) from error

    def close(self) -> None:
        self._transport.close()
        if self.owned is not None:
            self.owned.close()

    def _start(
        self, argv: Sequence[str], source: bytes | BinaryIO, max_output: int, deadline: Deadline
    ) -> RunningCommand:
        # Not for an empty one, which is a mistake: see `SshConnection.run`.
        argv = [*self._before, *argv] if self._before and argv else argv
        return RunningCommand(self._transport, self._address, argv, deadline, source, max_output)

    def _run(
        self, argv: Sequence[str], source: bytes | BinaryIO, max_output: int, deadline: Deadline
    ) -> CommandResult:
        command = self._start(argv, source, max_output, deadline)
        try:
            return collect(command)
        finally:
            command.close()

    def _runner(self, timeout_s: float) -> remote_files.Run:
        deadline = Deadline(timeout_s)
        return lambda argv, source, max_output: self._run(argv, source, max_output, deadline)
