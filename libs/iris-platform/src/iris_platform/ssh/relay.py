"""Carries the bytes of one TCP connection between a socket and a channel, both ways."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

import paramiko

from iris_platform.ssh.transport import BROKEN, hang_up, sending_on

# What waits in either direction while its receiver is slow.
BUFFER_BYTES = 1 << 18
_PIECE = 1 << 15
# A channel does not tell when its window opens again.
_WINDOW_POLL_MS = 5.0
# `stop` wakes who waits for the socket; a channel that is closed here is silent.
_SOCK_POLL_MS = 60_000.0
_CHANNEL_POLL_MS = 500.0


class Relay:
    """One connection. `run` ends when both ends have, or when either breaks, or after `stop`.

    One thread and no blocking: two ends that both send before they read would
    otherwise wait for each other for ever.
    """

    def __init__(self, sock: socket.socket, channel: paramiko.Channel) -> None:
        self._sock = sock
        self._channel = channel
        self._to_sock = bytearray()
        self._to_channel = bytearray()
        self._sock_ended = False
        self._channel_ended = False
        self._sock_told = False
        self._channel_told = False

    def run(self) -> None:
        try:
            self._sock.setblocking(False)
            self._channel.settimeout(0.0)
            while not (self._sock_told and self._channel_told):
                self._wait()
                self._read()
                self._write()
        except BROKEN:
            pass  # either end is gone; the other learns it by the close
        finally:
            self._sock.close()
            hang_up(self._channel)

    def stop(self) -> None:
        """End `run` soon; from any thread."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        hang_up(self._channel)

    def _wait(self) -> None:
        poller = select.poll()
        events = 0
        if not self._sock_ended and len(self._to_channel) < BUFFER_BYTES:
            events |= select.POLLIN
        if self._to_sock:
            events |= select.POLLOUT
        if events:
            # Not without events: a hang-up is reported always, and would spin.
            poller.register(self._sock, events)
        if not self._channel_ended and len(self._to_sock) < BUFFER_BYTES:
            poller.register(self._channel.fileno(), select.POLLIN)
        idle_ms = _SOCK_POLL_MS if events else _CHANNEL_POLL_MS
        poller.poll(_WINDOW_POLL_MS if self._to_channel else idle_ms)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while not self._sock_ended and len(self._to_channel) < BUFFER_BYTES:
                data = self._sock.recv(_PIECE)
                self._sock_ended = not data
                self._to_channel += data
        with suppress(TimeoutError):
            while not self._channel_ended and len(self._to_sock) < BUFFER_BYTES:
                data = self._channel.recv(_PIECE)
                self._channel_ended = not data
                self._to_sock += data

    def _write(self) -> None:
        with suppress(BlockingIOError):
            while self._to_sock:
                del self._to_sock[: self._sock.send(self._to_sock)]
            if self._channel_ended and not self._sock_told:
                self._sock_told = True
                # The socket may have gone already, in both directions.
                with suppress(OSError):
                    self._sock.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError):
            while self._to_channel:
                with sending_on(self._channel):
                    sent = self._channel.send(bytes(self._to_channel[:_PIECE]))
                if not sent:
                    raise EOFError
                del self._to_channel[:sent]
            if self._sock_ended and not self._channel_told:
                self._channel_told = True
                with sending_on(self._channel):
                    self._channel.shutdown_write()
