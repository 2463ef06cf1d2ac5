"""The way from here to many hosts: takes time, and is counted.

`wire.py RTT_S`. Every byte arrives half of RTT_S after it was sent. The first line
names the hosts, `[[LISTEN, ADDRESS, PORT], ..]`: connections to LISTEN:PORT go there. Every
other line begins a new count; the answer is the one before: for each host its connections,
bytes to and from it, and how often somebody here waited for it to say something.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass

from tests.harness.hosts.proxy import Line, connect_through


@dataclass
class Count:
    """What went to one host and came back. `turns`: see `Talk`."""

    connections: int = 0
    sent: int = 0
    received: int = 0
    turns: int = 0


class Talk:
    """Who spoke last on one connection.

    A turn is a word from here behind one from there. What follows one within a round
    trip was not sent in answer to anything later, and is none.
    """

    def __init__(self, wire: "Wire", place: int, rtt_s: float) -> None:
        self._wire = wire
        self._place = place
        self._rtt_s = rtt_s
        self._they_spoke = True
        self._turned_at = 0.0

    def sent(self, size: int) -> None:
        """Bytes of this side."""
        now = asyncio.get_running_loop().time()
        count = self._wire.counts[self._place]
        count.sent += size
        if size and self._they_spoke and now - self._turned_at > 0.9 * self._rtt_s:
            count.turns += 1
            self._they_spoke, self._turned_at = False, now

    def received(self, size: int) -> None:
        """Bytes of the host."""
        self._wire.counts[self._place].received += size
        self._they_spoke = self._they_spoke or size > 0


class Wire:
    """All hosts."""

    def __init__(self, rtt_s: float, hosts: "list[tuple[str, str, int]]") -> None:
        self._rtt_s = rtt_s
        self._hosts = hosts
        self.counts = [Count() for _ in hosts]

    async def open(self) -> None:
        """Listen for all of them."""
        for place, (listen, _, port) in enumerate(self._hosts):

            async def connected(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: int = place
            ) -> None:
                _, address, port = self._hosts[place]
                self.counts[place].connections += 1
                talk = Talk(self, place, self._rtt_s)
                delay_s = self._rtt_s / 2
                # TCP's own handshake.
                await asyncio.sleep(self._rtt_s)
                there, back = Line(delay_s, 0, talk.sent), Line(delay_s, 0, talk.received)
                await connect_through((reader, writer), (address, port), there, back)

            await asyncio.start_server(connected, listen, port, backlog=1024)

    def renew(self) -> "list[dict[str, int]]":
        """The counts so far, which begin anew."""
        before, self.counts = self.counts, [Count() for _ in self._hosts]
        return [asdict(count) for count in before]


async def main(rtt_s: float) -> None:
    """Answer until nothing more is asked."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    wire = Wire(rtt_s, json.loads(await lines.readline()))
    await wire.open()
    print(json.dumps(len(wire.counts)), flush=True)
    while await lines.readline():
        print(json.dumps(wire.renew()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
