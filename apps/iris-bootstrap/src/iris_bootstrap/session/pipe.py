"""The session's end of the pipe to its keeper. Knows frames, and no meaning in them."""

from __future__ import annotations

import asyncio
import socket
import struct

from iris_bootstrap.keeper.frames import FRAME_BYTES, FromSession, Message, body_length, decode, encode

# pid, uid and gid of whoever made a socket pair; see unix(7).
_CREDENTIALS = struct.Struct("3i")


class KeeperPipe:
    """Messages to and from the keeper."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer_pid: int) -> None:
        self._reader = reader
        self._writer = writer
        # Who made the pipe.
        self.peer_pid = peer_pid
        # For who wants to know whether there were any.
        self.frames_read = 0

    async def read(self) -> list[Message] | None:
        """The next frame's messages; None when the keeper has gone.

        Raises:
            FrameError: the keeper does not speak our language.
        """
        try:
            header = await self._reader.readexactly(4)
            body = await self._reader.readexactly(body_length(header))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self.frames_read += 1
        return decode(body)

    def send(self, messages: list[FromSession]) -> None:
        """Queue messages. Whoever makes many of them awaits `drain` between."""
        self._writer.write(encode(messages))

    async def drain(self) -> None:
        """Wait until the keeper has taken most of what was queued."""
        try:
            await self._writer.drain()
        except ConnectionError:
            # `read` sees it too, and knows what to do.
            return


async def open_pipe(fd: int) -> KeeperPipe:
    """The pipe that the keeper passed under this descriptor."""
    connection = socket.socket(fileno=fd)
    connection.setblocking(False)
    peer_pid, _, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=FRAME_BYTES)
    return KeeperPipe(reader, writer, peer_pid)
