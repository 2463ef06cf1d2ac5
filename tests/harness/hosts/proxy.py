"""A TCP proxy that is slow on purpose, as a process of its own: `tc` cannot delay everywhere.

    python -m tests.harness.hosts.proxy LISTEN_ADDRESS ADDRESS PORT DELAY_S BYTES_PER_S

Prints the port that it listens on. Every byte arrives DELAY_S later than it was
sent, each way, and no faster than BYTES_PER_S (0: as fast as it comes).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CHUNK = 16 * 1024
# Chunks under way, each direction: what a long fat network holds.
UNDER_WAY = 256
START_S = 10.0


@contextmanager
def slow_proxy(
    listen: str, to: tuple[str, int], *, delay_s: float = 0.0, bytes_per_s: float | None = None
) -> Iterator[int]:
    """Runs a proxy while the block runs; the port that it listens on."""
    words = [listen, to[0], str(to[1]), str(delay_s), str(bytes_per_s or 0)]
    command = [sys.executable, "-m", "tests.harness.hosts.proxy", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            port = process.stdout.readline()
            assert port, f"the proxy did not start: {process.wait(START_S)}"
            yield int(port)
        finally:
            process.kill()


class Line:
    """One direction of one connection. `seen` is told how many bytes came, as they come."""

    def __init__(
        self, delay_s: float, bytes_per_s: float, seen: Callable[[int], None] = lambda size: None
    ) -> None:
        self._seen = seen
        self._delay_s = delay_s
        self._bytes_per_s = bytes_per_s
        self._under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries bytes until there are no more, then closes that side."""
        sending = asyncio.create_task(self._deliver(writer))
        clock = asyncio.get_running_loop().time
        size = min(CHUNK, max(1, round(self._bytes_per_s / 20))) if self._bytes_per_s else CHUNK
        free_at = clock()
        while True:
            chunk = await reader.read(size)
            self._seen(len(chunk))
            # It is on the wire for as long as its bytes take, then under way.
            free_at = max(free_at, clock()) + (len(chunk) / self._bytes_per_s if self._bytes_per_s else 0)
            await self._under_way.put((free_at + self._delay_s, chunk))
            if not chunk:
                break
        await sending

    async def _deliver(self, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, chunk = await self._under_way.get()
            await asyncio.sleep(due - clock())
            with suppress(OSError):
                if not chunk:
                    writer.write_eof()
                    return
                writer.write(chunk)
                await writer.drain()


async def connect_through(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter], to: tuple[str, int], there: Line, back: Line
) -> None:
    """Dials `to` for a connection that came in, and carries both ways until both have ended."""
    reader, writer = near
    with suppress(OSError):
        there_reader, there_writer = await asyncio.open_connection(*to)
        lines = there.carry(reader, there_writer), back.carry(there_reader, writer)
        both = [asyncio.ensure_future(line) for line in lines]
        try:
            # Where one side breaks, the other goes with it.
            await asyncio.gather(*both)
        finally:
            for each in both:
                each.cancel()
            there_writer.close()
    writer.close()


async def serve(listen: str, to: tuple[str, int], delay_s: float, bytes_per_s: float) -> None:
    """Listens until it is killed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay_s)
        there, back = Line(delay_s, bytes_per_s), Line(delay_s, bytes_per_s)
        await connect_through((reader, writer), to, there, back)

    server = await asyncio.start_server(connected, listen, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], (sys.argv[2], int(sys.argv[3])), float(sys.argv[4]), float(sys.argv[5])))
