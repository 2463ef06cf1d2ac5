"""Runs a command at the other end of a transport: words in, bytes and a status out."""

from __future__ import annotations

import io
import select
import shlex
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import paramiko

from iris_platform.base import PlatformError, Refused, Unreachable
from iris_platform.ssh.command_line import command_line
from iris_platform.ssh.connection import Chunk, CommandResult
from iris_platform.ssh.deadline import Deadline
from iris_platform.ssh.transport import BROKEN, bounded, hang_up, sending_on

_PIECE = 1 << 15
_PIECES_PER_ROUND = 32
# A channel does not tell when its window opens again.
_WINDOW_POLL_S = 0.005
_POLL_S = 1.0
_WORDS_SHOWN = 80


class RunningCommand:
    """A command at the other end; see `CommandStream`. `close` hangs up."""

    def __init__(
        self,
        transport: paramiko.Transport,
        where: str,
        argv: Sequence[str],
        deadline: Deadline,
        source: bytes | BinaryIO,
        max_output: int,
    ) -> None:
        self._line = command_line(argv)
        self._argv = tuple(argv)
        self._transport = transport
        self._where = where
        self._deadline = deadline
        self._source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._unsent = memoryview(b"")
        self._input_ended = False
        self._room = {False: max_output, True: max_output}
        self.truncated = False
        self.status: int | None = None
        self._channel = self._start()

    def _start(self) -> paramiko.Channel:
        channel: paramiko.Channel | None = None
        try:
            with bounded(self._transport, self._deadline):
                channel = self._transport.open_session(timeout=self._deadline.left())
            with bounded(self._transport, self._deadline, channel):
                channel.exec_command(self._line)
            return channel
        except BROKEN as error:
            if channel is not None:
                hang_up(channel)
            raise self._not_started(error) from error

    def _not_started(self, error: Exception) -> PlatformError:
        words = f"{self._where}: {self._shown()}"
        if self._deadline.has_passed:
            return Unreachable(
                f"{words} did not start within {self._deadline.timeout_s:g} s; is the host stuck?"
            )
        # paramiko's words for a request that was turned down; whatever else it
        # raises is the end of the connection.
        turned_down = isinstance(error, paramiko.ChannelException) or str(error) == "Channel closed."
        if not turned_down or self._is_lost():
            return Unreachable(
                f"{words}: the connection is gone: {str(error) or 'it hung up'}; connect again"
            )
        return Refused(
            f"{words}: the server starts no command: {error}; check MaxSessions and ForceCommand in its sshd_config"
        )

    def __iter__(self) -> Iterator[Chunk]:
        try:
            yield from self._chunks()
            self._channel.status_event.wait(self._deadline.left())
        except BROKEN as error:
            raise self._broken() from error
        if self._channel.exit_status < 0:
            raise self._broken()
        self.status = self._channel.exit_status

    def _chunks(self) -> Iterator[Chunk]:
        channel = self._channel
        channel.settimeout(0.0)
        poller = select.poll()
        poller.register(channel.fileno(), select.POLLIN)
        while True:
            # Asked first: what came before the end is still taken.
            has_ended = channel.eof_received or channel.closed
            # Where the window is closed there is nothing to bound, which costs a thread.
            if not self._input_ended and (not self._unsent or channel.send_ready()):
                # Not around what is yielded: whoever takes long over a piece would
                # have the connection closed, which is not his alone.
                with bounded(self._transport, self._deadline, channel):
                    self._feed()
            yield from self._take()
            if channel.recv_ready() or channel.recv_stderr_ready():
                if self._deadline.has_passed and not has_ended:
                    raise self._broken()
                continue
            if has_ended:
                # Some servers close without saying that the output is at its end;
                # so do we when the time is over, and a connection when it breaks.
                if not channel.eof_received and (self._deadline.has_passed or self._is_lost()):
                    raise self._broken()
                return
            if self._deadline.has_passed:
                raise self._broken()
            pause_s = _POLL_S if self._input_ended else _WINDOW_POLL_S
            poller.poll(1000 * min(pause_s, self._deadline.left()) + 1)

    def _feed(self) -> None:
        """Send as much input as the window takes."""
        for _ in range(_PIECES_PER_ROUND):
            if self._input_ended:
                return
            if not self._unsent:
                self._unsent = memoryview(self._source.read(_PIECE))
            try:
                if not self._unsent:
                    self._input_ended = True
                    with sending_on(self._channel):
                        self._channel.shutdown_write()
                    return
                with sending_on(self._channel):
                    sent = self._channel.send(bytes(self._unsent))
                self._unsent = self._unsent[sent:]
                self._input_ended = not sent
            except TimeoutError:
                return
            except OSError:
                # Nobody reads it any more; how the command ended will say why.
                self._input_ended = True
                return

    def _take(self) -> Iterator[Chunk]:
        channel = self._channel
        # With a bound: a command can print for ever.
        for _ in range(_PIECES_PER_ROUND):
            if channel.recv_ready():
                yield from self._capped(channel.recv(_PIECE), False)
            if channel.recv_stderr_ready():
                yield from self._capped(channel.recv_stderr(_PIECE), True)

    def _capped(self, data: bytes, is_error: bool) -> Iterator[Chunk]:
        kept = data[: self._room[is_error]]
        self._room[is_error] -= len(kept)
        self.truncated = self.truncated or len(kept) < len(data)
        if kept:
            yield Chunk(kept, is_error)

    def _broken(self) -> Unreachable:
        words = f"{self._where}: {self._shown()}"
        if self._deadline.has_passed:
            limit = f"{self._deadline.timeout_s:g} s"
            if self._channel.exit_status >= 0:
                return Unreachable(
                    f"{words} ended with status {self._channel.exit_status}, but something that it started held"
                    f" its output open for {limit}; redirect the output of what stays"
                )
            return Unreachable(
                f"{words} did not end within {limit}; its channel was closed, it may still be running there"
            )
        return Unreachable(f"{words}: the connection broke; it is not known whether it ran to its end")

    def _is_lost(self) -> bool:
        # A connection that breaks closes its channels before it calls itself inactive.
        return not self._transport.is_active() or self._transport.saved_exception is not None

    def _shown(self) -> str:
        """The command for messages; of a script among its words nobody wants the first lines."""
        text = repr(" ".join("…" if "\n" in word else shlex.quote(word) for word in self._argv))
        return text if len(text) <= _WORDS_SHOWN else text[:_WORDS_SHOWN] + "…"

    def close(self) -> None:
        """Hang up: the command reads end-of-file and writes into a broken pipe."""
        hang_up(self._channel)


def collect(command: RunningCommand) -> CommandResult:
    """Run it to its end.

    Raises:
        Unreachable: as `SshConnection.run`.
    """
    parts: dict[bool, list[bytes]] = {False: [], True: []}
    for data, is_error in command:
        parts[is_error].append(data)
    assert command.status is not None
    return CommandResult(command.status, b"".join(parts[False]), b"".join(parts[True]), command.truncated)
