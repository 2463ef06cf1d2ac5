"""One conversation with a controller: moves messages between a stream and the ledger.

Knows neither what they say nor what came before or comes after.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from grpc.aio import EOF, StreamStreamCall

from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.session.concurrent import run_until_first
from iris_bootstrap.session.ledger import Ledger
from iris_bootstrap.session.outputs import Output
from iris_proto.v1.worker_pb2 import AgentMessage, ControllerMessage, RenewedCertificate

SessionCall = StreamStreamCall[AgentMessage, ControllerMessage]

WELCOME_TIMEOUT_S = 10.0
# What the transport has not taken by then it never will.
_SEND_TIMEOUT_S = 30.0


class HungUp(Exception):
    """We ended the stream; says why."""


class Connection:
    """A stream from its Hello to its end."""

    def __init__(
        self,
        call: SessionCall,
        ledger: Ledger,
        perform: Callable[[list[Output]], None],
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        self._call = call
        self._ledger = ledger
        self._perform = perform
        # Waits until the keeper has taken its orders, before more are read.
        self._drain = drain
        # The Hello and beats. Reports stay in the ledger until there is room for them.
        self._outbox: deque[AgentMessage] = deque()
        self._wake = asyncio.Event()
        self._hang_up_reason: str | None = None
        self.welcomed = asyncio.Event()
        # The last answer to a signing request, and that there was one.
        self.certificate = RenewedCertificate()
        self.certified = asyncio.Event()

    def send(self, message: AgentMessage) -> None:
        """Send this next."""
        self._outbox.append(message)
        self._wake.set()

    def wake(self) -> None:
        """The ledger may have something to send."""
        self._wake.set()

    def hang_up(self, reason: str) -> None:
        """End the stream before anything else is said."""
        self._hang_up_reason = reason
        self._outbox.clear()
        self._wake.set()

    async def converse(self) -> None:
        """Exchange messages until the stream ends.

        Raises:
            HungUp: we ended it.
            grpc.aio.AioRpcError: the controller or the transport did.
            asyncio.TimeoutError: there was no welcome, or nothing could be sent.
        """
        self._perform(self._ledger.on_connected(boot_s()))
        try:
            await run_until_first(self._write(), self._read(), self._beat())
        except asyncio.InvalidStateError:
            # We were writing when the stream ended.
            raise HungUp(await self._last_words()) from None
        if self._hang_up_reason is not None:
            raise HungUp(self._hang_up_reason)

    async def _write(self) -> None:
        while self._hang_up_reason is None:
            while self._outbox:
                await asyncio.wait_for(self._call.write(self._outbox.popleft()), _SEND_TIMEOUT_S)
            if outputs := self._ledger.on_ready_to_send():
                self._perform(outputs)
                continue
            self._wake.clear()
            await self._wake.wait()

    async def _read(self) -> None:
        while True:
            message = await self._call.read()
            if not isinstance(message, ControllerMessage):
                assert message is EOF
                raise HungUp("the controller ended the stream")
            if message.WhichOneof("message") == "certificate":
                # Of our credentials, which the ledger knows nothing of.
                self.certificate = message.certificate
                self.certified.set()
                continue
            self._perform(self._ledger.on_message(message, boot_s()))
            if self._ledger.welcomed:
                self.welcomed.set()
            self._wake.set()
            await self._drain()

    async def _beat(self) -> None:
        await asyncio.wait_for(self.welcomed.wait(), WELCOME_TIMEOUT_S)
        while True:
            await asyncio.sleep(self._ledger.timings.beat_interval_s)
            self._perform(self._ledger.on_beat_due(boot_s()))

    async def _last_words(self) -> str:
        code = await asyncio.wait_for(self._call.code(), _SEND_TIMEOUT_S)
        return f"{code.name}: {await self._call.details()}"
