"""What is between a socket and an SSH session: paramiko's transport, with ends to its waits.

paramiko waits for some answers without a limit (a channel's `exec`, a global
request) and does not tell which signal ended a command. Both are mended here
and nowhere else.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import paramiko
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_REQUEST
from paramiko.message import Message

from iris_platform.ssh.deadline import Deadline

# What paramiko raises where a connection or a channel is gone, or does not come about.
BROKEN = (OSError, EOFError, paramiko.SSHException)
# What a channel's polite end may take before the whole connection goes.
BREAK_GRACE_S = 2.0
THREAD_END_S = 2.0

# A library prints nothing by itself: what goes wrong is in the errors raised.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Transport(paramiko.Transport):
    """A client's transport that knows by which signal a command ended.

    `sending` is held by whoever sends on a channel. paramiko makes a message and
    sends it in two steps; if it answered the other end's CLOSE in between, the
    message would reach whichever channel has been given the number since.
    """

    def __init__(self, sock: socket.socket | paramiko.Channel) -> None:
        self.sending = threading.Lock()
        super().__init__(sock)

    def close(self) -> None:
        """Hang up and wait, for a bounded time, for the thread and the socket to go."""
        super().close()
        # Its timer for the handshake outlives one that failed.
        self.packetizer.complete_handshake()
        if self is not threading.current_thread() and self.ident is not None:
            self.join(THREAD_END_S)
        # One that never started, or ended by itself, leaves it open.
        with suppress(OSError, EOFError):
            self.sock.close()


def sending_on(channel: paramiko.Channel) -> threading.Lock:
    """The lock to hold while something is sent on the channel."""
    transport = channel.get_transport()
    assert isinstance(transport, Transport)
    return transport.sending


def _on_channel_request(channel: paramiko.Channel, message: Message) -> None:
    """RFC 4254, 6.10: `exit-signal` comes in place of `exit-status`."""
    if message.get_text() == "exit-signal":
        message.get_boolean()
        number = getattr(signal, "SIG" + message.get_text(), None)
        # 128 alone: a signal that this machine does not know.
        channel.exit_status = 128 + (number.value if isinstance(number, signal.Signals) else 0)
        channel.status_event.set()
        return
    message.rewind()
    message.get_int()  # the channel's number
    channel._handle_request(message)  # type: ignore[attr-defined]


def _on_channel_close(channel: paramiko.Channel, message: Message) -> None:
    """Answer once nobody is about to send on the channel; never wait in the connection's own thread."""
    sending = sending_on(channel)
    if sending.acquire(blocking=False):
        try:
            channel._handle_close(message)  # type: ignore[attr-defined]
        finally:
            sending.release()
        return

    def answer() -> None:
        # The connection may go meanwhile.
        with sending, suppress(*BROKEN):
            channel._handle_close(message)  # type: ignore[attr-defined]

    threading.Thread(target=answer, name="ssh-channel-close", daemon=True).start()


# paramiko's own table of what channels do with messages, and above its own methods for
# two of them; there is no public way, and the stubs know only that. A test notices when
# they move.
Transport._channel_handler_table = {  # type: ignore[attr-defined]
    **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
    MSG_CHANNEL_REQUEST: _on_channel_request,
    MSG_CHANNEL_CLOSE: _on_channel_close,
}


@contextmanager
def bounded(
    transport: paramiko.Transport, deadline: Deadline, channel: paramiko.Channel | None = None
) -> Iterator[None]:
    """End what is waited for inside when the time is over.

    `channel` is closed first, which ends every wait of its own. What still waits
    then is stuck on the connection itself, and the connection is closed.
    """
    ended = threading.Event()

    def expire() -> None:
        if channel is not None:
            hang_up(channel)
        if not ended.wait(BREAK_GRACE_S):
            transport.close()

    timer = threading.Timer(deadline.left(), expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        ended.set()


def hang_up(channel: paramiko.Channel) -> None:
    """Close a channel without waiting for anybody."""

    def close() -> None:
        # It may be gone already, with its connection.
        with suppress(*BROKEN):
            channel.close()

    if channel.closed:
        close()
    else:
        # Sends two messages, and a connection that is stuck takes none.
        threading.Thread(target=close, name="ssh-hang-up", daemon=True).start()


def prepare(sock: socket.socket, keepalive_s: float) -> None:
    """Let the kernel give up a connection whose other end acknowledges nothing."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # tcp(7): also ends a connection with data under way, such as a keep-alive
    # message of SSH, which alone would be repeated for 15 minutes.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1000, int(keepalive_s * 3000)))
